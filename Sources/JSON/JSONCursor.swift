import OrderedCollections

/// A pull reader over JSON bytes, for `JSONValue` and for files too large to become one
/// (a vocabulary of 150,000 entries is read straight into its table).
///
/// Every read leaves `position` behind the value read; errors name a byte offset.
package struct JSONCursor {
    private let bytes: [UInt8]
    private let end: Int
    private let options: JSONParseOptions
    private var position: Int
    private var depth = 0
    private var values = 0
    /// The last string read by `readStringBytes`, unescaped, valid UTF-8.
    package private(set) var scratch: [UInt8] = []

    /// Reads the whole of `bytes`, or one `range` of it; errors name offsets in `bytes`.
    package init(
        _ bytes: [UInt8], range: Range<Int>? = nil,
        options: JSONParseOptions = JSONParseOptions()
    ) {
        self.bytes = bytes
        self.options = options
        position = range?.lowerBound ?? 0
        end = range?.upperBound ?? bytes.count
        scratch.reserveCapacity(256)
        if options.skipsByteOrderMark, position == 0, bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            position = 3
        }
    }

    /// An error at `offset`, or where the cursor stands.
    package func error(_ reason: JSONError.Reason, at offset: Int? = nil) -> JSONError {
        JSONError(reason: reason, offset: offset ?? position)
    }

    private mutating func skipWhitespace() {
        while position < end {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }

    /// The next byte that is not whitespace, not consumed.
    package mutating func peek() throws(JSONError) -> UInt8 {
        skipWhitespace()
        guard position < end else { throw error(.unexpectedEnd) }
        return bytes[position]
    }

    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        let found = try peek()
        guard found == byte else { throw error(.unexpectedByte(found)) }
        position += 1
    }

    /// Throws when anything but whitespace is left.
    package mutating func expectEnd() throws(JSONError) {
        skipWhitespace()
        if position < end { throw error(.trailingBytes) }
    }

    private mutating func expect(literal: StaticString, _ value: JSONValue)
        throws(JSONError) -> JSONValue
    {
        // `description` of a StaticString is the text itself.
        for byte in literal.description.utf8 {
            guard position < end else { throw error(.unexpectedEnd) }
            guard bytes[position] == byte else { throw error(.unexpectedByte(bytes[position])) }
            position += 1
        }
        return value
    }

    private mutating func descend() throws(JSONError) {
        depth += 1
        if depth > options.depthMax { throw error(.tooDeep(limit: options.depthMax)) }
    }

    // MARK: Whole values

    package mutating func readValue() throws(JSONError) -> JSONValue {
        values += 1
        if values > options.valuesMax { throw error(.tooManyValues(limit: options.valuesMax)) }
        switch try peek() {
        case UInt8(ascii: "{"): return try readObject()
        case UInt8(ascii: "["): return try readArray()
        case UInt8(ascii: "\""): return .string(try readString())
        case UInt8(ascii: "t"): return try expect(literal: "true", .bool(true))
        case UInt8(ascii: "f"): return try expect(literal: "false", .bool(false))
        case UInt8(ascii: "n"): return try expect(literal: "null", .null)
        case UInt8(ascii: "N") where options.acceptsNonFinite:
            return try expect(literal: "NaN", .double(.nan))
        case UInt8(ascii: "I") where options.acceptsNonFinite:
            return try expect(literal: "Infinity", .double(.infinity))
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try readNumber()
        case let other: throw error(.unexpectedByte(other))
        }
    }

    private mutating func readObject() throws(JSONError) -> JSONValue {
        var members: OrderedDictionary<String, JSONValue> = [:]
        try readMembers { (cursor, key) throws(JSONError) in
            if cursor.options.refusesRepeatedKeys, members[key] != nil {
                throw cursor.error(.repeatedKey)
            }
            members[key] = try cursor.readValue()
        }
        return .object(members)
    }

    private mutating func readArray() throws(JSONError) -> JSONValue {
        var elements: [JSONValue] = []
        try readElements { (cursor) throws(JSONError) in
            elements.append(try cursor.readValue())
        }
        return .array(elements)
    }

    /// Calls `body` once per member of the object that comes next; it must read the value.
    package mutating func readMembers(
        _ body: (inout JSONCursor, String) throws(JSONError) -> Void
    ) throws(JSONError) {
        try readMembersRaw { (cursor) throws(JSONError) in
            let key = String(decoding: cursor.scratch, as: UTF8.self)
            try body(&cursor, key)
        }
    }

    /// As `readMembers`, with the key left in `scratch` (before the value is read).
    package mutating func readMembersRaw(
        _ body: (inout JSONCursor) throws(JSONError) -> Void
    ) throws(JSONError) {
        try expect(UInt8(ascii: "{"))
        try descend()
        defer { depth -= 1 }
        if try peek() == UInt8(ascii: "}") {
            position += 1
            return
        }
        while true {
            try readStringBytes()
            try expect(UInt8(ascii: ":"))
            try body(&self)
            let next = try peek()
            position += 1
            if next == UInt8(ascii: "}") { return }
            guard next == UInt8(ascii: ",") else {
                throw error(.unexpectedByte(next), at: position - 1)
            }
        }
    }

    /// Calls `body` once per element of the array that comes next; it must read the element.
    package mutating func readElements(
        _ body: (inout JSONCursor) throws(JSONError) -> Void
    ) throws(JSONError) {
        try expect(UInt8(ascii: "["))
        try descend()
        defer { depth -= 1 }
        if try peek() == UInt8(ascii: "]") {
            position += 1
            return
        }
        while true {
            try body(&self)
            let next = try peek()
            position += 1
            if next == UInt8(ascii: "]") { return }
            guard next == UInt8(ascii: ",") else {
                throw error(.unexpectedByte(next), at: position - 1)
            }
        }
    }

    /// Steps over one value and returns where it stands. Only strings and the depth of brackets
    /// are followed: whoever wants the value reads the range, and then everything is checked.
    package mutating func skipValue() throws(JSONError) -> Range<Int> {
        let first = try peek()
        let start = position
        guard first == UInt8(ascii: "{") || first == UInt8(ascii: "[") else {
            _ = try readValue()
            return start..<position
        }
        var depth = 0
        while position < end {
            switch bytes[position] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 {
                    position += 1
                    return start..<position
                }
            case UInt8(ascii: "\""): skipString()
            default: break
            }
            position += 1
        }
        throw error(.unexpectedEnd)
    }

    /// From an opening quote to the closing one.
    private mutating func skipString() {
        position += 1
        while position < end, bytes[position] != UInt8(ascii: "\"") {
            position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
        }
    }

    // MARK: Numbers

    /// An integer, written as one and within `Int64`.
    package mutating func readInt() throws(JSONError) -> Int64 {
        let first = try peek()
        let start = position
        guard first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
            case .int(let value) = try readNumber()
        else { throw error(.wrongType(expected: "an integer"), at: start) }
        return value
    }

    package mutating func readDouble() throws(JSONError) -> Double {
        let first = try peek()
        let start = position
        guard first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
            let value = try readNumber().doubleValue
        else { throw error(.wrongType(expected: "a number"), at: start) }
        return value
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while position < end, (0x30...0x39).contains(bytes[position]) { position += 1 }
        return position - start
    }

    private mutating func readNumber() throws(JSONError) -> JSONValue {
        let start = position
        let negative = bytes[position] == UInt8(ascii: "-")
        if negative { position += 1 }
        if negative, options.acceptsNonFinite, position < end,
            bytes[position] == UInt8(ascii: "I")
        {
            return try expect(literal: "Infinity", .double(-.infinity))
        }
        let integerStart = position
        guard skipDigits() > 0 else { throw error(.invalidNumber, at: start) }
        if bytes[integerStart] == 0x30, position - integerStart > 1 {
            throw error(.invalidNumber, at: start)
        }
        var isInteger = true
        if position < end, bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            guard skipDigits() > 0 else { throw error(.invalidNumber, at: start) }
        }
        if position < end, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if position < end,
                bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-")
            {
                position += 1
            }
            guard skipDigits() > 0 else { throw error(.invalidNumber, at: start) }
        }
        if isInteger, let value = integer(integerStart..<position, negative: negative) {
            return .int(value)
        }
        guard position - start <= options.numberBytesMax else {
            throw error(.numberTooLong(limit: options.numberBytesMax), at: start)
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Double(text) else { throw error(.invalidNumber, at: start) }
        guard value.isFinite else { throw error(.numberOutOfRange, at: start) }
        return isInteger ? .bigInt(text) : .double(value)
    }

    private func integer(_ digits: Range<Int>, negative: Bool) -> Int64? {
        var value: Int64 = 0
        for index in digits {
            let digit = Int64(bytes[index] - 0x30)
            let (scaled, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) =
                negative
                ? scaled.subtractingReportingOverflow(digit)
                : scaled.addingReportingOverflow(digit)
            if overflowed || carried { return nil }
            value = sum
        }
        return value
    }

    // MARK: Strings

    package mutating func readString() throws(JSONError) -> String {
        guard try peek() == UInt8(ascii: "\"") else {
            throw error(.wrongType(expected: "a string"))
        }
        try readStringBytes()
        return String(decoding: scratch, as: UTF8.self)
    }

    /// Reads the string that comes next into `scratch`.
    package mutating func readStringBytes() throws(JSONError) {
        try expect(UInt8(ascii: "\""))
        scratch.removeAll(keepingCapacity: true)
        let opening = position - 1
        while position < end {
            let start = position
            while position < end, Self.isPlain(bytes[position]) { position += 1 }
            if position > start { scratch.append(contentsOf: bytes[start..<position]) }
            guard position < end else { break }
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                guard (try? UTF8Span(validating: scratch.span)) != nil else {
                    throw error(.invalidUTF8, at: opening)
                }
                return
            case UInt8(ascii: "\\"):
                position += 1
                try readEscape()
            default: throw error(.controlCharacterInString)
            }
        }
        throw error(.unexpectedEnd)
    }

    /// A byte that stands for itself in a string.
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }

    private mutating func readEscape() throws(JSONError) {
        guard position < end else { throw error(.unexpectedEnd) }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): scratch.append(byte)
        case UInt8(ascii: "b"): scratch.append(0x08)
        case UInt8(ascii: "f"): scratch.append(0x0C)
        case UInt8(ascii: "n"): scratch.append(0x0A)
        case UInt8(ascii: "r"): scratch.append(0x0D)
        case UInt8(ascii: "t"): scratch.append(0x09)
        case UInt8(ascii: "u"): try readUnicodeEscape()
        default: throw error(.invalidEscape, at: position - 1)
        }
    }

    private mutating func readUnicodeEscape() throws(JSONError) {
        let start = position
        let first = try readHex()
        if let scalar = Unicode.Scalar(first) {
            scratch.append(contentsOf: String(scalar).utf8)
            return
        }
        // A high half must be followed by an escaped low half.
        if first < 0xDC00, position + 1 < end, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        {
            let afterFirst = position
            position += 2
            let second = try readHex()
            if (0xDC00..<0xE000).contains(second) {
                let code = 0x10000 + ((UInt32(first) - 0xD800) << 10) + (UInt32(second) - 0xDC00)
                if let scalar = Unicode.Scalar(code) {
                    scratch.append(contentsOf: String(scalar).utf8)
                    return
                }
            }
            position = afterFirst
        }
        guard options.replacesLoneSurrogates else { throw error(.loneSurrogate, at: start) }
        scratch.append(contentsOf: [0xEF, 0xBF, 0xBD])
    }

    private mutating func readHex() throws(JSONError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard position < end else { throw error(.unexpectedEnd) }
            let byte = bytes[position]
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x41 + 10
            case 0x61...0x66: digit = byte - 0x61 + 10
            default: throw error(.invalidEscape)
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }
}
