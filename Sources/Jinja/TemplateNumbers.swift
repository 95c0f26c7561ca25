/// Numbers printed and rounded as Python does.
enum TemplateNumbers {
    /// `repr(float)`: the shortest digits that read back as the same number; an exponent below
    /// 1e-4 and from 1e16 on.
    static func shortest(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        if value == 0 { return value.sign == .minus ? "-0.0" : "0.0" }
        // Swift prints the same digits and differs only in where it changes to an exponent.
        var (digits, point) = decimal(from: value.magnitude.description)
        let sign = value < 0 ? "-" : ""
        let exponent = point - 1
        if exponent < -4 || exponent >= 16 {
            let tail = digits.dropFirst()
            let mantissa = tail.isEmpty ? digits : "\(digits.prefix(1)).\(tail)"
            let size = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
            return "\(sign)\(mantissa)e\(exponent < 0 ? "-" : "+")\(size)"
        }
        if point <= 0 {
            return sign + "0." + String(repeating: "0", count: -point) + digits
        }
        if digits.utf8.count <= point {
            digits += String(repeating: "0", count: point - digits.utf8.count)
            return sign + digits + ".0"
        }
        return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    }

    /// Significant digits of a printed number and where its point lies among them.
    private static func decimal(from printed: String) -> (digits: String, point: Int) {
        var digits = ""
        var point: Int?
        var exponent = 0
        for (index, character) in printed.enumerated() {
            if character == "e" {
                exponent = Int(printed.dropFirst(index + 1)) ?? 0
                break
            }
            if character == "." { point = digits.utf8.count } else { digits.append(character) }
        }
        var position = (point ?? digits.utf8.count) + exponent
        let leading = digits.prefix { $0 == "0" }.utf8.count
        digits.removeFirst(leading)
        position -= leading
        while digits.hasSuffix("0") { digits.removeLast() }
        return (digits, position)
    }

    /// All decimal digits of a finite number: its binary value exactly, and the point's position.
    static func exactDigits(_ value: Double) -> (digits: [UInt8], point: Int) {
        if value == 0 { return ([0], 1) }
        let magnitude = value.magnitude
        var limbs = [UInt32(truncatingIfNeeded: magnitude.significandBitPattern),
            UInt32(truncatingIfNeeded: magnitude.significandBitPattern >> 32)]
        var exponent = -1074
        if magnitude.isNormal {
            limbs[1] |= 1 << 20
            exponent = Int(magnitude.exponentBitPattern) - 1075
        }
        // value = limbs · 2^exponent; for a negative exponent = limbs · 5^k / 10^k.
        let fraction = max(-exponent, 0)
        multiply(&limbs, by: exponent > 0 ? 2 : 5, times: abs(exponent))
        var groups: [UInt32] = []
        while limbs.contains(where: { $0 != 0 }) {
            var remainder: UInt64 = 0
            for index in limbs.indices.reversed() {
                let part = remainder << 32 | UInt64(limbs[index])
                limbs[index] = UInt32(part / 1_000_000_000)
                remainder = part % 1_000_000_000
            }
            while limbs.count > 1 && limbs[limbs.count - 1] == 0 { limbs.removeLast() }
            groups.append(UInt32(remainder))
        }
        var digits: [UInt8] = []
        for group in groups.reversed() {
            let text = Array(String(group).utf8)
            digits += Array(repeating: 0, count: digits.isEmpty ? 0 : 9 - text.count)
            digits += text.map { $0 - 0x30 }
        }
        return (digits, digits.count - fraction)
    }

    /// Multiplies by a power of a small number, as many factors at a time as fit 32 bits.
    private static func multiply(_ limbs: inout [UInt32], by factor: UInt32, times: Int) {
        let batch = factor == 2 ? 31 : 13
        let power = (0..<batch).reduce(UInt32(1)) { product, _ in product * factor }
        for _ in 0..<(times / batch) { multiply(&limbs, by: power) }
        for _ in 0..<(times % batch) { multiply(&limbs, by: factor) }
    }

    private static func multiply(_ limbs: inout [UInt32], by factor: UInt32) {
        var carry: UInt64 = 0
        for index in limbs.indices {
            let product = UInt64(limbs[index]) * UInt64(factor) + carry
            limbs[index] = UInt32(truncatingIfNeeded: product)
            carry = product >> 32
        }
        if carry > 0 { limbs.append(UInt32(carry)) }
    }

