package import AutoGLMCompute

#if canImport(Musl)
import Musl
#else
import Glibc
#endif

/// Rotary position embedding: which part of each head turns, how fast, and how that was
/// stretched to a longer context.
package struct RopeConfig: Sendable, Equatable {
    package enum Scaling: Sendable, Equatable {
        case none
        /// Positions divided by `factor`.
        /// - SeeAlso: Chen et al. 2023, Position Interpolation.
        case linear(factor: Double, originalContext: Int)
        /// A larger base once the context is exceeded. Within it, nothing changes.
        case dynamic(factor: Double, originalContext: Int)
        case yarn(Yarn)
        /// Slow pairs divided by `factor`, fast ones kept, a ramp between them.
        /// - SeeAlso: Llama 3.1 model card and reference code.
        case llama3(
            factor: Double, lowFrequency: Double, highFrequency: Double, originalContext: Int)
        /// Divisors of each pair, as GGUF stores Llama 3 scaling (`rope_freqs`).
        case divisors([Float])

        /// The context a model was stretched to; nil where the factor does not say. Llama 3's
        /// makers count theirs in the model's own context already.
        var contextLength: Int? {
            let (factor, original): (Double, Int)
            switch self {
            case .none, .llama3, .divisors: return nil
            case .linear(let value, let context): (factor, original) = (value, context)
            case .dynamic(let value, let context): (factor, original) = (value, context)
            case .yarn(let yarn): (factor, original) = (yarn.factor, yarn.originalContext)
            }
            // `validate` refuses a strange factor by its name, and a context beyond all limits.
            guard factor >= 1, factor <= Self.factorMax, original > 0 else { return nil }
            let product = factor * Double(original)
            let most = ModelConfig.Limits.contextLength.upperBound + 1
            return product < Double(most) ? Int(product) : most
        }

        fileprivate static let factorMax = 65_536.0
    }

    /// - SeeAlso: Peng et al. 2023, YaRN, §3.
    package struct Yarn: Sendable, Equatable {
        package var factor: Double
        package var originalContext: Int
        package var betaFast: Double = 32
        package var betaSlow: Double = 1
        package var attentionFactor: Double?
        package var scale: Double?
        package var scaleAllDims: Double?
        /// Round the ramp's ends to whole pairs.
        package var truncates = true
    }

    package var theta: Double
    /// Values at the start of each head that turn; an even number.
    package var rotatedDims: Int
    package var scaling: Scaling = .none
    /// The context that scaling reaches, as files say which keep the original one beside it; nil
    /// where they do not. GLM-4-0414 and Qwen2.5 are published so: to stretch one, `rope_scaling`
    /// is added and `max_position_embeddings` stays.
    package var contextScaled: Int?
    /// Pairs as the architecture has them, unless the file layout changed them.
    package var pairing: RotarySpecification.Pairing?

    func validate(headDim: Int, file: String) throws(CheckpointError) {
        func refuse(_ key: String, _ value: String, _ reason: String) -> CheckpointError {
            .configuration(file: file, key: key, value: value, reason: reason)
        }
        guard theta.isFinite, theta > 1, theta <= 1e15 else {
            throw refuse("rope base", "\(theta)", "must be above 1 and at most 1e15")
        }
        guard rotatedDims > 0, rotatedDims % 2 == 0, rotatedDims <= headDim else {
            throw refuse(
                "number of rotated dimensions", "\(rotatedDims)",
                "must be even, above 0 and at most the head size \(headDim)")
        }
        let factor: Double
        var context = 1
        switch scaling {
        case .none: return
        case .linear(let value, let original): (factor, context) = (value, original)
        case .dynamic(let value, let original): (factor, context) = (value, original)
        case .yarn(let yarn):
            (factor, context) = (yarn.factor, yarn.originalContext)
            guard yarn.betaFast > yarn.betaSlow, yarn.betaSlow > 0,
                yarn.attentionFactor.map({ $0 > 0 && $0 < 100 }) ?? true
            else {
                throw refuse(
                    "yarn scaling", "\(yarn.betaFast), \(yarn.betaSlow)",
                    "beta_fast must be above beta_slow, and both above 0")
            }
        case .llama3(let value, let low, let high, let original):
            (factor, context) = (value, original)
            guard low > 0, high > low else {
                throw refuse(
                    "llama3 scaling", "\(low), \(high)",
                    "high_freq_factor must be above low_freq_factor, and both above 0")
            }
        case .divisors(let values):
            guard values.count == rotatedDims / 2, values.allSatisfy({ $0.isFinite && $0 > 0 })
            else {
                throw refuse(
                    "rope_freqs", "\(values.count) values",
                    "\(rotatedDims / 2) values above 0 are expected")
            }
            return
        }
        guard factor.isFinite, factor >= 1, factor <= Scaling.factorMax else {
            throw refuse(
                "rope scaling factor", "\(factor)", "must be from 1 to \(Int(Scaling.factorMax))")
        }
        guard ModelConfig.Limits.contextLength.contains(context) else {
            throw refuse(
                "original context length of rope scaling", "\(context)", "must be above 0")
        }
    }

    /// The angles a backend needs.
    /// - Parameter positions: positions the model may be asked for. Dynamic scaling is fixed at
    ///   this length, so that a token's result does not depend on what follows it.
    package func specification(positions: Int, pairing: RotarySpecification.Pairing)
        -> RotarySpecification
    {
        var magnitude = 1.0
        var frequencies = plainFrequencies(theta)
        switch scaling {
        case .none: break
        case .linear(let factor, _): frequencies = frequencies.map { $0 / factor }
        case .dynamic(let factor, let original):
            if positions > original, rotatedDims > 2 {
                let ratio = Double(positions) / Double(original)
                let exponent = Double(rotatedDims) / Double(rotatedDims - 2)
                frequencies = plainFrequencies(
                    theta * pow(factor * ratio - (factor - 1), exponent))
            }
        case .yarn(let yarn): (frequencies, magnitude) = yarnFrequencies(yarn, frequencies)
        case .llama3(let factor, let low, let high, let original):
            frequencies = frequencies.map { frequency in
                // Turns within the original context tell a fast pair from a slow one.
                let turns = Double(original) * frequency / (2 * .pi)
                if turns < low { return frequency / factor }
                if turns > high { return frequency }
                let smooth = (turns - low) / (high - low)
                return (1 - smooth) * frequency / factor + smooth * frequency
            }
        case .divisors(let divisors):
            frequencies = zip(frequencies, divisors).map { $0 / Double($1) }
        }
        return RotarySpecification(
            inverseFrequencies: frequencies.map { Float($0) }, pairing: self.pairing ?? pairing,
            magnitude: Float(magnitude), positionsMax: positions)
    }

    private func plainFrequencies(_ base: Double) -> [Double] {
        (0..<rotatedDims / 2).map { pow(base, -2 * Double($0) / Double(rotatedDims)) }
    }

    private func yarnFrequencies(_ yarn: Yarn, _ plain: [Double]) -> ([Double], Double) {
        /// The pair that turns `turns` times within the original context.
        func pair(turns: Double) -> Double {
            Double(rotatedDims) * log(Double(yarn.originalContext) / (turns * 2 * .pi))
                / (2 * log(theta))
        }
        var low = pair(turns: yarn.betaFast)
        var high = pair(turns: yarn.betaSlow)
        if yarn.truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
        low = max(low, 0)
        high = min(high, Double(rotatedDims - 1))
        if low == high { high += 0.001 }
        let frequencies = plain.enumerated().map { index, frequency in
            let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
            return frequency / yarn.factor * ramp + frequency * (1 - ramp)
        }
        func magnitude(_ scale: Double) -> Double { 0.1 * scale * log(yarn.factor) + 1 }
        if let given = yarn.attentionFactor { return (frequencies, given) }
        if let scale = yarn.scale, let all = yarn.scaleAllDims, scale != 0, all != 0 {
            return (frequencies, magnitude(scale) / magnitude(all))
        }
        return (frequencies, magnitude(1))
    }
}
