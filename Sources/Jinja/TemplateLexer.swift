/// Splits template source into tokens, with Jinja's whitespace control under
/// `trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False`, the settings of
/// `transformers.apply_chat_template`.
struct TemplateLexer {
    enum Token: Equatable {
        case data([UInt8])
        case blockBegin, blockEnd
        case variableBegin, variableEnd
        case name(String)
        case string(String)
        case integer(String)
        case float(Double)
        case symbol(String)
        case end

        /// How Jinja names the token in its messages.
        var words: String {
            switch self {
            case .data: "template data / text"
            case .blockBegin: "begin of statement block"
            case .blockEnd: "end of statement block"
            case .variableBegin: "begin of print statement"
            case .variableEnd: "end of print statement"
            case .name(let name): name
            case .string: "string"
            case .integer: "integer"
            case .float: "float"
            case .symbol(let symbol): symbol
            case .end: "end of template"
            }
        }
    }

    struct Positioned {
        let token: Token
        let line: Int
    }

    private let source: [UInt8]
    private var position = 0
    private var line = 1
    private var tokens: [Positioned] = []
    /// Whether the position follows a newline (or the start): `lstrip_blocks` needs it when a tag
    /// follows another tag without text in between.
    private var lineStarting = true

    private init(_ source: [UInt8]) { self.source = source }

    static func tokenize(_ source: String) throws(TemplateError) -> [Positioned] {
        let size = source.utf8.count
        guard size <= TemplateLimits.sourceBytes else {
            throw TemplateError(
                .limit,
                "the source has \(size) bytes; at most \(TemplateLimits.sourceBytes) are allowed")
        }
        var lexer = TemplateLexer(normalized(source))
        try lexer.run()
        return lexer.tokens
    }