    /// Digits cut after `places` decimals, the exact value rounded half to even; with the number of
    /// digits before the point.
    private static func rounded(_ value: Double, places: Int) -> (digits: [UInt8], point: Int) {
        var (digits, point) = exactDigits(value)
        let keep = point + places
        if keep < 0 { return ([0], 1) }
        if keep < digits.count {
            let rest = digits[keep...]
            let isHalf = rest.first == 5 && rest.dropFirst().allSatisfy { $0 == 0 }
            let isOdd = keep > 0 && digits[keep - 1] & 1 == 1
            let up = (rest.first ?? 0) > 5 || (rest.first == 5 && !isHalf) || (isHalf && isOdd)
            digits.removeSubrange(keep...)
            if up {
                var index = keep - 1
                while index >= 0 {
                    if digits[index] < 9 { digits[index] += 1; break }
                    digits[index] = 0
                    index -= 1
                }
                if index < 0 {
                    digits.insert(1, at: 0)
                    point += 1
                }
            }
        }
        return (digits, point)
    }

    /// `'%.{places}f' % value`, without a sign.
    static func fixed(_ value: Double, places: Int) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return "inf" }
        let (digits, point) = rounded(value, places: places)
        func digit(_ position: Int) -> UInt8 {
            0x30 + (digits.indices.contains(position) ? digits[position] : 0)
        }
        var text: [UInt8] = point <= 0 ? [0x30] : (0..<point).map(digit)
        if places > 0 {
            text.append(0x2E)
            text.append(contentsOf: (point..<(point + places)).map(digit))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// `'%.{places}e' % value`, without a sign.
    static func scientific(_ value: Double, places: Int) -> String {
        if value.isNaN || value.isInfinite { return fixed(value, places: places) }
        var exponent = value == 0 ? 0 : exactDigits(value).point - 1
        var (digits, point) = rounded(value, places: places - exponent)
        if value != 0, point - 1 != exponent {
            exponent = point - 1
            (digits, point) = rounded(value, places: places - exponent)
        }
        var text = "\(digits.first ?? 0)"
        if places > 0 { text += "." }
        for index in 0..<places { text += "\(index + 1 < digits.count ? digits[index + 1] : 0)" }
        let size = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
        return "\(text)e\(exponent < 0 ? "-" : "+")\(size)"
    }

    /// `'%.{precision}g' % value`, without a sign.
    static func general(_ value: Double, precision: Int) -> String {
        if value.isNaN || value.isInfinite { return fixed(value, places: 0) }
        let digits = max(precision, 1)
        let printed = scientific(value, places: digits - 1)
        guard let mark = printed.lastIndex(of: "e"),
            let exponent = Int(printed[printed.index(after: mark)...])
        else { return printed }
        let isFixed = exponent >= -4 && exponent < digits
        var text =
            isFixed ? fixed(value, places: digits - 1 - exponent) : String(printed[..<mark])
        if text.contains(".") {
            while text.hasSuffix("0") { text.removeLast() }
            if text.hasSuffix(".") { text.removeLast() }
        }
        return isFixed ? text : text + printed[mark...]
    }

    /// `round(value, places)`, exact half to even.
    static func round(_ value: Double, places: Int) -> Double {
        if !value.isFinite || places > 322 { return value }
        if places < -308 { return value < 0 ? -0.0 : 0 }
        if places >= 0 {
            let magnitude = Double(fixed(value, places: places)) ?? value
            return value.sign == .minus ? -magnitude : magnitude
        }
        let (digits, point) = rounded(value, places: places)
        var text = digits.map { "\($0)" }.joined()
        text += String(repeating: "0", count: max(point - digits.count, 0))
        let magnitude = Double(text) ?? value
        return value.sign == .minus ? -magnitude : magnitude
    }

    /// Powers with a whole exponent, and square roots; nil for others (they need libm, and no
    /// chat template takes them).
    static func power(_ base: Double, _ exponent: Double) -> Double? {
        if exponent == 0.5 { return base < 0 ? nil : base.squareRoot() }
        guard let whole = Int(exactly: exponent), whole.magnitude < 1 << 32 else { return nil }
        if base == 0 && whole < 0 { return nil }
        var result = 1.0
        var factor = base
        var rest = whole.magnitude
        while rest > 0 {
            if rest & 1 == 1 { result *= factor }
            factor *= factor
            rest >>= 1
        }
        return whole < 0 ? 1 / result : result
    }
}
