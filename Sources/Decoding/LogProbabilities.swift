/// Log-probabilities of a row of raw logits: before penalties, bias, temperature, truncation.
package struct LogProbabilities {
    /// Of the token that was asked for.
    package var logprob: Float
    /// The most likely tokens, best first; the lower id on a tie.
    package var top: [(token: Int32, logprob: Float)]

    /// - Throws: ``SamplingError/notANumber``.
    package init(
        _ row: UnsafeBufferPointer<Float>, token: Int32, top count: Int
    ) throws(SamplingError) {
        guard let maximum = unsafe VectorMath.maximum(row) else { throw .notANumber }
        let sum = unsafe VectorMath.sumOfExponentials(row, maximum: maximum)
        let logSum = Double(maximum) + logarithm(sum)
        logprob =
            token >= 0 && Int(token) < row.count
            ? Float(Double(unsafe row[Int(token)]) - logSum) : -.infinity
        top = unsafe Self.best(row, count).map { ($0.token, Float(Double($0.logit) - logSum)) }
    }

    private static func best(
        _ row: UnsafeBufferPointer<Float>, _ count: Int
    ) -> [(token: Int32, logit: Float)] {
        guard count > 0 else { return [] }
        var best: [(token: Int32, logit: Float)] = []
        best.reserveCapacity(count + 1)
        var threshold = -Float.infinity
        for index in 0..<row.count {
            let logit = unsafe row[index]
            guard logit > threshold || best.count < count else { continue }
            var position = best.count
            while position > 0, best[position - 1].logit < logit { position -= 1 }
            best.insert((Int32(index), logit), at: position)
            if best.count > count { best.removeLast() }
            if best.count == count { threshold = best[count - 1].logit }
        }
        return best
    }
}

/// Natural logarithm of a positive number to double precision, without libm.
private func logarithm(_ x: Double) -> Double {
    // x = m × 2^e with m in [√½, √2); ln m = 2 artanh((m - 1) / (m + 1)).
    var exponent = Double(x.exponent)
    var mantissa = x.significand
    if mantissa > 1.414_213_562_373_095_1 {
        mantissa /= 2
        exponent += 1
    }
    let s = (mantissa - 1) / (mantissa + 1)
    let square = s * s
    // |s| ≤ 0.1716, so the term s²³ is below 1e-17.
    var series = 0.0
    for odd in stride(from: 21, through: 1, by: -2) { series = series * square + 1 / Double(odd) }
    return exponent * 0.693_147_180_559_945_3 + 2 * s * series
}
