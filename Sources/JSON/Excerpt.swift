/// Text of unknown origin made fit for one line of a message: what would move a cursor, break the
/// line or turn its direction is shown as `\u{…}`, and what is long is cut.
/// - Parameter limit: characters (scalars) shown at most.
package func excerpt(_ text: String, limit: Int = 200) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
        if count == limit { return result + "…" }
        if scalar.isUnprintable {
            result += "\\u{\(String(scalar.value, radix: 16))}"
        } else {
            result.unicodeScalars.append(scalar)
        }
        count += 1
    }
    return result
}

/// The same for the bytes of a vocabulary's piece, which need not be whole characters.
package func excerpt(bytes: some Sequence<UInt8>, limit: Int = 40) -> String {
    excerpt(String(decoding: Array(bytes.prefix(4 * limit)), as: UTF8.self), limit: limit)
}

extension Unicode.Scalar {
    /// Whether a terminal would obey it instead of showing it, or shows nothing.
    package var isUnprintable: Bool {
        if value < 32 || (127..<160).contains(value) { return true }
        if isASCII { return false }
        switch properties.generalCategory {
        case .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned: return true
        default: return false
        }
    }
}
