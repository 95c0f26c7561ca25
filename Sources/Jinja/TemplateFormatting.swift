import OrderedCollections

/// `'%s' % x`, `'{}'.format(x)` and `strftime`.
extension TemplateInterpreter {
    /// A conversion of either kind of format string.
    struct FormatSpec {
        var fill: Unicode.Scalar = " "
        var alignment: Character?
        var sign: Character?
        var isAlternate = false
        var width = 0
        var groups = false
        var precision: Int?
        var kind: Character = "s"
    }

    /// Widest field and longest precision of a conversion.
    private static let widthMax = 65_536

    // MARK: Percent

    func formatFilter(_ text: TemplateText, _ given: TemplateCall) throws(TemplateError)
        -> TemplateText
    {
        if given.keywords.isEmpty { return try format(text, with: .tuple(list(given.positional))) }
        guard given.positional.isEmpty else {
            throw TemplateError(
                .runtime,
                "can't handle positional and keyword arguments at the same time")
        }
        var entries: TemplateDict.Entries = [:]
        for (name, value) in given.keywords { try insert(.text(name), value, into: &entries) }
        return try format(text, with: .dict(dict(entries)))
    }

    func format(_ text: TemplateText, with value: TemplateValue) throws(TemplateError)
        -> TemplateText
    {
        var arguments: [TemplateValue] = [value]
        if case .tuple(let tuple) = value { arguments = tuple.items }
        var used = 0
        var reader = FormatReader(text)
        var result = TemplateText()
        while let start = reader.find(0x25) {
            result.append(text, reader.position..<start)
            reader.position = start + 1
            try spend(1)
            var key: String?
            if reader.skip(0x28) {
                guard let close = reader.find(0x29) else {
                    throw TemplateError(.value, "incomplete format key")
                }
                key = text[reader.position..<close].string
                reader.position = close + 1
            }
            func next() throws(TemplateError) -> TemplateValue {
                if let key {
                    guard case .dict = value else {
                        throw TemplateError(.type, "format requires a mapping")
                    }
                    return try item(value, .text(key))
                }
                guard used < arguments.count else {
                    throw TemplateError(.type, "not enough arguments for format string")
                }
                used += 1
                return arguments[used - 1]
            }
            let spec = try reader.percentSpec(widthMax: Self.widthMax) {
                () throws(TemplateError) in try integer(next())
            }
            if spec.kind == "%" {
                result.append("%")
                continue
            }
            let argument = try next()
            result.append(
                try text.isMarkup
                    ? formattedForMarkup(argument, spec)
                    : formatted(argument, spec, percent: true))
            try check(stringBytes: result.count)
        }
        result.append(text, reader.position..<text.count)
        if used < arguments.count, !Self.isMapping(value) {
            throw TemplateError(
                .type, "not all arguments converted during string formatting")
        }
        return result
    }

    /// Values that Python's `%` takes as a mapping, which need not be used.
    private static func isMapping(_ value: TemplateValue) -> Bool {
        switch value {
        case .dict, .list, .range, .undefined: true
        default: false
        }
    }

    /// `Markup % value` wraps its arguments: text comes out escaped, numbers are converted first.
    private func formattedForMarkup(_ value: TemplateValue, _ spec: FormatSpec)
        throws(TemplateError) -> TemplateText
    {
        switch spec.kind {
        case "s", "r", "a":
            let text = spec.kind == "s" ? try self.text(of: value) : try repr(value)
            var plain = spec
            plain.kind = "s"
            return try formatted(.text(escaped(text)), plain, percent: true)
        case "x", "X", "o", "c":
            throw TemplateError(
                .type, "%\(spec.kind) format: an integer is required, not _MarkupEscapeHelper")
        default:
            guard case .text(let digits) = value else {
                return try formatted(value, spec, percent: true)
            }
            let isWhole = "diu".contains(spec.kind)
            let parsed: TemplateValue? =
                isWhole
                ? Self.parseInteger(digits.string)
                : Self.parseDouble(digits.string).map { .double($0) }
            guard let number = parsed else {
                let type = isWhole ? "int() with base 10" : "float()"
                throw TemplateError(.value, "invalid literal for \(type)")
            }
            return try formatted(number, spec, percent: true)
        }
    }

