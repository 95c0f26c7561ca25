import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// What takes the place of a model whose step hangs.
@Suite struct SpareModelTests {
    private static let prompt: [Int32] = (0..<200).map { Int32($0 * 13 % 63) + 1 }

    private func load(_ kind: BackendKind) throws -> any CausalLM {
        let directory = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: directory.url)
        return try kind.load(directory.path)
    }

    @Test(arguments: BackendKind.allCases) func aSpareGivesTheSameBits(kind: BackendKind) throws {
        let model = try load(kind)
        #expect(model.spare == nil)
        let runner = try Runner(model)
        let before = try runner.logits(Self.prompt, chunk: 64)
        let spare = try #require(model.spare)
        let other = try spare.model(blocks: 256)
        let second = try Runner(other)
        #expect(try second.logits(Self.prompt, chunk: 200) == before)
        // Neither writes to what the other has: their steps may alternate.
        var (mine, others) = ([runner.sequence(Self.prompt)], [second.sequence(Self.prompt)])
        var (first, last): ([[Float]], [[Float]]) = ([], [])
        while first.count < Self.prompt.count {
            first += try runner.step(&mine, rows: [33])[0]
            last += try second.step(&others, rows: [33])[0]
        }
        #expect(first == before && last == before)
        #expect(other.spare != nil)
    }

    /// The one that hangs may wake up after its cache was given back: it computes nonsense, and
    /// that in its own memory only.
    @Test func aDiscardedCacheReadsAsZerosAndDoesNoHarm() throws {
        let model = try load(.cpu)
        let runner = try Runner(model)
        let spare = try #require(model.spare)
        let other = try Runner(try spare.model(blocks: 256))
        let before = try other.logits(Self.prompt, chunk: 50)
        var sequences = [runner.sequence(Self.prompt)]
        _ = try runner.step(&sequences, rows: [150])
        spare.discardCache()
        _ = try? runner.step(&sequences, rows: [50])
        #expect(try other.logits(Self.prompt, chunk: 50) == before)
        // Written anew it serves as ever.
        #expect(try runner.logits(Self.prompt, chunk: 50) == before)
    }

    @Test(arguments: [BackendKind.cpu, .scalar])
    func aStepShowsThatItGoesOn(kind: BackendKind) throws {
        let model = try load(kind)
        let runner = try Runner(model)
        let pulse = try #require(model.spare).pulse
        var last = pulse.count
        for _ in 0..<3 {
            _ = try runner.logits(Self.prompt, chunk: 100)
            // Two steps of two layers with at least four products each.
            #expect(pulse.count >= last + 16)
            last = pulse.count
        }
    }

    @Test(arguments: [BackendKind.reference, .cpu])
    func zeroedBlocksHoldNothing(kind: BackendKind) throws {
        let model = try load(kind)
        let runner = try Runner(model)
        var touched = [runner.sequence(Self.prompt)]
        let table = touched[0].table
        _ = try runner.step(&touched, rows: [200])
        let before = try runner.logits(Self.prompt, chunk: 50)
        try model.eraseBlocks(table)
        // The last token over a context of zeros is another one than over the prompt.
        var again = touched
        again[0].computed = 199
        let over = try runner.step(&again, rows: [1])[0][0]
        #expect(over != before[199] && over.allSatisfy(\.isFinite))
        #expect(try runner.logits(Self.prompt, chunk: 50) == before)
    }
}
