import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit

/// The backends that every model is run on.
enum BackendKind: String, CaseIterable, Sendable {
    case reference
    /// The best kernels of this machine, and each simpler set.
    case cpu, avx2, scalar

    static let allCases: [BackendKind] = [.reference, .cpu]
        + [.avx2, .scalar].filter { (try? $0.cpu()) != nil }

    private func cpu() throws -> CPUBackend {
        var options = ComputeOptions()
        options.precision = .f32
        options.cacheFormat = .f32
        options.threads = self == .cpu ? 2 : 1
        options.instructionSet = self == .cpu ? nil : rawValue
        return try CPUBackend(options: options)
    }

    func load(_ path: String, options: LoadOptions = LoadOptions()) throws -> any CausalLM {
        var options = options
        options.cacheFormat = .f32
        switch self {
        case .reference:
            return try ModelLoader.load(path, options: options, backend: ReferenceBackend())
        case .cpu, .avx2, .scalar:
            return try ModelLoader.load(path, options: options, backend: try cpu())
        }
    }
}

/// Numbers of one reference model, as `reference.json` has them.
struct Reference: Decodable {
    struct Greedy: Decodable {
        let tokens: [Int32]
    }
    struct Prompt: Decodable {
        let name: String
        let input_ids: [Int32]
        let logits_first_position: Int
        let logits: [[Float]]
        let greedy: Greedy?
    }
    let vocab_size: Int
    let prompts: [Prompt]

    init(_ path: String) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: path + "/reference.json"))
        self = try JSONDecoder().decode(Reference.self, from: data)
    }
}

/// One sequence of a test: its tokens and the KV blocks it owns.
struct Sequence {
    var tokens: [Int32]
    /// Tokens whose keys and values are in the cache.
    var computed = 0
    let table: [Int32]
}

/// Runs steps of a model, with the blocks of the cache handed out in a scrambled order.
final class Runner {
    let model: any CausalLM
    private var freeBlocks: [Int32]

    init(_ model: any CausalLM, blocks: Int = 256, seed: UInt64 = 7) throws {
        self.model = model
        try model.allocateCache(blocks: blocks)
        var generator = SplitMix64(seed: seed)
        freeBlocks = (0..<Int32(blocks)).shuffled(using: &generator)
    }

    func sequence(_ tokens: [Int32], room: Int = 0) -> Sequence {
        let size = model.info.blockTokens
        let count = (tokens.count + room + size - 1) / size
        defer { freeBlocks.removeLast(count) }
        return Sequence(tokens: tokens, table: Array(freeBlocks.suffix(count)))
    }

    /// Computes up to `rows[i]` further tokens of sequence `i`, all in one step.
    /// - Returns: per sequence, the logits of all its new rows.
    func step(_ sequences: inout [Sequence], rows: [Int]) throws -> [[[Float]]] {
        var batch = StepBatch()
        var counts: [Int] = []
        for (index, wanted) in rows.enumerated() {
            let sequence = sequences[index]
            let count = min(wanted, sequence.tokens.count - sequence.computed)
            counts.append(count)
            if count == 0 { continue }
            batch.sequences.append(.init(
                firstRow: Int32(batch.tokens.count), rowCount: Int32(count),
                firstPosition: Int32(sequence.computed),
                blockTableOffset: Int32(batch.blockTables.count)))
            batch.blockTables += sequence.table
            for position in sequence.computed..<sequence.computed + count {
                batch.outputRows.append(Int32(batch.tokens.count))
                batch.tokens.append(sequence.tokens[position])
                batch.positions.append(Int32(position))
            }
            sequences[index].computed += count
        }
        let width = model.info.vocabulary
        var logits = [Float](repeating: .nan, count: batch.outputRows.count * width)
        var failure: (any Error)?
        logits.withUnsafeMutableBufferPointer { buffer in
            do { try model.logits(batch, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        var row = 0
        return counts.map { count in
            defer { row += count }
            return (row..<row + count).map { Array(logits[$0 * width..<($0 + 1) * width]) }
        }
    }

    /// All logits of one prompt, `chunk` tokens at a time.
    func logits(_ tokens: [Int32], chunk: Int) throws -> [[Float]] {
        var sequences = [sequence(tokens)]
        var logits: [[Float]] = []
        while sequences[0].computed < tokens.count {
            logits += try step(&sequences, rows: [chunk])[0]
        }
        return logits
    }

    /// Continues `tokens` greedily.
    func greedy(_ tokens: [Int32], count: Int) throws -> (tokens: [Int32], margins: [Float]) {
        var sequences = [sequence(tokens, room: count)]
        var result: [Int32] = []
        var margins: [Float] = []
        while result.count < count {
            guard let last = try step(&sequences, rows: [tokens.count])[0].last else { break }
            let best = argmax(last)
            result.append(Int32(best))
            let others = last.enumerated().filter { $0.offset != best }.map(\.element)
            margins.append(last[best] - (others.max() ?? 0))
            sequences[0].tokens.append(Int32(best))
        }
        return (result, margins)
    }
}

func argmax(_ values: [Float]) -> Int {
    values.indices.max { values[$0] < values[$1] } ?? 0
}

func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
    a.count == b.count ? zip(a, b).map { abs($0 - $1) }.max() ?? 0 : .infinity
}
