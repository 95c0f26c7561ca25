import AutoGLMDecoding
import TestKit
import Testing

private func row(_ count: Int, seed: UInt64, spread: Float = 4) -> [Float] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in Float.random(in: -spread...spread, using: &random) }
}

private func pick(
    _ logits: [Float], _ parameters: SamplingParameters, seed: UInt64 = 1, prompt: [Int32] = [],
    output: [Int32] = [], mask: TokenMask? = nil, stopTokens: [Int32] = []
) throws -> SampledToken {
    var sampler = Sampler(parameters, stopTokens: stopTokens, seed: seed, prompt: prompt)
    for token in output { sampler.accept(token) }
    var row = logits
    var scratch = SamplerScratch()
    return try row.withUnsafeMutableBufferPointer {
        try sampler.sample($0, mask: mask, scratch: &scratch)
    }
}

/// The tokens that have any chance, by a plain sort: the definition.
private func allowed(_ logits: [Float], _ p: SamplingParameters) -> Set<Int32> {
    let best = logits.max()!
    var order = logits.indices.map { (id: Int32($0), w: Double(exp($0)) ) }
    func exp(_ i: Int) -> Float { Float(_exp(Double((logits[i] - best) / p.temperature))) }
    order = order.filter { Float($0.w) >= p.minP }
    order.sort { a, b in
        let (x, y) = (logits[Int(a.id)], logits[Int(b.id)])
        return x != y ? x > y : a.id < b.id
    }
    if p.topK > 0 { order = Array(order.prefix(p.topK)) }
    if p.topP < 1 {
        let target = order.reduce(0) { $0 + $1.w } * Double(p.topP)
        var sum = 0.0
        var kept = 0
        for item in order {
            kept += 1
            sum += item.w
            if sum >= target { break }
        }
        order = Array(order.prefix(kept))
    }
    return Set(order.map(\.id))
}

private func _exp(_ x: Double) -> Double {
    // A test's own exponential: (e^(x/1024))^1024 by series.
    let y = x / 1024
    var term = 1.0
    var sum = 1.0
    for n in 1..<20 {
        term *= y / Double(n)
        sum += term
    }
    var result = sum
    for _ in 0..<10 { result *= result }
    return result
}

@Suite struct SamplerTests {
    @Test func greedyTakesTheLowestIdOfTheBest() throws {
        for count in [1, 2, 15, 16, 17, 33, 1000] {
            var logits = row(count, seed: UInt64(count))
            let place = count / 2
            logits[place] = 9
            logits[count - 1] = 9
            #expect(try pick(logits, .greedy).token == Int32(place))
        }
    }

