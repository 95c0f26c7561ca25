/// An exact decimal number: ± digits × 10^exponent. Bounds and instances are compared as written;
/// as doubles 0.1 + 0.2 would pass a maximum of 0.3, and 10^400 every maximum.
struct Decimal: Hashable, Sendable {
    var isNegative: Bool
    /// Values 0…9 without leading or trailing zeros; none for zero.
    var digits: [UInt8]
    var exponent: Int

    static let zero = Decimal(isNegative: false, digits: [], exponent: 0)

    init(isNegative: Bool, digits: [UInt8], exponent: Int) {
        var exponent = exponent
        var significant = Array(digits.drop { $0 == 0 })
        while significant.last == 0 {
            significant.removeLast()
            exponent += 1
        }
        self.digits = significant
        self.isNegative = isNegative && !significant.isEmpty
        self.exponent = significant.isEmpty ? 0 : exponent
    }

    init(_ value: Int) {
        self.init(
            isNegative: value < 0, digits: String(value.magnitude).utf8.map { $0 - 0x30 },
            exponent: 0)
    }

    /// A number as JSON writes it; nil for anything else, and for exponents over a million.
    init?(text: String) {
        var digits: [UInt8] = []
        var exponent = 0
        var isAfterPoint = false
        var rest = Substring(text)
        let isNegative = rest.hasPrefix("-")
        if isNegative { rest.removeFirst() }
        while let byte = rest.utf8.first {
            switch byte {
            case 0x30...0x39:
                digits.append(byte - 0x30)
                if isAfterPoint { exponent -= 1 }
            case 0x2E where !isAfterPoint: isAfterPoint = true
            case 0x45, 0x65:
                rest.removeFirst()
                guard let power = Int(rest), abs(power) < 1_000_000 else { return nil }
                self.init(isNegative: isNegative, digits: digits, exponent: exponent + power)
                return
            default: return nil
            }
            rest.removeFirst()
        }
        guard !digits.isEmpty else { return nil }
        self.init(isNegative: isNegative, digits: digits, exponent: exponent)
    }

    var isZero: Bool { digits.isEmpty }
    /// Digits before the decimal point; negative when zeros follow it.
    var pointPosition: Int { digits.count + exponent }
    var magnitude: Decimal { Decimal(isNegative: false, digits: digits, exponent: exponent) }
    var negated: Decimal {
        Decimal(isNegative: !isNegative, digits: digits, exponent: exponent)
    }

    /// -1, 0 or 1 as the magnitude is less than, equal to or greater than the other's.
    func comparedMagnitude(to other: Decimal) -> Int {
        if isZero || other.isZero { return (isZero ? 0 : 1) - (other.isZero ? 0 : 1) }
        if pointPosition != other.pointPosition {
            return pointPosition < other.pointPosition ? -1 : 1
        }
        for index in 0..<max(digits.count, other.digits.count) {
            let left = index < digits.count ? digits[index] : 0
            let right = index < other.digits.count ? other.digits[index] : 0
            if left != right { return left < right ? -1 : 1 }
        }
        return 0
    }

    static func < (left: Decimal, right: Decimal) -> Bool {
        if left.isNegative != right.isNegative { return left.isNegative }
        let order = left.comparedMagnitude(to: right)
        return left.isNegative ? order > 0 : order < 0
    }

    /// The value × 10^scale rounded down and up, cut off at ±10^36.
    func scaled(_ scale: Int) -> (down: Int128, up: Int128) {
        let power = exponent + scale
        let limit: Int128 = 1_000_000_000_000_000_000 * 1_000_000_000_000_000_000
        if isZero { return (0, 0) }
        if digits.count + power > 36 { return isNegative ? (-limit, -limit) : (limit, limit) }
        let whole = max(0, min(digits.count, digits.count + power))
        var value: Int128 = 0
        for digit in digits.prefix(whole) { value = value * 10 + Int128(digit) }
        for _ in 0..<max(0, power) { value *= 10 }
        let isExact = whole == digits.count
        if isNegative { return (isExact ? -value : -value - 1, -value) }
        return (value, isExact ? value : value + 1)
    }
}

/// A multiple of `units` × 10^-scale.
struct Multiple: Hashable, Sendable {
    var units: Int
    /// Decimal places; a multiple of 100 is `units` 100 at scale 0.
    var scale: Int

