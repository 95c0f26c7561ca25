/// The text of a number read so far, under bounds or a multiple.
///
/// Digits p read so far stand for p·10ʲ + [0, 10ʲ), or after the point for [p, p + 10⁻ᵏ); the text
/// goes on while one of these meets the interval. Where the digits have left those of both bounds
/// only their number and the side matter, so they are replaced by the least digits of that side:
/// an integer between 1 and 65,535 has some thirty states and not as many as it has prefixes.
/// Exponents are read under bounds alone; beside a multiple the same values have plain digits.
struct NumberState: Hashable, Sendable {
    enum Phase: UInt8, Sendable {
        case sign, zero, whole, point, fraction, power, powerSign, powerDigits
    }

    var rule: Int32
    var phase: Phase = .sign
    var isNegative = false
    /// All digits without leading zeros.
    var digits: [UInt8] = []
    /// How many digits stand after the point.
    var places = 0
    var powerIsNegative = false
    var power = 0
    var powerLength = 0

    private static let lengthMax = 30
    private static let powerLengthMax = 4

    init(rule: Int32, first: UInt8) {
        self.rule = rule
        if first == UInt8(ascii: "-") {
            isNegative = true
        } else {
            phase = first == UInt8(ascii: "0") ? .zero : .whole
            if phase == .whole { digits = [first - 0x30] }
        }
    }

    private func value(power: Int = 0) -> Decimal {
        Decimal(isNegative: isNegative, digits: digits, exponent: power - places)
    }

    /// Whether the text may end here.
    func isComplete(_ rule: NumberRule) -> Bool {
        switch phase {
        case .zero, .whole, .fraction: rule.contains(value())
        case .powerDigits: rule.contains(value(power: powerIsNegative ? -power : power))
        default: false
        }
    }

    /// The state after one more byte; nil when no number of the rule begins so.
    func next(_ byte: UInt8, _ rule: NumberRule) -> NumberState? {
        read(byte, rule)?.checked(rule)
    }

    /// This state, in the form that all with the same future share; nil without a future.
    func checked(_ rule: NumberRule) -> NumberState? {
        isViable(rule) ? canonical(rule) : nil
    }

    private func read(_ byte: UInt8, _ rule: NumberRule) -> NumberState? {
        var next = self
        if let digit = (0x30...0x39).contains(byte) ? byte - 0x30 : nil {
            return next.append(digit, rule) ? next : nil
        }
        switch (phase, byte) {
        case (.zero, 0x2E), (.whole, 0x2E): next.phase = .point
        case (.zero, 0x65), (.whole, 0x65), (.fraction, 0x65), (.zero, 0x45), (.whole, 0x45),
            (.fraction, 0x45):
            if rule.multiple != nil || !rule.excluded.isEmpty { return nil }
            next.phase = .power
        case (.power, 0x2B), (.power, 0x2D):
            next.phase = .powerSign
            next.powerIsNegative = byte == 0x2D
        default: return nil
        }
        return next
    }

    private mutating func append(_ digit: UInt8, _ rule: NumberRule) -> Bool {
        switch phase {
        case .zero: return false
        case .sign:
            phase = digit == 0 ? .zero : .whole
            if digit > 0 { digits = [digit] }
        case .whole:
            if digits.count >= Self.lengthMax { return false }
            digits.append(digit)
        case .point, .fraction:
            phase = .fraction
            // Places beyond those of the multiple hold zeros, which change nothing.
            if let multiple = rule.multiple, places >= multiple.scale { return digit == 0 }
            if places >= 2 * Self.lengthMax || digits.count >= Self.lengthMax {
                return digit == 0 || rule.multiple == nil && isAway(rule)
            }
            places += 1
            if digit > 0 || !digits.isEmpty { digits.append(digit) }
        case .power, .powerSign, .powerDigits:
            phase = .powerDigits
            if powerLength >= Self.powerLengthMax { return false }
            power = power * 10 + Int(digit)
            powerLength += 1
        }
        return true
    }

    // MARK: What can still come

    /// The interval for the magnitude on this side of zero; nil when it is empty.
    private func magnitudes(
        _ rule: NumberRule
    ) -> (low: Decimal, lowIsOpen: Bool, high: Decimal?, highIsOpen: Bool)? {
        let low = isNegative ? rule.upper?.negated : rule.lower
        let high = isNegative ? rule.lower?.negated : rule.upper
        let lowIsOpen = isNegative ? rule.upperIsOpen : rule.lowerIsOpen
        let highIsOpen = isNegative ? rule.lowerIsOpen : rule.upperIsOpen
        if let high, high.isNegative || high.isZero && highIsOpen { return nil }
        if let low, !low.isNegative { return (low, lowIsOpen, high, highIsOpen) }
        return (.zero, false, high, highIsOpen)
    }

    private func isViable(_ rule: NumberRule) -> Bool {
        guard let range = magnitudes(rule) else { return false }
        if let multiple = rule.multiple { return meetsMultiple(rule, multiple) }
        switch phase {
        case .power, .powerSign, .powerDigits: return meetsPower(rule)
        case .sign, .zero, .whole, .point, .fraction: break
        }
        if digits.isEmpty {
            // Any digits can follow a point, and a power any digits.
            if rule.contains(.zero) { return true }
            return range.high.map { !$0.isZero } ?? true
        }
        guard let high = range.high else { return true }
        if high.isZero { return false }
        if range.low.isZero { return true }
        if high.pointPosition - range.low.pointPosition > 1 { return true }
        return (range.low.pointPosition - 1...high.pointPosition).contains { position in
            // [D, D + 1) at this place of the point.
            let base = Decimal(
                isNegative: false, digits: digits, exponent: position - digits.count)
            let above = Decimal(
                isNegative: false, digits: Self.successor(digits),
                exponent: position - digits.count)
            let order = base.comparedMagnitude(to: high)
            return (order < 0 || order == 0 && !range.highIsOpen)
                && above.comparedMagnitude(to: range.low) > 0
                && !(range.lowIsOpen && high == range.low)
        }
    }

