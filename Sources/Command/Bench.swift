import ArgumentParser
import AutoGLMCompute
import AutoGLMModels
import AutoGLMText
import Foundation

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure prefill and decoding, and their share of this machine's limits.",
        discussion: """
            Decoding is limited by memory bandwidth (weights and KV cache are read once per \
            step), prefill by arithmetic. Both limits are measured before and after.
            """)

    @OptionGroup(title: "Model") var model: ModelFlags

    @Option(help: "Prompt lengths to measure, separated by commas; 0 skips prefill.")
    var prompt: String = "512"

    @Option(help: "Sequences decoded together, separated by commas.")
    var batch: String = "1,8"

    @Option(help: "Tokens already in the KV cache when decoding, separated by commas.")
    var depth: String = "0"

    @Option(help: "Tokens decoded per measurement.")
    var tokens: Int = 32

    @Option(help: "Measurements of each kind; the median counts.")
    var repetitions: Int = 5

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        try check("--tokens", tokens, 1...100_000)
        try check("--repetitions", repetitions, 1...1000)
        for text in [prompt, batch, depth] { _ = try Self.numbers(text) }
    }

    private static func numbers(_ text: String) throws -> [Int] {
        try text.split(separator: ",").map { word in
            guard let number = Int(word), (0...(1 << 20)).contains(number) else {
                throw ValidationError("\(word) is not a number from 0 to \(1 << 20)")
            }
            return number
        }
    }

    func run() throws {
        let source = try ModelSource(try model.path())
        let loaded = try loadWeights(model, source)
        let arithmetic = try arithmetic(source)
        let before = try MachineProbe.measure(threads: model.threads)
        let timer = StepTimer(model: loaded, repetitions: repetitions)
        var rows: [BenchRow] = []
        for length in try Self.numbers(prompt) where length > 0 {
            rows.append(try timer.prefill(length))
        }
        for depth in try Self.numbers(depth) {
            for batch in try Self.numbers(batch) where batch > 0 {
                rows.append(try timer.decode(batch: batch, depth: depth, tokens: tokens))
            }
        }
        let after = try MachineProbe.measure(threads: model.threads)
        let limits = BenchLimits(before, after, loaded.info, arithmetic)
        print(json ? limits.json(rows) : limits.table(rows))
    }

    /// What most of the weights are multiplied as.
    private func arithmetic(_ source: ModelSource) throws -> BenchLimits.Arithmetic {
        let precision = try model.computeOptions(source).precision
        let floats: BenchLimits.Arithmetic = precision == .bf16 ? .bf16 : .f32
        switch model.quantization {
        case .integers(let scheme): return scheme.activations == .float ? .f32 : .int8
        case .f32, .f16: return .f32
        case .bf16: return floats
        case nil: break
        }
        let inspection = ModelInspection(source)
        if let scheme = inspection.scheme {
            return scheme.activations == .float ? .f32 : .int8
        }
        switch inspection.storedTypes.first?.type {
        case "bf16": return floats
        case "f32", "f16", nil: return .f32
        default: return .int8
        }
    }
}

/// One measurement.
struct BenchRow {
    enum Kind: String { case prefill, decode }
    var kind: Kind
    var batch: Int
    var depth: Int
    /// Rows computed per second, of all sequences together; median, lowest, highest.
    var median: Double
    var low: Double
    var high: Double
}

/// Runs steps of a model without an engine around it.
struct StepTimer {
    let model: any CausalLM
    let repetitions: Int
    private let clock = ContinuousClock()

    init(model: any CausalLM, repetitions: Int) {
        self.model = model
        self.repetitions = repetitions
    }

    /// One prompt, in steps of 512 rows.
    func prefill(_ length: Int) throws -> BenchRow {
        let blockTokens = model.info.blockTokens
        let blocks = (length + blockTokens - 1) / blockTokens
        try model.allocateCache(blocks: blocks)
        let logits = unsafe buffer(rows: 1)
        defer { unsafe logits.deallocate() }
        let rates = try (0..<(repetitions + 1)).map { _ in
            let time = try clock.measure {
                var start = 0
                while start < length {
                    let rows = start..<min(start + 512, length)
                    var batch = StepBatch()
                    fill(&batch, rows: rows, table: 0..<Int32(blocks), isLast: true)
                    try unsafe model.logits(batch, into: logits)
                    start = rows.upperBound
                }
            }
            return Double(length) / (time / .seconds(1))
        }
        return row(.prefill, 1, length, rates)
    }

    /// `batch` sequences, each `depth` tokens long at the start, decoded for `tokens` steps. The
    /// cache holds zeros there: reading them takes as long as reading anything else.
    func decode(batch count: Int, depth: Int, tokens: Int) throws -> BenchRow {
        let blockTokens = model.info.blockTokens
        let perSequence = (depth + tokens + blockTokens - 1) / blockTokens
        try model.allocateCache(blocks: perSequence * count)
        let logits = unsafe buffer(rows: count)
        defer { unsafe logits.deallocate() }
        let rates = try (0..<(repetitions + 1)).map { _ in
            let time = try clock.measure {
                for step in 0..<tokens {
                    var batch = StepBatch()
                    for sequence in 0..<count {
                        let first = Int32(sequence * perSequence)
                        fill(
                            &batch, rows: (depth + step)..<(depth + step + 1),
                            table: first..<(first + Int32(perSequence)), isLast: true)
                    }
                    try unsafe model.logits(batch, into: logits)
                }
            }
            return Double(count * tokens) / (time / .seconds(1))
        }
        return row(.decode, count, depth, rates)
    }

    private func buffer(rows: Int) -> UnsafeMutableBufferPointer<Float> {
        .allocate(capacity: rows * model.info.vocabulary)
    }

    /// Adds one sequence's rows.
    private func fill(
        _ batch: inout StepBatch, rows: Range<Int>, table: Range<Int32>, isLast: Bool
    ) {
        let first = Int32(batch.tokens.count)
        batch.sequences.append(
            .init(
                firstRow: first, rowCount: Int32(rows.count),
                firstPosition: Int32(rows.lowerBound),
                blockTableOffset: Int32(batch.blockTables.count)))
        for position in rows {
            // Any token will do; neighbours differ, so that experts do.
            batch.tokens.append(Int32((position &* 7919 &+ 17) % model.info.vocabulary))
            batch.positions.append(Int32(position))
        }
        batch.blockTables.append(contentsOf: table)
        if isLast { batch.outputRows.append(first + Int32(rows.count) - 1) }
    }

    /// The first measurement warms caches up and does not count.
    private func row(
        _ kind: BenchRow.Kind, _ batch: Int, _ depth: Int, _ rates: [Double]
    ) -> BenchRow {
        let sorted = rates.dropFirst().sorted()
        return BenchRow(
            kind: kind, batch: batch, depth: depth, median: sorted[sorted.count / 2],
            low: sorted[0], high: sorted[sorted.count - 1])
    }
}