    @Test func aRowThatIsNotNumbersIsRefused() {
        for bad in [Float.nan, .infinity] {
            for place in [0, 5, 31, 32] {
                var logits = row(33, seed: 3)
                logits[place] = bad
                #expect(throws: SamplingError.notANumber) { try pick(logits, .greedy) }
                #expect(throws: SamplingError.notANumber) { try pick(logits, .init()) }
            }
        }
        #expect(throws: SamplingError.notANumber) {
            try pick(Array(repeating: -.infinity, count: 20), .greedy)
        }
        #expect(throws: SamplingError.nothingAllowed) {
            try pick(row(20, seed: 1), .greedy, mask: TokenMask(count: 20))
        }
    }

    /// Draws reach exactly the tokens that the definition allows.
    @Test(arguments: 0..<24) func truncationIsExact(number: Int) throws {
        var random = SplitMix64(seed: UInt64(number))
        var parameters = SamplingParameters()
        parameters.temperature = Float.random(in: 0.3...2, using: &random)
        if number % 2 == 0 { parameters.topK = Int.random(in: 1...30, using: &random) }
        if number % 3 != 0 { parameters.topP = Float.random(in: 0.05...0.98, using: &random) }
        if number % 4 == 3 { parameters.minP = Float.random(in: 0.01...0.3, using: &random) }
        var logits = row(120, seed: UInt64(number) + 100, spread: 2)
        // Ties at the border must be broken by id.
        for index in stride(from: 0, to: 120, by: 5) { logits[index] = logits[(index + 50) % 120] }
        let expected = allowed(logits, parameters)
        var seen: Set<Int32> = []
        for seed in UInt64(0)..<6000 {
            seen.insert(try pick(logits, parameters, seed: seed).token)
        }
        #expect(seen.isSubset(of: expected))
        // The rarest allowed token may be missed, but not many.
        #expect(seen.count >= expected.count * 9 / 10)
    }

    @Test func drawsFollowTheProbabilities() throws {
        let logits: [Float] = [0, 1, 2, -1, 0.5]
        let weights = logits.map { _exp(Double($0)) }
        let total = weights.reduce(0, +)
        var counts = [Int](repeating: 0, count: 5)
        let draws = 40_000
        for seed in 0..<draws {
            counts[Int(try pick(logits, .init(), seed: UInt64(seed)).token)] += 1
        }
        for (count, weight) in zip(counts, weights) {
            #expect(abs(Double(count) / Double(draws) - weight / total) < 0.01)
        }
    }

    @Test func aDrawDependsOnSeedAndPositionOnly() throws {
        let logits = row(500, seed: 9)
        var sampler = Sampler(.init(), stopTokens: [], seed: 77, prompt: [1, 2])
        var scratch = SamplerScratch()
        var tokens: [Int32] = []
        for _ in 0..<50 {
            var copy = logits
            let token = try copy.withUnsafeMutableBufferPointer {
                try sampler.sample($0, scratch: &scratch)
            }.token
            sampler.accept(token)
            tokens.append(token)
        }
        for position in tokens.indices {
            let again = try pick(
                logits, .init(), seed: 77, output: Array(tokens[..<position]))
            #expect(again.token == tokens[position])
        }
        #expect(Set(tokens).count > 20)
    }

    @Test func penaltiesAreTheKnownOnes() throws {
        var parameters = SamplingParameters.greedy
        parameters.repetitionPenalty = 2
        // Prompt tokens count for repetition: 4 / 2 < 3, and -1 × 2 < -1.5.
        #expect(try pick([4, 3], parameters, prompt: [0]).token == 1)
        #expect(try pick([-1, -1.5], parameters, output: [0]).token == 1)
        parameters = .greedy
        parameters.presencePenalty = 1.5
        #expect(try pick([4, 3], parameters, prompt: [0]).token == 0)
        #expect(try pick([4, 3], parameters, output: [0]).token == 1)
        parameters = .greedy
        parameters.frequencyPenalty = 0.4
        #expect(try pick([4, 3], parameters, output: [0, 0]).token == 0)
        #expect(try pick([4, 3], parameters, output: [0, 0, 0]).token == 1)
        parameters = .greedy
        parameters.logitBias = [1: 5, 7: 100]
        #expect(try pick([4, 3], parameters).token == 1)
    }

    @Test func stopTokensWaitForTheMinimum() throws {
        var parameters = SamplingParameters.greedy
        parameters.minTokens = 2
        let logits: [Float] = [1, 5]
        #expect(try pick(logits, parameters, output: [0], stopTokens: [1]).token == 0)
        #expect(try pick(logits, parameters, output: [0, 0], stopTokens: [1]).token == 1)
    }

    @Test func logProbabilitiesAreThoseOfTheRawRow() throws {
        var parameters = SamplingParameters.greedy
        parameters.topLogprobs = 3
        parameters.logitBias = [4: 100]
        let logits = row(1001, seed: 5)
        let result = try pick(logits, parameters)
        let total = logits.reduce(0.0) { $0 + _exp(Double($1)) }
        func reference(_ token: Int32) -> Double {
            // ln by Newton on the test's own exponential.
            let x = _exp(Double(logits[Int(token)])) / total
            var y = -5.0
            for _ in 0..<60 { y += 2 * (x - _exp(y)) / (x + _exp(y)) }
            return y
        }
        #expect(result.token == 4)
        #expect(abs(Double(result.logprob ?? 0) - reference(4)) < 1e-5)
        let best = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(3).map { Int32($0) }
        #expect(result.top.map(\.token) == best)
        for entry in result.top {
            #expect(abs(Double(entry.logprob) - reference(entry.token)) < 1e-5)
        }
    }

    @Test func aMaskForbidsEverythingElse() throws {
        var mask = TokenMask(count: 200)
        mask[3] = true
        mask[130] = true
        var logits = row(200, seed: 1)
        logits[50] = 100
        for seed in UInt64(0)..<50 {
            #expect([3, 130].contains(try pick(logits, .init(), seed: seed, mask: mask).token))
        }
    }
}