    private static func successor(_ digits: [UInt8]) -> [UInt8] {
        var result = digits
        var index = result.count - 1
        while index >= 0, result[index] == 9 {
            result[index] = 0
            index -= 1
        }
        if index < 0 { return [1] + result }
        result[index] += 1
        return result
    }

    /// Whether a power that begins like the digits read brings the value into the interval.
    private func meetsPower(_ rule: NumberRule) -> Bool {
        if digits.isEmpty { return rule.contains(.zero) }
        let signs = phase == .power ? [false, true] : [powerIsNegative]
        for left in 0...Self.powerLengthMax - powerLength {
            if left == 0, powerLength == 0 { continue }
            var first = power
            for _ in 0..<left { first *= 10 }
            let last = first + Int(Self.tens[left]) - 1
            for isNegative in signs {
                let powers = isNegative ? -last...(-first) : first...last
                if meets(powers, rule) { return true }
            }
        }
        return false
    }

    private static let tens: [Int128] = (0...36).map { power in
        (0..<power).reduce(Int128(1)) { value, _ in value * 10 }
    }

    /// The values grow with the power: the first in or above the interval decides.
    private func meets(_ powers: ClosedRange<Int>, _ rule: NumberRule) -> Bool {
        var low = powers.lowerBound
        var high = powers.upperBound
        func isBelow(_ power: Int) -> Bool {
            let value = value(power: power)
            if isNegative {
                guard let upper = rule.upper else { return false }
                return upper < value || rule.upperIsOpen && upper == value
            }
            guard let lower = rule.lower else { return false }
            return value < lower || rule.lowerIsOpen && value == lower
        }
        while low < high {
            let middle = low + (high - low) / 2
            if isBelow(middle) { low = middle + 1 } else { high = middle }
        }
        return rule.contains(value(power: low))
    }

    /// Whether a multiple inside the interval begins with the digits read.
    private func meetsMultiple(_ rule: NumberRule, _ multiple: Multiple) -> Bool {
        guard let range = magnitudes(rule) else { return false }
        let scale = multiple.scale
        var least = range.low.scaled(scale).up
        if range.lowIsOpen, range.low.scaled(scale).down == least { least += 1 }
        var most = Self.tens[36]
        if let high = range.high {
            most = high.scaled(scale).down
            if range.highIsOpen, high.scaled(scale).up == most { most -= 1 }
        }
        func hasMultiple(_ first: Int128, _ last: Int128) -> Bool {
            let first = max(first, least)
            let last = min(last, most)
            let units = Int128(multiple.units)
            guard first <= last, (last / units) * units >= first else { return false }
            if rule.excluded.isEmpty { return true }
            // Which multiples are excluded repeats soon.
            var candidate = (last / units) * units
            for _ in 0..<64 where candidate >= first {
                let digits = String(candidate).utf8.map { $0 - 0x30 }
                let value = Decimal(isNegative: false, digits: digits, exponent: -scale)
                if !rule.excluded.contains(where: { $0.divides(value) }) { return true }
                candidate -= units
            }
            return false
        }
        if phase == .sign { return hasMultiple(0, most) }
        let read = digits.reduce(Int128(0)) { $0 * 10 + Int128($1) }
        let isWhole = phase == .whole
        for more in 0...(isWhole ? max(0, Self.lengthMax - digits.count) : 0) {
            let power = more + scale - places
            guard power >= 0, power + digits.count <= 36 else { continue }
            let first = read * Self.tens[power]
            if first > most { break }
            if hasMultiple(first, first + Self.tens[power] - 1) { return true }
        }
        return false
    }

    // MARK: Equal futures

    /// Whether the digits have left those of both bounds.
    private func isAway(_ rule: NumberRule) -> Bool { side(rule) != nil }

    /// The least digits of the same length on the same side of both bounds; nil while the digits
    /// are still those of a bound.
    private func side(_ rule: NumberRule) -> [UInt8]? {
        guard !digits.isEmpty else { return nil }
        var best: [UInt8] = [1] + Array(repeating: 0, count: digits.count - 1)
        for bound in [rule.lower, rule.upper] {
            guard let bound, !bound.isZero else { continue }
            var prefix = Array(bound.digits.prefix(digits.count))
            prefix += Array(repeating: 0, count: digits.count - prefix.count)
            if prefix == digits { return nil }
            if prefix.lexicographicallyPrecedes(digits) {
                let above = Self.successor(prefix)
                if best.lexicographicallyPrecedes(above) { best = above }
            }
        }
        return best
    }

    private func canonical(_ rule: NumberRule) -> NumberState {
        if let multiple = rule.multiple, multiple.units != 1 { return self }
        if !rule.excluded.isEmpty { return self }
        guard phase != .powerDigits, phase != .powerSign, let side = side(rule) else { return self }
        var result = self
        result.digits = side
        return result
    }

    /// Whether every number that begins so is in the rule, which then need not be asked again.
    func isFree(_ rule: NumberRule) -> Bool {
        guard rule.excluded.isEmpty,
            rule.multiple == nil || rule.multiple == .integer, let range = magnitudes(rule),
            range.high == nil, phase == .zero || phase == .whole
        else { return false }
        if rule.contains(.zero), range.low.isZero { return true }
        // A power could make it smaller again.
        return rule.multiple != nil && phase == .whole && rule.contains(value())
    }
}
