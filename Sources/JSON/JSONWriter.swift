/// Writes JSON into a byte buffer, piece by piece: the only place that does.
///
/// Keys appear in the order written. The buffer can be reused from chunk to chunk.
package struct JSONWriter: Sendable {
    package private(set) var bytes: [UInt8] = []
    private let options: JSONWriteOptions
    private let itemSeparator: [UInt8]
    private let keySeparator: [UInt8]
    private var needsComma = false
    private var followsKey = false
    /// Open arrays and objects.
    private var depth = 0

    package init(_ options: JSONWriteOptions = .compact) {
        self.options = options
        itemSeparator = Array(options.itemSeparator.utf8)
        keySeparator = Array(options.keySeparator.utf8)
        bytes.reserveCapacity(512)
    }

    /// What has been written so far, to be sent before the rest is written.
    package mutating func takeBytes() -> [UInt8] {
        defer { bytes.removeAll(keepingCapacity: true) }
        return bytes
    }

    /// Empties the buffer and keeps its memory.
    package mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        needsComma = false
        followsKey = false
        depth = 0
    }

    /// The text written so far.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// What stands before a value or a key.
    private mutating func separate() {
        if followsKey {
            followsKey = false
            return
        }
        if needsComma { bytes.append(contentsOf: itemSeparator) }
        needsComma = true
        if depth > 0 { newline() }
    }

    private mutating func newline() {
        guard let indent = options.indent else { return }
        bytes.append(0x0A)
        for _ in 0..<depth { bytes.append(contentsOf: indent.utf8) }
    }

    /// Bytes that are no JSON value: the framing around one.
    package mutating func raw(_ framing: String) {
        bytes.append(contentsOf: framing.utf8)
        needsComma = false
        followsKey = false
    }

    /// A prepared run of JSON (`"key":value,…`), to be continued by more members.
    package mutating func prepared(_ run: [UInt8]) {
        separate()
        bytes.append(contentsOf: run)
    }

    // MARK: Arrays and objects

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
        depth += 1
    }

    private mutating func close(_ bracket: UInt8) {
        depth -= 1
        if needsComma { newline() }
        bytes.append(bracket)
        needsComma = true
    }

    package mutating func beginObject() { open(UInt8(ascii: "{")) }

    package mutating func endObject() { close(UInt8(ascii: "}")) }

    package mutating func beginArray() { open(UInt8(ascii: "[")) }

    package mutating func endArray() { close(UInt8(ascii: "]")) }

    package mutating func key(_ name: String) {
        string(name)
        endKey()
    }

    private mutating func endKey() {
        bytes.append(contentsOf: keySeparator)
        followsKey = true
    }

    // MARK: Values

    package mutating func null() { word("null") }

    package mutating func bool(_ value: Bool) { word(value ? "true" : "false") }

    package mutating func int(_ value: some BinaryInteger) { word(String(value)) }

    /// A number, by its shortest form.
    package mutating func double(_ value: Double) { number(value) }

    /// A number with a float's digits, such as a log-probability.
    package mutating func float(_ value: Float) { number(value) }

    private mutating func number(_ value: some BinaryFloatingPoint & CustomStringConvertible) {
        if value.isFinite { return word(value.description) }
        switch options.nonFinite {
        case .words:
            word(value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity")
        case .null:
            if value < 0 { int(-9999) } else { null() }
        }
    }

    /// A number by its digits.
    package mutating func number(digits: String) { word(digits) }

    private mutating func word(_ word: String) {
        separate()
        bytes.append(contentsOf: word.utf8)
    }

    package mutating func string(_ value: String) {
        beginString()
        if options.ensureASCII { writeASCII(value) } else { write(value.utf8) }
        endString()
    }

    /// A string or null.
    package mutating func optional(_ value: String?) {
        if let value { string(value) } else { null() }
    }

    /// A value a client sent, or one built for an answer.
    package mutating func value(_ value: JSONValue) {
        switch value {
        case .null: null()
        case .bool(let flag): bool(flag)
        case .int(let number): int(number)
        case .bigInt(let digits): number(digits: digits)
        case .double(let number): double(number)
        case .string(let text): string(text)
        case .array(let elements):
            beginArray()
            for element in elements { self.value(element) }
            endArray()
        case .object:
            beginObject()
            var members = value.members
            if options.sortKeys {
                members.sort { left, right in
                    left.key.unicodeScalars.lexicographicallyPrecedes(right.key.unicodeScalars)
                }
            }
            for member in members {
                key(member.key)
                self.value(member.value)
            }
            endObject()
        }
    }

    // MARK: Strings in parts

    /// Starts a string; parts follow, then ``endString(isKey:)``. Whoever must know what became of
    /// a part looks at how far ``bytes`` has grown.
    package mutating func beginString() {
        separate()
        bytes.append(UInt8(ascii: "\""))
    }

    /// Whole characters of a string begun, as UTF-8.
    package mutating func stringPart(_ part: ArraySlice<UInt8>) {
        if options.ensureASCII {
            writeASCII(String(decoding: part, as: UTF8.self))
        } else {
            write(part)
        }
    }

    package mutating func endString(isKey: Bool = false) {
        bytes.append(UInt8(ascii: "\""))
        if isKey { endKey() }
    }

    private mutating func write(_ text: some Sequence<UInt8>) {
        for byte in text { write(byte) }
    }

    private mutating func writeASCII(_ text: String) {
        for scalar in text.unicodeScalars {
            if scalar.isASCII {
                write(UInt8(scalar.value))
            } else {
                for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
                    escape(unit)
                }
            }
        }
    }

    @inline(__always)
    private mutating func write(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0..<0x20, 0x7F: writeControl(byte)
        default: bytes.append(byte)
        }
    }

    private mutating func writeControl(_ byte: UInt8) {
        if byte == 0x7F && !options.escapes.coversDelete { return bytes.append(byte) }
        guard options.escapes.letters.contains(byte), let letter = Self.letter(of: byte) else {
            return escape(UInt16(byte))
        }
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(letter)
    }

    private static func letter(of byte: UInt8) -> UInt8? {
        switch byte {
        case 0x08: UInt8(ascii: "b")
        case 0x09: UInt8(ascii: "t")
        case 0x0A: UInt8(ascii: "n")
        case 0x0C: UInt8(ascii: "f")
        case 0x0D: UInt8(ascii: "r")
        default: nil
        }
    }

    private mutating func escape(_ unit: UInt16) {
        bytes.append(contentsOf: "\\u".utf8)
        for shift in stride(from: 12, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: unit >> UInt16(shift)) & 15
            bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
    }
}