    private func formatted(_ value: TemplateValue, _ spec: FormatSpec, percent: Bool)
        throws(TemplateError) -> TemplateText
    {
        var text: TemplateText
        var isNumber = true
        switch spec.kind {
        case "s", "r", "a":
            text = spec.kind == "s" ? try self.text(of: value) : try repr(value)
            if let precision = spec.precision {
                let offsets = text.scalarOffsets
                text = text[0..<offsets[min(precision, offsets.count - 1)]]
            }
            isNumber = false
        case "c":
            if case .text(let character) = value {
                text = character
            } else {
                let scalar = Unicode.Scalar(UInt32(clamping: try integer(value))) ?? "\u{FFFD}"
                text = TemplateText(String(Character(scalar)))
            }
            isNumber = false
        default:
            text = TemplateText(try numeric(value, spec, percent: percent))
        }
        if isNumber, spec.fill == "0", spec.alignment == nil || spec.alignment == "=" {
            return try zeroPadded(text, spec.width)
        }
        let filler = TemplateText(String(Character(spec.fill)))
        switch spec.alignment {
        case "<": return try pad(text, spec.width, filler, .left)
        case "^": return try pad(text, spec.width, filler, .center)
        case ">", "=": return try pad(text, spec.width, filler, .right)
        default:
            let isRight = percent || isNumber
            return try pad(text, spec.width, filler, isRight ? .right : .left)
        }
    }

    private func zeroPadded(_ text: TemplateText, _ width: Int) throws(TemplateError)
        -> TemplateText
    {
        let signed = text.bytes.first.map { [0x2B, 0x2D, 0x20].contains($0) } ?? false
        var result = text[0..<(signed ? 1 : 0)]
        let digits = text[result.count..<text.count]
        result.append(try pad(digits, width - result.count, TemplateText("0"), .right))
        return result
    }

    private func numeric(_ value: TemplateValue, _ spec: FormatSpec, percent: Bool)
        throws(TemplateError) -> String
    {
        guard let number = Self.number(value) else {
            if case .undefined(let undefined) = value { throw undefined.error }
            throw TemplateError(
                .type, "%\(spec.kind) format: a real number is required, not \(value.typeName)")
        }
        // Exact decimal digits take up to some microseconds.
        try spend(100)
        var digits: String
        var isNegative = number < 0 || (number == 0 && number.sign == .minus)
        switch spec.kind {
        case "d", "i", "u", "x", "X", "o", "b":
            let whole: Int
            if let integer = Self.plainInteger(value) {
                whole = integer
            } else if percent, let integer = Int(exactly: number.rounded(.towardZero)) {
                whole = integer
            } else {
                throw TemplateError(
                    .type, "%\(spec.kind) format: an integer is required, not \(value.typeName)")
            }
            isNegative = whole < 0
            let radix = ["x": 16, "X": 16, "o": 8, "b": 2][spec.kind] ?? 10
            digits = String(whole.magnitude, radix: radix, uppercase: spec.kind == "X")
            if let precision = spec.precision, digits.utf8.count < precision {
                digits = String(repeating: "0", count: precision - digits.utf8.count) + digits
            }
            if spec.isAlternate && radix != 10 { digits = "0\(spec.kind)" + digits }
        case "e", "E":
            digits = TemplateNumbers.scientific(number.magnitude, places: spec.precision ?? 6)
        case "g", "G":
            digits = TemplateNumbers.general(number.magnitude, precision: spec.precision ?? 6)
        case "%":
            digits =
                TemplateNumbers.fixed(number.magnitude * 100, places: spec.precision ?? 6) + "%"
        default:
            digits = TemplateNumbers.fixed(number.magnitude, places: spec.precision ?? 6)
        }
        if spec.kind == "E" || spec.kind == "G" { digits = digits.uppercased() }
        if spec.groups { digits = Self.grouped(digits) }
        return (isNegative ? "-" : spec.sign.map { String($0) } ?? "") + digits
    }

    private static func grouped(_ digits: String) -> String {
        let whole = digits.prefix { $0.isNumber }
        var result = ""
        for (index, digit) in whole.enumerated() {
            if index > 0 && (whole.count - index) % 3 == 0 { result += "," }
            result.append(digit)
        }
        return result + digits.dropFirst(whole.count)
    }

    // MARK: Braces

    /// `text.format(…)`; a `Markup` escapes every field.
    func formatBraces(_ text: TemplateText, _ given: TemplateCall) throws(TemplateError)
        -> TemplateText
    {
        var reader = FormatReader(text)
        var result = TemplateText()
        result.isMarkup = text.isMarkup
        var automatic = 0
        while let brace = reader.findBrace() {
            result.append(text, reader.position..<brace)
            reader.position = brace + 1
            try spend(1)
            if reader.skip(text.bytes[brace]) {
                result.append(text, brace..<(brace + 1))
                continue
            }
            guard text.bytes[brace] == 0x7B else {
                throw TemplateError(.value, "Single '}' encountered in format string")
            }
            guard let close = reader.find(0x7D) else {
                throw TemplateError(.value, "expected '}' before end of string")
            }
            let field = text[reader.position..<close].string
            reader.position = close + 1
            let value = try formatField(field, &automatic, given, escapes: text.isMarkup)
            result.append(text.isMarkup ? try escaped(value) : value)
            try check(stringBytes: result.count)
        }
        result.append(text, reader.position..<text.count)
        return result
    }

