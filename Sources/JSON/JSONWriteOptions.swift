/// How ``JSONWriter`` writes; the defaults are those of Python's `json.dumps`.
package struct JSONWriteOptions: Sendable {
    /// What becomes of numbers that JSON has no way to write.
    package enum NonFinite: Sendable {
        /// Python's `Infinity`, `-Infinity` and `NaN`.
        case words
        /// Null; -9999 for minus infinity, which clients expect as the log-probability of an
        /// impossible token.
        case null
    }

    /// How control characters are escaped; JSON leaves a choice.
    package struct Escapes: Sendable {
        /// Those with a letter (`\n`), of the five for which JSON has one; others are `\u00XX`.
        package var letters: [UInt8]
        /// Whether U+007F is escaped, which it need not be.
        package var coversDelete: Bool

        package init(letters: [UInt8], coversDelete: Bool) {
            self.letters = letters
            self.coversDelete = coversDelete
        }

        package static let python = Escapes(
            letters: [0x08, 0x09, 0x0A, 0x0C, 0x0D], coversDelete: false)
        package static let wire = Escapes(letters: [0x09, 0x0A, 0x0D], coversDelete: true)
    }

    /// Escape everything outside ASCII as `\uXXXX`.
    package var ensureASCII: Bool
    /// What a level is indented by; nil writes on one line.
    package var indent: String?
    package var itemSeparator: String
    package var keySeparator: String
    /// Order the keys of a ``JSONValue`` by code point instead of as written.
    package var sortKeys: Bool
    package var escapes = Escapes.python
    package var nonFinite = NonFinite.words

    /// - Parameter indent: spaces per level.
    /// - Parameter itemSeparator: nil means `", "`, or `","` when `indent` is set (as Python).
    package init(
        ensureASCII: Bool = true, indent: Int? = nil, itemSeparator: String? = nil,
        keySeparator: String = ": ", sortKeys: Bool = false
    ) {
        self.ensureASCII = ensureASCII
        self.indent = indent.map { String(repeating: " ", count: max($0, 0)) }
        self.itemSeparator = itemSeparator ?? (indent == nil ? ", " : ",")
        self.keySeparator = keySeparator
        self.sortKeys = sortKeys
    }

    /// No spaces at all, text as UTF-8, nothing that is not JSON: what goes over the wire.
    package static let compact = {
        var options = JSONWriteOptions(
            ensureASCII: false, itemSeparator: ",", keySeparator: ":")
        options.escapes = .wire
        options.nonFinite = .null
        return options
    }()
}

extension JSONValue {
    /// Prints the value as Python's `json.dumps` would, doubles by their shortest form.
    package func serialized(_ options: JSONWriteOptions = JSONWriteOptions()) -> String {
        var writer = JSONWriter(options)
        writer.value(self)
        return writer.text
    }
}
