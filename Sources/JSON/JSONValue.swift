package import OrderedCollections

/// A JSON document as a value; objects keep the order in which their keys were written.
///
/// Requests, chat templates, tool schemas, configurations and tokenizer files all pass through
/// this type. The order of keys matters because prompts show it.
package enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    /// An integer outside `Int64`, as its decimal digits: a prompt must show it as it was written.
    case bigInt(String)
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object(OrderedDictionary<String, JSONValue>)
}

extension JSONValue {
    /// An object with these members in this order.
    package init(members: [(String, JSONValue)]) {
        self = .object(OrderedDictionary(members, uniquingKeysWith: { $1 }))
    }

    /// The members of an object, unordered; nil for every other kind of value.
    package var dictionary: [String: JSONValue]? {
        guard case .object(let members) = self else { return nil }
        return Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value) })
    }

    /// The members of an object in the order written; none for every other kind of value.
    package var members: [(key: String, value: JSONValue)] {
        guard case .object(let members) = self else { return [] }
        return members.map { ($0.key, $0.value) }
    }

    /// The member `key` of an object; nil for a missing key and for every other kind of value.
    package subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members[key]
    }

    /// The element at `index` of an array; nil outside its bounds and for other kinds of value.
    package subscript(index: Int) -> JSONValue? {
        guard case .array(let elements) = self, elements.indices.contains(index) else {
            return nil
        }
        return elements[index]
    }

    /// An object with one member changed, or removed; every other kind of value stays as it is.
    package func setting(_ key: String, _ value: JSONValue?) -> JSONValue {
        guard case .object(var members) = self else { return self }
        members[key] = value
        return .object(members)
    }

    package var isNull: Bool { self == .null }

    package var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// An integer, or a double without a fraction that fits (`3.0` reads as 3).
    package var intValue: Int64? {
        switch self {
        case .int(let value): value
        case .double(let value): Int64(exactly: value)
        default: nil
        }
    }

    package var doubleValue: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        case .bigInt(let digits): Double(digits)
        default: nil
        }
    }

    package var stringValue: String? {
        if case .string(let value) = self { value } else { nil }
    }

    package var arrayValue: [JSONValue]? {
        if case .array(let value) = self { value } else { nil }
    }

    package var objectValue: OrderedDictionary<String, JSONValue>? {
        if case .object(let value) = self { value } else { nil }
    }

    /// What kind of value this is, for error messages.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int, .bigInt, .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(floatLiteral value: Double) { self = .double(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(nilLiteral: ()) { self = .null }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(OrderedDictionary(elements, uniquingKeysWith: { $1 }))
    }
}

/// What `JSONCursor` and `JSONValue.parse` accept. The defaults are RFC 8259 and nothing more.
package struct JSONParseOptions: Sendable {
    /// Arrays and objects nested deeper than this are refused: the parser recurses.
    package var depthMax = 512
    /// Values in one document; bounds the memory that a short text can take.
    package var valuesMax = Int.max
    /// Bytes of one number that does not fit `Int64`; reading it takes longer than linear time.
    package var numberBytesMax = 1_024
    /// Refuse an object that has a key twice, instead of keeping the last value: parsers disagree
    /// about it, and attackers use that.
    package var refusesRepeatedKeys = false
    /// Replace `\ud800`-style halves of a surrogate pair by U+FFFD instead of refusing them.
    package var replacesLoneSurrogates = false
    /// Read `NaN`, `Infinity` and `-Infinity`, which Python writes.
    package var acceptsNonFinite = false
    package var skipsByteOrderMark = false

    package init() {}

    /// For the files beside weights: what Python's `json` writes, or reads without complaint.
    package static let checkpointFile: JSONParseOptions = {
        var options = JSONParseOptions()
        options.replacesLoneSurrogates = true
        options.acceptsNonFinite = true
        options.skipsByteOrderMark = true
        return options
    }()
}

/// Why a text is not the JSON asked for, and at which byte. Never carries a request's text itself.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package enum Reason: Equatable, Sendable {
        case unexpectedEnd
        case unexpectedByte(UInt8)
        case invalidNumber
        case numberOutOfRange
        case invalidEscape
        case loneSurrogate
        case controlCharacterInString
        case invalidUTF8
        case tooDeep(limit: Int)
        case trailingBytes
        case wrongType(expected: String)
        case repeatedKey
        case tooManyValues(limit: Int)
        case numberTooLong(limit: Int)
        /// Well-formed, but not what the reader of this document can use.
        case unusable(String)
    }

    package var reason: Reason
    /// Offset from the start of the document, in bytes.
    package var offset: Int

    package init(reason: Reason, offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    /// What is wrong, without the place.
    package var explanation: String {
        switch reason {
        case .unexpectedEnd: "the text ends in the middle of a value"
        case .unexpectedByte(let byte) where (0x21...0x7E).contains(byte):
            "unexpected '\(Unicode.Scalar(byte))'"
        case .unexpectedByte(let byte): "unexpected byte 0x\(String(byte, radix: 16))"
        case .invalidNumber: "malformed number"
        case .numberOutOfRange: "number too large for a double"
        case .invalidEscape: "malformed escape in a string"
        case .loneSurrogate: "half of a surrogate pair in a string"
        case .controlCharacterInString: "raw control character in a string"
        case .invalidUTF8: "invalid UTF-8 in a string"
        case .tooDeep(let limit): "nested deeper than \(limit) levels"
        case .trailingBytes: "more text after the value"
        case .wrongType(let expected): "expected \(expected)"
        case .repeatedKey: "a key twice in one object"
        case .tooManyValues(let limit): "more than \(limit) values"
        case .numberTooLong(let limit): "a number of more than \(limit) characters"
        case .unusable(let reason): reason
        }
    }

    package var description: String { "invalid JSON at byte \(offset): \(explanation)" }
}

extension JSONValue {
    /// Reads one JSON document from UTF-8 bytes. Unless the options refuse it, a repeated key
    /// keeps its first place and its last value, as Python's `json` does.
    package static func parse(
        _ bytes: [UInt8], options: JSONParseOptions = JSONParseOptions()
    ) throws(JSONError) -> JSONValue {
        var cursor = JSONCursor(bytes, options: options)
        let value = try cursor.readValue()
        try cursor.expectEnd()
        return value
    }

    package static func parse(
        _ text: String, options: JSONParseOptions = JSONParseOptions()
    ) throws(JSONError) -> JSONValue {
        try parse(Array(text.utf8), options: options)
    }
}