    private func formatField(
        _ field: String, _ automatic: inout Int, _ given: TemplateCall, escapes: Bool
    ) throws(TemplateError) -> TemplateText {
        guard !field.contains("{") else {
            throw TemplateError(.value, "nested fields in format strings are not supported")
        }
        var path = field[...]
        var specText = ""
        if let colon = field.firstIndex(of: ":") {
            specText = String(field[field.index(after: colon)...])
            path = field[..<colon]
        }
        var conversion: Character?
        if let mark = path.firstIndex(of: "!") {
            conversion = path[path.index(after: mark)...].first
            path = path[..<mark]
        }
        let name = path.prefix { $0 != "." && $0 != "[" }
        let base: TemplateValue?
        if name.isEmpty {
            base = automatic < given.positional.count ? given.positional[automatic] : nil
            automatic += 1
        } else if let index = Int(name) {
            base = given.positional.indices.contains(index) ? given.positional[index] : nil
        } else {
            base = given.keywords.first { $0.name == name }?.value
        }
        guard var value = base else {
            throw TemplateError(
                .value, "Replacement field '\(name)' has no argument to take")
        }
        value = try follow(path.dropFirst(name.count), from: value)
        if let conversion {
            let text = conversion == "s" ? try self.text(of: value) : try repr(value)
            value = .text(text.marked(false))
        }
        if specText.isEmpty { return try self.text(of: value) }
        if escapes, case .text(let text) = value, text.isMarkup {
            throw TemplateError(.value, "Unsupported format specification for Markup.")
        }
        var reader = FormatReader(TemplateText(specText))
        var spec = try reader.braceSpec(widthMax: Self.widthMax)
        let isText = Self.number(value) == nil || (spec.kind == "s" && !specText.hasSuffix("s"))
        if isText, spec.kind == "s" {
            var plain = spec
            plain.alignment = spec.alignment ?? (Self.number(value) == nil ? "<" : ">")
            spec = plain
        }
        return try formatted(value, spec, percent: false)
    }

    /// `.name` and `[key]` after a field's name.
    private func follow(_ path: Substring, from start: TemplateValue) throws(TemplateError)
        -> TemplateValue
    {
        var value = start
        var rest = path
        while let mark = rest.first {
            rest.removeFirst()
            if mark == "." {
                let name = rest.prefix { $0 != "." && $0 != "[" }
                value = try attribute(value, TemplateKey(String(name)))
                rest = rest.dropFirst(name.count)
            } else {
                let name = rest.prefix { $0 != "]" }
                value = try item(value, Int(name).map { .int($0) } ?? .text(String(name)))
                rest = rest.dropFirst(name.count + 1)
            }
        }
        return value
    }
}

/// Reads the small languages of format strings.
struct FormatReader {
    let text: TemplateText
    var position = 0

    init(_ text: TemplateText) { self.text = text }

    func find(_ byte: UInt8) -> Int? { text.bytes[position...].firstIndex(of: byte) }

    func findBrace() -> Int? { text.bytes[position...].firstIndex { $0 == 0x7B || $0 == 0x7D } }

    mutating func skip(_ byte: UInt8) -> Bool {
        guard position < text.count, text.bytes[position] == byte else { return false }
        position += 1
        return true
    }

    private mutating func take() -> Character? {
        guard position < text.count else { return nil }
        let (scalar, next) = text.scalar(at: position)
        position = next
        return Character(scalar)
    }

    private mutating func number(_ limit: Int) throws(TemplateError) -> Int? {
        let digits = text.bytes[position...].prefix { $0 >= 0x30 && $0 <= 0x39 }
        if digits.isEmpty { return nil }
        position += digits.count
        guard let value = Int(String(decoding: digits, as: UTF8.self)), value <= limit else {
            throw TemplateError(.limit, "a format width or precision exceeds \(limit)")
        }
        return value
    }

    mutating func percentSpec(
        widthMax: Int, _ star: () throws(TemplateError) -> Int
    ) throws(TemplateError) -> TemplateInterpreter.FormatSpec {
        var spec = TemplateInterpreter.FormatSpec()
        flags: while position < text.count {
            switch text.bytes[position] {
            case 0x2D: spec.alignment = "<"
            case 0x30: spec.fill = "0"
            case 0x2B: spec.sign = "+"
            case 0x20: spec.sign = spec.sign ?? " "
            case 0x23: spec.isAlternate = true
            default: break flags
            }
            position += 1
        }
        if skip(0x2A) {
            spec.width = min(max(try star(), 0), widthMax)
        } else {
            spec.width = try number(widthMax) ?? 0
        }
        if skip(0x2E) {
            spec.precision = skip(0x2A) ? min(max(try star(), 0), 1000) : try number(1000) ?? 0
        }
        if spec.alignment == "<" { spec.fill = " " }
        guard let kind = take() else { throw TemplateError(.value, "incomplete format") }
        guard "diuoxXeEfFgGcrsa%".contains(kind) else {
            throw TemplateError(.value, "unsupported format character '\(kind)'")
        }
        spec.kind = kind
        return spec
    }

