import AutoGLMDecoding
import AutoGLMEngine
import TestKit
import Testing

/// Outputs that follow a grammar: the same alone and in company, with and without a mask, and an
/// end of their own.
@Suite struct ConstraintTests {
    /// Tokens 0…61 are letters and pairs of letters, 63 ends.
    static let trie: TokenTrie = {
        var tokens: [[UInt8]] = (0..<26).map { [0x61 + UInt8($0)] }
        tokens += (0..<36).map { [0x61 + UInt8($0 % 6), 0x61 + UInt8($0 / 6)] }
        tokens += [[], []]
        return TokenTrie(tokens: tokens, endTokens: [63])
    }()

    static func request(
        _ pattern: String, _ index: Int, _ change: (inout SamplingParameters) -> Void = { _ in }
    ) throws -> GenerationRequest {
        var request = GenerationRequest(prompt: [Int32(index % 60), 3, Int32(index / 60)])
        request.sampling.temperature = index % 2 == 0 ? 0 : 1.5
        request.sampling.topP = index % 3 == 0 ? 0.9 : 1
        request.sampling.repetitionPenalty = index % 5 == 0 ? 1.3 : 1
        request.sampling.seed = UInt64(index)
        request.sampling.maxTokens = 40
        change(&request.sampling)
        request.constraint = Constraint(try Grammar.compile(.regex(pattern), vocabulary: trie))
        return request
    }

    private func collect(_ stream: TokenStream) async throws -> (tokens: [Int32], finish: Finish?) {
        var tokens: [Int32] = []
        var finish: Finish?
        while let batch = try await stream.next() {
            tokens += batch.tokens.map(\.token)
            finish = batch.finish ?? finish
        }
        return (tokens, finish)
    }

    private func text(_ tokens: [Int32]) -> String {
        String(decoding: tokens.flatMap { Self.trie.bytes(of: $0) }, as: UTF8.self)
    }

    private static let pattern = "(ab|ba|c[d-z]){3,6}xyz?"

    @Test func outputsMatchAndDoNotDependOnCompany() async throws {
        let alone = try HashedLM.engine(blocks: 256)
        let together = try HashedLM.engine(blocks: 64)
        defer {
            alone.shutdown()
            together.shutdown()
        }
        var expected: [[Int32]] = []
        for index in 0..<40 {
            let (tokens, finish) = try await collect(
                try alone.generate(try Self.request(Self.pattern, index)))
            #expect(text(tokens).wholeMatch(of: /(ab|ba|c[d-z]){3,6}xyz?/) != nil)
            #expect(finish?.reason == .stop)
            expected.append(tokens)
        }
        let streams = try (0..<40).map { try together.generate(try Self.request(Self.pattern, $0)) }
        for (index, stream) in streams.enumerated() {
            #expect(try await collect(stream).tokens == expected[index])
        }
    }

    /// Nothing can follow: no step is spent on saying so.
    @Test func aCompleteTextEnds() async throws {
        let engine = try HashedLM.engine()
        defer { engine.shutdown() }
        let (tokens, finish) = try await collect(
            try engine.generate(try Self.request("qq", 0) { $0.maxTokens = 2 }))
        #expect(text(tokens) == "qq" && finish?.reason == .stop && finish?.stopToken == nil)
        let cut = try await collect(
            try engine.generate(try Self.request("qqq", 0) { $0.maxTokens = 2 }))
        #expect(text(cut.tokens) == "qq" && cut.finish?.reason == .length)
        // As short as the grammar wants it, whatever min_tokens says.
        let short = try await collect(
            try engine.generate(try Self.request("q{1,3}", 0) { $0.minTokens = 9 }))
        #expect(text(short.tokens) == "qqq" && short.finish?.reason == .stop)
    }

    @Test func aDeadEndIsAnErrorOfItsOwn() async throws {
        let engine = try HashedLM.engine()
        defer { engine.shutdown() }
        // No token has an upper-case letter.
        let stream = try engine.generate(try Self.request("abQ", 0))
        await #expect(throws: GenerationError.grammar(.deadEnd)) { _ = try await collect(stream) }
        #expect(engine.status.failedSteps == 0)
    }

    /// Behind the grammar's text a sequence may go on as it likes.
    @Test func whatGoesOnIsFree() async throws {
        let engine = try HashedLM.engine()
        defer { engine.shutdown() }
        var request = try Self.request("zz", 2) { $0.maxTokens = 12 }
        request.constraint?.goesOn = true
        let (tokens, _) = try await collect(try engine.generate(request))
        #expect(tokens.prefix(2) == [25, 25])
        let rest = HashedLM.expected(request.prompt + [25, 25], count: 10)
        #expect(Array(tokens.dropFirst(2)) == rest.tokens)
    }
}
