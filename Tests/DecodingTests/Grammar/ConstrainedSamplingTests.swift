import AutoGLMDecoding
import AutoGLMJSON
import TestKit
import Testing

@Suite struct ConstrainedSamplingTests {
    /// Asking about the best token first gives what the mask gives, bit for bit, and so do log
    /// probabilities.
    @Test(arguments: [Float(0), 1.5]) func candidateFirstIsTheMask(temperature: Float) throws {
        let trie = Grammars.fewTokens
        let grammar = try Grammars.compile(
            .schema(["type": "object", "additionalProperties": ["type": ["integer", "string"]]]),
            trie)
        var random = SplitMix64(seed: 9)
        var scratch = SamplerScratch()
        var room = TokenMask(count: trie.tokenCount)
        var asked = 0
        for seed in 0..<40 {
            var parameters = SamplingParameters()
            parameters.temperature = temperature
            parameters.topP = 0.95
            parameters.topLogprobs = 2
            parameters.frequencyPenalty = seed % 2 == 0 ? 0.5 : 0
            parameters.minTokens = seed % 4 == 0 ? 3 : 0
            var sampler = Sampler(parameters, stopTokens: [0], seed: UInt64(seed), prompt: [])
            var state = grammar.makeState()
            for _ in 0..<30 {
                var row = (0..<trie.tokenCount).map { _ in Float.random(in: -9...9, using: &random) }
                // A tie, now and then.
                if seed % 3 == 0 { row[0x22 + 1] = row.max() ?? 0; row[5] = row[0x22 + 1] }
                var mask = TokenMask(count: trie.tokenCount)
                try state.fill(&mask)
                let ends = mask.allowed == [0]
                var other = row
                let plain = try other.withUnsafeMutableBufferPointer {
                    try sampler.sample($0, mask: mask, scratch: &scratch)
                }
                let best = try row.withUnsafeMutableBufferPointer {
                    try sampler.sample($0, grammar: &state, mask: &room, scratch: &scratch)
                }
                #expect(best.token == plain.token && best.logprob == plain.logprob)
                asked += 1
                if ends || sampler.isStop(best.token, isConstrained: true) { break }
                sampler.accept(best.token)
                let isRead = state.accept(best.token)
                #expect(isRead)
            }
        }
        #expect(asked > 200)
    }
}
