/// The few loops over a whole row of logits (150,000 of them) that are worth writing for the
/// vector unit. Every result is a fixed function of the row: no libm, no threads.
enum VectorMath {
    typealias Row = UnsafeBufferPointer<Float>
    private typealias Lanes = SIMD16<Float>

    /// The greatest value; nil when a value is NaN or +∞, or when all are -∞.
    static func maximum(_ row: Row) -> Float? {
        var best = Lanes(repeating: -.infinity)
        var isNumber = SIMDMask<SIMD16<Int32>>(repeating: true)
        let vectors = row.count / 16
        for index in 0..<vectors {
            let x = unsafe load(row, index * 16)
            isNumber = isNumber .& (x .< .infinity)
            best.replace(with: x, where: x .> best)
        }
        guard all(isNumber) else { return nil }
        var maximum = best.max()
        for index in (vectors * 16)..<row.count {
            let x = unsafe row[index]
            guard x < .infinity else { return nil }
            maximum = max(maximum, x)
        }
        return maximum > -.infinity ? maximum : nil
    }

    /// The lowest index that holds `value`.
    static func firstIndex(of value: Float, in row: Row) -> Int? {
        let vectors = row.count / 16
        for index in 0..<vectors {
            let x = unsafe load(row, index * 16)
            guard any(x .== value) else { continue }
            for lane in 0..<16 where x[lane] == value { return index * 16 + lane }
        }
        for index in (vectors * 16)..<row.count where unsafe row[index] == value { return index }
        return nil
    }

    /// `weights[i] = exp((row[i] - maximum) × scale)`, 0 below about 1e-38.
    static func exponentials(
        _ row: Row, maximum: Float, scale: Float, into weights: UnsafeMutableBufferPointer<Float>
    ) {
        precondition(weights.count >= row.count)
        let vectors = row.count / 16
        let shift = Lanes(repeating: maximum)
        let factor = Lanes(repeating: scale)
        for index in 0..<vectors {
            let x = unsafe load(row, index * 16)
            let w = exponential((x - shift) * factor)
            unsafe UnsafeMutableRawPointer(weights.baseAddress! + index * 16)
                .storeBytes(of: w, as: Lanes.self)
        }
        for index in (vectors * 16)..<row.count {
            let x = unsafe Lanes(repeating: row[index])
            unsafe weights[index] = exponential((x - shift) * factor)[0]
        }
    }

    /// `Σ exp(row[i] - maximum)`.
    static func sumOfExponentials(_ row: Row, maximum: Float) -> Double {
        let vectors = row.count / 16
        let shift = Lanes(repeating: maximum)
        var total = 0.0
        // Sums of 64 vectors fit f32 well; longer ones would lose the tail.
        var index = 0
        while index < vectors {
            var partial = Lanes.zero
            let end = min(index + 64, vectors)
            while index < end {
                partial += unsafe exponential(load(row, index * 16) - shift)
                index += 1
            }
            total += Double(partial.sum())
        }
        for index in (vectors * 16)..<row.count {
            let x = unsafe Lanes(repeating: row[index])
            total += Double(exponential(x - shift)[0])
        }
        return total
    }

    @inline(__always)
    private static func load(_ row: Row, _ index: Int) -> Lanes {
        unsafe UnsafeRawPointer(row.baseAddress! + index).loadUnaligned(as: Lanes.self)
    }

    /// e^x for x ≤ 0 to about 2 units in the last place (Cephes' polynomial).
    @inline(__always)
    private static func exponential(_ x: Lanes) -> Lanes {
        let isZero = x .< -87
        let clamped = x.replacing(with: -87, where: isZero)
        // Adding 1.5 × 2²³ rounds to an integer and leaves it in the low bits: unlike `rounded()`
        // and conversions, that is a vector instruction on every x86-64.
        let shifted = clamped * 1.442_695_04 + 12_582_912
        let n = shifted - 12_582_912
        let r = clamped - n * 0.693_359_375 + n * 2.121_944_4e-4
        var p = Lanes(repeating: 1.987_569_1e-4)
        p = p * r + 1.398_199_95e-3
        p = p * r + 8.333_451_9e-3
        p = p * r + 4.166_579_6e-2
        p = p * r + 0.166_666_65
        p = p * r + 0.5
        let value = p * r * r + r + 1
        let integer = unsafe unsafeBitCast(shifted, to: SIMD16<Int32>.self) &- 0x4B40_0000
        let bits = (integer &+ 127) &<< 23
        let power = unsafe unsafeBitCast(bits, to: Lanes.self)
        return (value * power).replacing(with: 0, where: isZero)
    }
}