    static let integer = Multiple(units: 1, scale: 0)
    static let unitsMax = 1_000_000_000_000

    init(units: Int, scale: Int) {
        self.units = units
        self.scale = scale
    }

    /// Nil for what is too long to be followed.
    init?(_ value: Decimal) {
        guard value.digits.count + max(0, value.exponent) <= 12, value.exponent >= -12,
            !value.isNegative, !value.isZero
        else { return nil }
        scale = max(0, -value.exponent)
        units = Int(value.scaled(scale).down)
    }

    var value: Decimal {
        Decimal(isNegative: false, digits: String(units).utf8.map { $0 - 0x30 }, exponent: -scale)
    }

    /// What is a multiple of both.
    func joined(_ other: Multiple) -> Multiple? {
        let scale = max(scale, other.scale)
        var (left, right) = (units, other.units)
        for _ in self.scale..<scale { left *= 10 }
        for _ in other.scale..<scale { right *= 10 }
        var (a, b) = (left, right)
        while b != 0 { (a, b) = (b, a % b) }
        let (product, overflow) = (left / a).multipliedReportingOverflow(by: right)
        guard !overflow, product <= Self.unitsMax else { return nil }
        var result = Multiple(units: product, scale: scale)
        while result.scale > 0, result.units % 10 == 0 {
            result.units /= 10
            result.scale -= 1
        }
        return result
    }

    func divides(_ value: Decimal) -> Bool {
        let (down, up) = value.scaled(scale)
        return down == up && down % Int128(units) == 0
    }
}

/// A set of numbers: an interval, and what they must be multiples of.
struct NumberRule: Hashable, Sendable {
    var lower: Decimal?
    var lowerIsOpen = false
    var upper: Decimal?
    var upperIsOpen = false
    var multiple: Multiple?
    /// What they must not be multiples of.
    var excluded: [Multiple] = []

    func contains(_ value: Decimal) -> Bool {
        if let lower, value < lower || lowerIsOpen && value == lower { return false }
        if let upper, upper < value || upperIsOpen && value == upper { return false }
        if let multiple, !multiple.divides(value) { return false }
        return !excluded.contains { $0.divides(value) }
    }

    /// Whether no number is in it.
    var isEmpty: Bool {
        if let multiple, excluded.contains(where: { $0.divides(multiple.value) }) { return true }
        guard let lower, let upper else { return false }
        if upper < lower || lower == upper && (lowerIsOpen || upperIsOpen) { return true }
        if lower == upper, !contains(lower) { return true }
        guard let multiple else { return false }
        let units = Int128(multiple.units)
        var least = lower.scaled(multiple.scale).up
        if lowerIsOpen, lower.scaled(multiple.scale).down == least { least += 1 }
        var most = upper.scaled(multiple.scale).down
        if upperIsOpen, upper.scaled(multiple.scale).up == most { most -= 1 }
        let floor = most >= 0 ? most / units : -((-most + units - 1) / units)
        return floor * units < least
    }

    /// Nil when the common multiple is too large to be followed.
    func intersection(_ other: NumberRule) -> NumberRule? {
        var result = self
        if let low = other.lower {
            if let mine = lower, !(mine < low) {
                if mine == low { result.lowerIsOpen = lowerIsOpen || other.lowerIsOpen }
            } else {
                result.lower = low
                result.lowerIsOpen = other.lowerIsOpen
            }
        }
        if let high = other.upper {
            if let mine = upper, !(high < mine) {
                if mine == high { result.upperIsOpen = upperIsOpen || other.upperIsOpen }
            } else {
                result.upper = high
                result.upperIsOpen = other.upperIsOpen
            }
        }
        if let divisor = other.multiple {
            guard let joined = multiple.map({ $0.joined(divisor) }) ?? divisor else { return nil }
            result.multiple = joined
        }
        for multiple in other.excluded where !excluded.contains(multiple) {
            result.excluded.append(multiple)
        }
        return result
    }

    /// Whether nothing but the form of a number is asked.
    var isPlain: Bool {
        lower == nil && upper == nil && excluded.isEmpty
            && (multiple == nil || multiple == .integer)
    }
}
