/// A seeded generator: the same seed gives the same numbers everywhere, so a failing case can be
/// named by its seed.
/// - SeeAlso: Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in `-1..<1`, with 24 bits.
    public mutating func nextFloat() -> Float {
        Float(next() >> 40) / Float(1 << 23) - 1
    }

    /// Nearly normal, mean 0 and variance 1 (a sum of twelve).
    public mutating func nextNormal() -> Float {
        var sum: Float = 0
        for _ in 0..<12 { sum += Float(next() >> 40) / Float(1 << 24) }
        return sum - 6
    }
}