    mutating func braceSpec(widthMax: Int) throws(TemplateError) -> TemplateInterpreter.FormatSpec {
        var spec = TemplateInterpreter.FormatSpec()
        let marks: Set<Character> = ["<", ">", "^", "="]
        let scalars = Array(text.string.unicodeScalars)
        if scalars.count > 1, marks.contains(Character(scalars[1])) {
            spec.fill = scalars[0]
            _ = take()
            spec.alignment = take()
        } else if let first = scalars.first, marks.contains(Character(first)) {
            spec.alignment = take()
        }
        if skip(0x2B) {
            spec.sign = "+"
        } else if skip(0x20) {
            spec.sign = " "
        } else {
            _ = skip(0x2D)
        }
        spec.isAlternate = skip(0x23)
        if skip(0x30), spec.alignment == nil { (spec.fill, spec.alignment) = ("0", "=") }
        spec.width = try number(widthMax) ?? 0
        spec.groups = skip(0x2C) || skip(0x5F)
        if skip(0x2E) { spec.precision = try number(1000) }
        if let kind = take() {
            guard "bcdeEfFgGosxX%".contains(kind), position == text.count else {
                throw TemplateError(.value, "Invalid format specifier")
            }
            spec.kind = kind
        } else if spec.groups {
            spec.kind = "d"
        } else if spec.precision != nil {
            spec.kind = "g"
        }
        return spec
    }
}

extension TemplateDate {
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ]
    private static let days = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]

    /// Days since 1 January, from 0.
    private var dayOfYear: Int {
        let lengths = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return lengths.prefix(max(min(month, 12), 1) - 1).reduce(0, +) + day - 1
    }

    private var isLeapYear: Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    /// 0 is Sunday. Sakamoto's method.
    private var weekday: Int {
        let offsets = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4]
        let y = month < 3 ? year - 1 : year
        let sum = y + y / 4 - y / 100 + y / 400 + offsets[max(min(month, 12), 1) - 1] + day
        return ((sum % 7) + 7) % 7
    }

    /// `strftime` in the C locale.
    func formatted(_ format: String) -> String {
        var result = ""
        var rest = format[...]
        while let mark = rest.firstIndex(of: "%") {
            result += rest[..<mark]
            rest = rest[rest.index(after: mark)...]
            var pads = true
            if rest.first == "-" {
                pads = false
                rest.removeFirst()
            }
            guard let directive = rest.popFirst() else { return result + "%" }
            result += expand(directive, pads) ?? "%\(directive)"
        }
        return result + rest
    }

    private func expand(_ directive: Character, _ pads: Bool) -> String? {
        func number(_ value: Int, _ width: Int = 2, _ fill: String = "0") -> String {
            let digits = String(value)
            let missing = pads ? max(width - digits.utf8.count, 0) : 0
            return String(repeating: fill, count: missing) + digits
        }
        let monthName = Self.months[max(min(month, 12), 1) - 1]
        let dayName = Self.days[weekday]
        let hour12 = hour % 12 == 0 ? 12 : hour % 12
        switch directive {
        case "Y": return number(year, 4)
        case "y": return number(year % 100)
        case "m": return number(month)
        case "d": return number(day)
        case "e": return number(day, 2, " ")
        case "H": return number(hour)
        case "I": return number(hour12)
        case "M": return number(minute)
        case "S": return number(second)
        case "f": return number(microsecond, 6)
        case "j": return number(dayOfYear + 1, 3)
        case "B": return monthName
        case "b", "h": return String(monthName.prefix(3))
        case "A": return dayName
        case "a": return String(dayName.prefix(3))
        case "p": return hour < 12 ? "AM" : "PM"
        case "w": return String(weekday)
        case "u": return String(weekday == 0 ? 7 : weekday)
        case "U": return number((dayOfYear + 7 - weekday) / 7)
        case "W": return number((dayOfYear + 7 - (weekday + 6) % 7) / 7)
        case "F": return formatted("%Y-%m-%d")
        case "T", "X": return formatted("%H:%M:%S")
        case "D", "x": return formatted("%m/%d/%y")
        case "R": return formatted("%H:%M")
        case "c": return formatted("%a %b %e %H:%M:%S %Y")
        case "n": return "\n"
        case "t": return "\t"
        case "z", "Z": return ""
        case "%": return "%"
        default: return nil
        }
    }
}