    /// Newlines become `\n`, and one newline at the very end is dropped.
    private static func normalized(_ source: String) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(source.utf8.count)
        var afterReturn = false
        for byte in source.utf8 {
            switch byte {
            case 0x0D:
                result.append(0x0A)
            case 0x0A where afterReturn:
                break
            default:
                result.append(byte)
            }
            afterReturn = byte == 0x0D
        }
        if result.last == 0x0A { result.removeLast() }
        return result
    }

    // MARK: Text between tags

    private mutating func run() throws(TemplateError) {
        while position < source.count {
            guard let tag = nextTag(from: position) else {
                emitData(position..<source.count)
                position = source.count
                break
            }
            try lexTag(at: tag)
        }
        tokens.append(Positioned(token: .end, line: line))
    }

    private func byte(_ index: Int) -> UInt8 { index < source.count ? source[index] : 0 }

    private func nextTag(from start: Int) -> Int? {
        var index = start
        while index + 1 < source.count {
            if source[index] == UInt8(ascii: "{") {
                switch source[index + 1] {
                case UInt8(ascii: "{"), UInt8(ascii: "%"), UInt8(ascii: "#"): return index
                default: break
                }
            }
            index += 1
        }
        return nil
    }

    private mutating func lexTag(at tag: Int) throws(TemplateError) {
        let kind = byte(tag + 1)
        let sign = byte(tag + 2)
        let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
        let afterSign = tag + (isSigned ? 3 : 2)
        emitStripped(
            position..<tag, sign: isSigned ? sign : 0, isVariable: kind == UInt8(ascii: "{"))
        line += newlines(in: position..<tag)
        position = afterSign
        lineStarting = false
        switch kind {
        case UInt8(ascii: "#"):
            try skipComment()
        case UInt8(ascii: "%"):
            if let body = keyword("raw", at: afterSign, allowPlus: false) {
                try lexRaw(body)
            } else {
                tokens.append(Positioned(token: .blockBegin, line: line))
                try lexExpression(closedBy: UInt8(ascii: "%"))
            }
        default:
            tokens.append(Positioned(token: .variableBegin, line: line))
            try lexExpression(closedBy: UInt8(ascii: "}"))
        }
    }

    private mutating func emitData(_ range: Range<Int>) {
        if range.isEmpty { return }
        tokens.append(Positioned(token: .data(Array(source[range])), line: line))
    }

    private mutating func emitStripped(_ range: Range<Int>, sign: UInt8, isVariable: Bool) {
        var end = range.upperBound
        if sign == UInt8(ascii: "-") {
            end = endWithoutSpace(range)
        } else if sign != UInt8(ascii: "+") && !isVariable {
            let lineStart =
                source[range].lastIndex(of: 0x0A).map { $0 + 1 } ?? range.lowerBound
            let startsLine = lineStart > range.lowerBound || lineStarting
            let stripped = endWithoutSpace(lineStart..<range.upperBound)
            if startsLine && stripped == lineStart { end = lineStart }
        }
        emitData(range.lowerBound..<end)
    }

    private func endWithoutSpace(_ range: Range<Int>) -> Int {
        let text = TemplateText(bytes: Array(source[range]), trusted: true)
        var end = text.count
        while end > 0 {
            let start = text.scalarStart(before: end)
            if !text.scalar(at: start).scalar.isPythonSpace { break }
            end = start
        }
        return range.lowerBound + end
    }

    private func newlines(in range: Range<Int>) -> Int {
        source[range].reduce(0) { $0 + ($1 == 0x0A ? 1 : 0) }
    }

    private mutating func move(to next: Int) {
        line += newlines(in: position..<next)
        if next > position { lineStarting = byte(next - 1) == 0x0A }
        position = next
    }

    // MARK: Ends of tags

    /// The position after a closing `%}` or `#}` with its sign and the whitespace it removes.
    private func closing(_ mark: UInt8, at index: Int, trimsNewline: Bool) -> Int? {
        var cursor = index
        let sign = byte(cursor)
        let isMinus = sign == UInt8(ascii: "-")
        let isPlus = sign == UInt8(ascii: "+") && trimsNewline
        if isMinus || isPlus { cursor += 1 }
        guard byte(cursor) == mark, byte(cursor + 1) == UInt8(ascii: "}") else { return nil }
        cursor += 2
        if isMinus { return skipSpace(cursor) }
        if trimsNewline && !isPlus && byte(cursor) == 0x0A { cursor += 1 }
        return cursor
    }

    private func skipSpace(_ start: Int) -> Int {
        var index = start
        while index < source.count {
            let first = source[index]
            if first < 0x80 {
                if !Unicode.Scalar(first).isPythonSpace { break }
                index += 1
                continue
            }
            let text = TemplateText(
                bytes: Array(source[index..<min(index + 4, source.count)]), trusted: true)
            let (scalar, next) = text.scalar(at: 0)
            if !scalar.isPythonSpace { break }
            index += next
        }
        return index
    }

    private mutating func skipComment() throws(TemplateError) {
        var index = position
        while index < source.count {
            if let next = closing(UInt8(ascii: "#"), at: index, trimsNewline: true) {
                move(to: next)
                return
            }
            index += 1
        }
        throw TemplateError(.syntax, "Missing end of comment tag", line: line)
    }

    /// The position after `word` and the end of its tag, if that is what the tag says.
    private func keyword(_ word: String, at start: Int, allowPlus: Bool) -> Int? {
        var index = skipSpace(start)
        for expected in word.utf8 {
            if byte(index) != expected { return nil }
            index += 1
        }
        index = skipSpace(index)
        return closing(UInt8(ascii: "%"), at: index, trimsNewline: allowPlus)
    }

    private mutating func lexRaw(_ body: Int) throws(TemplateError) {
        move(to: body)
        var index = position
        while index + 1 < source.count {
            if source[index] == UInt8(ascii: "{"), source[index + 1] == UInt8(ascii: "%") {
                let sign = byte(index + 2)
                let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
                if let next = keyword("endraw", at: index + (isSigned ? 3 : 2), allowPlus: true) {
                    emitStripped(position..<index, sign: isSigned ? sign : 0, isVariable: false)
                    move(to: next)
                    return
                }
            }
            index += 1
        }
        throw TemplateError(.syntax, "Missing end of raw directive", line: line)
    }

    // MARK: Inside tags

    private mutating func lexExpression(closedBy mark: UInt8) throws(TemplateError) {
        var brackets: [UInt8] = []
        while position < source.count {
            if brackets.isEmpty,
                let next = closing(mark, at: position, trimsNewline: mark == UInt8(ascii: "%"))
            {
                let isBlock = mark == UInt8(ascii: "%")
                tokens.append(Positioned(token: isBlock ? .blockEnd : .variableEnd, line: line))
                move(to: next)
                return
            }
            let spaced = skipSpace(position)
            if spaced > position {
                move(to: spaced)
                continue
            }
            try lexToken(&brackets)
        }
    }

    private mutating func lexToken(_ brackets: inout [UInt8]) throws(TemplateError) {
        let first = source[position]
        switch first {
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            try lexNumber()
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            try lexString(quote: first)
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "_"), 0x80...:
            lexName()
        default:
            try lexSymbol(&brackets)
        }
    }

    private mutating func lexName() {
        var end = position
        while end < source.count {
            let value = source[end]
            let isPart =
                value >= 0x80 || value == UInt8(ascii: "_")
                || (value | 0x20 >= UInt8(ascii: "a") && value | 0x20 <= UInt8(ascii: "z"))
                || (value >= UInt8(ascii: "0") && value <= UInt8(ascii: "9"))
            if !isPart { break }
            end += 1
        }
        let name = String(decoding: source[position..<end], as: UTF8.self)
        tokens.append(Positioned(token: .name(name), line: line))
        position = end
    }

    private static let symbols = [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{",
        "}", ">", "<", "=", ".", ":", "|", ",", ";",
    ].map { (text: $0, bytes: Array($0.utf8)) }

    private mutating func lexSymbol(_ brackets: inout [UInt8]) throws(TemplateError) {
        guard
            let symbol = Self.symbols.first(where: { source[position...].starts(with: $0.bytes) })
        else {
            throw TemplateError(
                .syntax, "unexpected char '\(Unicode.Scalar(source[position]))'", line: line)
        }
        switch symbol.text {
        case "(": brackets.append(UInt8(ascii: ")"))
        case "[": brackets.append(UInt8(ascii: "]"))
        case "{": brackets.append(UInt8(ascii: "}"))
        case ")", "]", "}":
            guard let expected = brackets.popLast() else {
                throw TemplateError(.syntax, "unexpected '\(symbol.text)'", line: line)
            }
            guard expected == symbol.bytes[0] else {
                let wanted = Unicode.Scalar(expected)
                throw TemplateError(
                    .syntax, "unexpected '\(symbol.text)', expected '\(wanted)'", line: line)
            }
        default: break
        }
        tokens.append(Positioned(token: .symbol(symbol.text), line: line))
        position += symbol.bytes.count
    }

    // MARK: Numbers

    private func digitsEnd(_ start: Int, _ isDigit: (UInt8) -> Bool) -> Int {
        var index = start
        while isDigit(byte(index)) || (byte(index) == UInt8(ascii: "_") && isDigit(byte(index + 1)))
        {
            index += 1
        }
        return index
    }

    private static func isDecimal(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private mutating func lexNumber() throws(TemplateError) {
        if let radix = radixPrefix() {
            let end = digitsEnd(position + 2) { value in
                Character(Unicode.Scalar(value)).hexDigitValue.map { $0 < radix } ?? false
            }
            let digits = source[(position + 2)..<end].filter { $0 != UInt8(ascii: "_") }
            guard let value = Int(String(decoding: digits, as: UTF8.self), radix: radix) else {
                throw TemplateError(.syntax, "integer literal out of range", line: line)
            }
            tokens.append(Positioned(token: .integer(String(value)), line: line))
            position = end
            return
        }
        var end = digitsEnd(position, Self.isDecimal)
        var isFloat = false
        // A number directly after a dot (`a.1.2`) is a subscript, not a fraction.
        let afterDot = position > 0 && source[position - 1] == UInt8(ascii: ".")
        if !afterDot, byte(end) == UInt8(ascii: "."), Self.isDecimal(byte(end + 1)) {
            end = digitsEnd(end + 1, Self.isDecimal)
            isFloat = true
        }
        if !afterDot, byte(end) | 0x20 == UInt8(ascii: "e") {
            let sign = byte(end + 1)
            let start = sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") ? end + 2 : end + 1
            if Self.isDecimal(byte(start)) {
                end = digitsEnd(start, Self.isDecimal)
                isFloat = true
            }
        }
        let digits = source[position..<end].filter { $0 != UInt8(ascii: "_") }
        let text = String(decoding: digits, as: UTF8.self)
        if isFloat {
            tokens.append(Positioned(token: .float(Double(text) ?? .infinity), line: line))
        } else {
            let trimmed = text.drop { $0 == "0" }
            guard trimmed.utf8.count <= 1000 else {
                throw TemplateError(
                    .limit, "an integer literal has \(text.utf8.count) digits; 1000 are allowed",
                    line: line)
            }
            tokens.append(
                Positioned(token: .integer(trimmed.isEmpty ? "0" : String(trimmed)), line: line))
        }
        position = end
    }

    private func radixPrefix() -> Int? {
        guard byte(position) == UInt8(ascii: "0") else { return nil }
        switch byte(position + 1) | 0x20 {
        case UInt8(ascii: "x"): return 16
        case UInt8(ascii: "o"): return 8
        case UInt8(ascii: "b"): return 2
        default: return nil
        }
    }

    // MARK: Strings

    private mutating func lexString(quote: UInt8) throws(TemplateError) {
        var index = position + 1
        while index < source.count && source[index] != quote {
            index += source[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard index < source.count else {
            throw TemplateError(
                .syntax, "unexpected char '\(Unicode.Scalar(quote))'", line: line)
        }
        let body = Array(source[(position + 1)..<index])
        let startLine = line
        let value = try TemplateEscapes.unescape(body, line: line)
        tokens.append(Positioned(token: .string(value), line: startLine))
        line += newlines(in: position..<index)
        position = index + 1
    }
}

/// Python's escapes in string literals.
enum TemplateEscapes {
    static func unescape(_ body: [UInt8], line: Int) throws(TemplateError) -> String {
        guard body.contains(UInt8(ascii: "\\")) else {
            return String(decoding: body, as: UTF8.self)
        }
        var units: [UInt8] = []
        var index = 0
        while index < body.count {
            guard body[index] == UInt8(ascii: "\\"), index + 1 < body.count else {
                units.append(body[index])
                index += 1
                continue
            }
            let escape = body[index + 1]
            index += 2
            if let simple = simpleEscapes[escape] {
                units.append(simple)
            } else if escape == 0x0A {
                continue
            } else if escape >= UInt8(ascii: "0") && escape <= UInt8(ascii: "7") {
                index -= 1
                append(number(body, &index, digits: 3, radix: 8) ?? 0, to: &units)
            } else if let digits = hexDigits[escape] {
                let start = index
                guard var value = number(body, &index, digits: digits, radix: 16),
                    index - start == digits
                else {
                    throw TemplateError(.syntax, "truncated \\x, \\u or \\U escape", line: line)
                }
                value = joinSurrogates(value, body, &index)
                append(value, to: &units)
            } else {
                units.append(UInt8(ascii: "\\"))
                units.append(escape)
            }
        }
        return String(decoding: units, as: UTF8.self)
    }

    private static let simpleEscapes: [UInt8: UInt8] = [
        UInt8(ascii: "n"): 0x0A, UInt8(ascii: "t"): 0x09, UInt8(ascii: "r"): 0x0D,
        UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "'"): 0x27, UInt8(ascii: "\""): 0x22,
        UInt8(ascii: "a"): 0x07, UInt8(ascii: "b"): 0x08, UInt8(ascii: "f"): 0x0C,
        UInt8(ascii: "v"): 0x0B,
    ]
    private static let hexDigits: [UInt8: Int] = [
        UInt8(ascii: "x"): 2, UInt8(ascii: "u"): 4, UInt8(ascii: "U"): 8,
    ]

    private static func number(
        _ body: [UInt8], _ index: inout Int, digits: Int, radix: Int
    ) -> UInt32? {
        var value: UInt32 = 0
        var count = 0
        while count < digits, index < body.count,
            let digit = Character(Unicode.Scalar(body[index])).hexDigitValue, digit < radix
        {
            value = value &* UInt32(radix) &+ UInt32(digit)
            index += 1
            count += 1
        }
        return count > 0 ? value : nil
    }

    /// Python would keep the two halves apart; they could never be printed, so joining them is
    /// what an author can have meant.
    private static func joinSurrogates(
        _ high: UInt32, _ body: [UInt8], _ index: inout Int
    ) -> UInt32 {
        guard (0xD800..<0xDC00).contains(high), index + 1 < body.count,
            body[index] == UInt8(ascii: "\\"), body[index + 1] == UInt8(ascii: "u")
        else { return high }
        var cursor = index + 2
        guard let low = number(body, &cursor, digits: 4, radix: 16),
            (0xDC00..<0xE000).contains(low)
        else { return high }
        index = cursor
        return 0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)
    }

    private static func append(_ value: UInt32, to units: inout [UInt8]) {
        let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
        units.append(contentsOf: Array(String(Character(scalar)).utf8))
    }
}
