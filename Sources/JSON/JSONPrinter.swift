/// How `JSONValue.serialized` prints; the defaults are those of Python's `json.dumps`.
package struct JSONWriteOptions: Sendable {
    /// Escape everything outside ASCII as `\uXXXX`.
    package var ensureASCII: Bool
    /// Spaces per level; nil prints on one line.
    package var indent: Int?
    package var itemSeparator: String
    package var keySeparator: String
    /// Order keys by code point instead of as written.
    package var sortKeys: Bool

    /// - Parameter itemSeparator: nil means `", "`, or `","` when `indent` is set (as Python).
    package init(
        ensureASCII: Bool = true, indent: Int? = nil, itemSeparator: String? = nil,
        keySeparator: String = ": ", sortKeys: Bool = false
    ) {
        self.ensureASCII = ensureASCII
        self.indent = indent
        self.itemSeparator = itemSeparator ?? (indent == nil ? ", " : ",")
        self.keySeparator = keySeparator
        self.sortKeys = sortKeys
    }

    /// No spaces at all, text as UTF-8: what goes over the wire.
    package static let compact = JSONWriteOptions(
        ensureASCII: false, itemSeparator: ",", keySeparator: ":")
}

extension JSONValue {
    /// Prints the value as Python's `json.dumps` would, doubles by their shortest form;
    /// infinities and NaN print as Python's `Infinity`, `-Infinity`, `NaN`.
    package func serialized(_ options: JSONWriteOptions = JSONWriteOptions()) -> String {
        var printer = JSONPrinter(options: options)
        printer.write(self, level: 0)
        return printer.output
    }
}

private struct JSONPrinter {
    let options: JSONWriteOptions
    var output = ""

    mutating func write(_ value: JSONValue, level: Int) {
        switch value {
        case .null: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .int(let value): output += value.description
        case .bigInt(let digits): output += digits
        case .double(let value): output += Self.text(of: value)
        case .string(let value): write(string: value)
        case .array(let elements):
            writeItems(elements, open: "[", close: "]", level: level) { printer, element in
                printer.write(element, level: level + 1)
            }
        case .object(let members):
            var pairs = Array(members)
            if options.sortKeys {
                pairs.sort { left, right in
                    left.key.unicodeScalars.lexicographicallyPrecedes(right.key.unicodeScalars)
                }
            }
            writeItems(pairs, open: "{", close: "}", level: level) { printer, pair in
                printer.write(string: pair.key)
                printer.output += printer.options.keySeparator
                printer.write(pair.value, level: level + 1)
            }
        }
    }

    private mutating func writeItems<Item>(
        _ items: [Item], open: String, close: String, level: Int,
        _ body: (inout JSONPrinter, Item) -> Void
    ) {
        output += open
        for (index, item) in items.enumerated() {
            if index > 0 { output += options.itemSeparator }
            newline(level: level + 1)
            body(&self, item)
        }
        if !items.isEmpty { newline(level: level) }
        output += close
    }

    private mutating func newline(level: Int) {
        guard let indent = options.indent else { return }
        output += "\n"
        output += String(repeating: " ", count: max(indent, 0) * level)
    }

    private static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        return value.description
    }

    private mutating func write(string: String) {
        output += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case "\u{08}": output += "\\b"
            case "\u{0C}": output += "\\f"
            case "\u{00}"..<"\u{20}": writeEscape(UInt16(scalar.value))
            case "\u{20}"..<"\u{7F}": output.unicodeScalars.append(scalar)
            default:
                // U+007F counts as ASCII and is printed as it is, in Python too.
                if !options.ensureASCII || scalar.value < 0x80 {
                    output.unicodeScalars.append(scalar)
                } else {
                    for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
                        writeEscape(unit)
                    }
                }
            }
        }
        output += "\""
    }

    private mutating func writeEscape(_ unit: UInt16) {
        let digits = String(unit, radix: 16)
        output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }
}
