/// Filters that make or need numbers, and reductions.
extension TemplateInterpreter {
    func applyNumber(
        _ name: TemplateFilter.Name, _ value: TemplateValue, _ given: TemplateCall
    ) throws(TemplateError) -> TemplateValue {
        switch name {
        case .abs:
            switch value {
            case .int, .bool:
                let number = Self.plainInteger(value) ?? 0
                return .int(number < 0 ? 0 &- number : number)
            case .double(let number): return .double(number.magnitude)
            case .big(let digits):
                return .big(digits.hasPrefix("-") ? String(digits.dropFirst()) : digits)
            case .undefined(let undefined): throw undefined.error
            default:
                throw TemplateError(.type, "bad operand type for abs(): '\(value.typeName)'")
            }
        case .int: return try toInteger(value, given)
        case .float:
            try given.check(["default"])
            return try toDouble(value) ?? given.argument(0, "default") ?? .double(0)
        case .round: return try round(value, given)
        case .filesizeformat: return try fileSize(value, given)
        case .sum: return try sum(value, given)
        default: return try extreme(name, value, given)
        }
    }

    private func toDouble(_ value: TemplateValue) throws(TemplateError) -> TemplateValue? {
        if let number = Self.number(value) { return .double(number) }
        guard case .text(let text) = value else { return nil }
        return Self.parseDouble(text.string).map { .double($0) }
    }

    /// `float(text)`.
    static func parseDouble(_ text: String) -> Double? {
        let trimmed = trimmed(text).filter { $0 != "_" }
        if trimmed.lowercased().contains("x") { return nil }
        return Double(trimmed)
    }

    private static func trimmed(_ text: String) -> String {
        let scalars = text.unicodeScalars.drop { $0.isPythonSpace }
        guard let last = scalars.lastIndex(where: { !$0.isPythonSpace }) else { return "" }
        return String(scalars[...last])
    }

    private func toInteger(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["default", "base"])
        let fallback = given.argument(0, "default") ?? .int(0)
        switch value {
        case .int, .big: return value
        case .bool(let flag): return .int(flag ? 1 : 0)
        case .double(let number):
            return Int(exactly: number.rounded(.towardZero)).map { .int($0) } ?? fallback
        case .text(let text):
            let base = try integer(given.argument(1, "base") ?? .int(10))
            return Self.parseInteger(text.string, base: base) ?? fallback
        default: return fallback
        }
    }

    /// `int(text)`, as far as 64 bits go.
    static func parseInteger(_ text: String) -> TemplateValue? {
        Int(trimmed(text).filter { $0 != "_" }).map { .int($0) }
    }

    private static func parseInteger(_ text: String, base: Int) -> TemplateValue? {
        var digits = trimmed(text).filter { $0 != "_" }
        let isNegative = digits.hasPrefix("-")
        if isNegative || digits.hasPrefix("+") { digits.removeFirst() }
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)]
        where base == radix && digits.lowercased().hasPrefix(prefix) {
            digits.removeFirst(2)
        }
        let isPlain = !digits.isEmpty && !digits.hasPrefix("-") && !digits.hasPrefix("+")
        if isPlain, (2...36).contains(base), let number = Int(digits, radix: base) {
            return .int(isNegative ? -number : number)
        }
        let isDecimal = digits.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
        if base == 10, isPlain, isDecimal, digits.utf8.count < 1000 {
            let significant = digits.drop { $0 == "0" }
            return .big((isNegative ? "-" : "") + significant)
        }
        // Jinja tries a fraction next, so that "42.23" gives 42.
        return parseDouble(text).flatMap { Int(exactly: $0.rounded(.towardZero)) }.map { .int($0) }
    }

    private func round(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["precision", "method"])
        try spend(100)
        let places = try integer(given.argument(0, "precision") ?? .int(0))
        let method = try text(of: given.argument(1, "method") ?? .text("common")).string
        guard ["common", "ceil", "floor"].contains(method) else {
            throw TemplateError(.runtime, "method must be common, ceil or floor")
        }
        if case .undefined(let undefined) = value { throw undefined.error }
        guard let number = Self.number(value) else {
            throw TemplateError(
                .type, "type \(value.typeName) doesn't define __round__ method")
        }
        if method == "common" {
            if let whole = Self.plainInteger(value), places >= 0 { return .int(whole) }
            let rounded = TemplateNumbers.round(number, places: places)
            if Self.plainInteger(value) != nil { return .int(Int(exactly: rounded) ?? 0) }
            return .double(rounded)
        }
        let scale = TemplateNumbers.power(10, Double(places)) ?? 1
        return .double((number * scale).rounded(method == "ceil" ? .up : .down) / scale)
    }

    private func fileSize(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["binary"])
        let isBinary = given.argument(0, "binary")?.isTrue ?? false
        guard case .double(let bytes)? = try toDouble(value) else {
            let kind: TemplateError.Kind = if case .text = value { .value } else { .type }
            throw TemplateError(kind, "filesizeformat needs a number")
        }
        let base = isBinary ? 1024.0 : 1000
        if bytes == 1 { return .text("1 Byte") }
        if bytes < base { return .text("\(Int(exactly: bytes.rounded(.towardZero)) ?? 0) Bytes") }
        var unit = base
        for (index, prefix) in "kMGTPEZY".enumerated() {
            unit *= base
            if bytes < unit || index == 7 {
                let letter = isBinary && prefix == "k" ? "K" : String(prefix)
                let amount = TemplateNumbers.fixed(base * bytes / unit, places: 1)
                return .text("\(amount) \(letter)\(isBinary ? "iB" : "B")")
            }
        }
        return .none
    }

    private func sum(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["attribute", "start"])
        let attribute = given.argument(0, "attribute")
        var total = given.argument(1, "start") ?? .int(0)
        if case .text = total {
            throw TemplateError(
                .type, "sum() can't sum strings [use ''.join(seq) instead]")
        }
        for item in try iterate(value) {
            var item = item
            if let attribute, !attribute.isNone { item = try path(attribute, of: item) }
            total = try arithmetic(.add, total, item)
        }
        return total
    }

    private func extreme(
        _ name: TemplateFilter.Name, _ value: TemplateValue, _ given: TemplateCall
    ) throws(TemplateError) -> TemplateValue {
        try given.check(["case_sensitive", "attribute"])
        let sensitive = given.argument(0, "case_sensitive")?.isTrue ?? false
        var best: (key: TemplateValue, item: TemplateValue)?
        for item in try iterate(value) {
            let key = try sortKey(item, given.argument(1, "attribute"), sensitive)
            guard let current = best else {
                best = (key, item)
                continue
            }
            let isBetter =
                name == .max ? try isLess(current.key, key) : try isLess(key, current.key)
            if isBetter { best = (key, item) }
        }
        return best?.item
            ?? .undefined(TemplateUndefined(.hint("No aggregated item, sequence was empty.")))
    }
}
