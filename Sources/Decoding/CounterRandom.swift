/// Random numbers that depend on a seed and a position only.
///
/// A request's n-th draw is the same whether it ran alone, in a batch, or was preempted and
/// computed again; there is no state to keep or to lose.
///
/// - SeeAlso: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3; the mixing
///   function is SplitMix64's (Steele et al. 2014).
package struct CounterRandom: Sendable {
    private let key: UInt64

    package init(seed: UInt64) {
        key = Self.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    package func bits(at index: Int) -> UInt64 {
        Self.mix(key &+ Self.mix(UInt64(bitPattern: Int64(index)) &* 0x9E37_79B9_7F4A_7C15))
    }

    /// Uniform in [0, 1), 53 bits.
    package func uniform(at index: Int) -> Double {
        Double(bits(at: index) >> 11) * 0x1p-53
    }
}
