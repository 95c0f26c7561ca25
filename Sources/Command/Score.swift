import ArgumentParser
import AutoGLMCompute
import AutoGLMJSON
import AutoGLMModels
import AutoGLMText
import Foundation

struct Score: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Log-probabilities of a given text under a model.",
        discussion: """
            Prints per position the most likely next token and the log-probability of the next \
            given token, and the mean negative log-likelihood. Models without a tokenizer are \
            scored by ids.
            """)

    @OptionGroup(title: "Model") var model: ModelFlags

    @Option(help: "Token ids, separated by spaces or commas.")
    var ids: String?

    @Option(help: "Text; special tokens are added as the tokenizer says.")
    var text: String?

    @Option(help: ArgumentHelp("Score this file's text.", valueName: "file"))
    var file: String?

    @Flag(help: "Print JSON: tokens, argmax, logprobs, mean_nll.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Write the logits: f32, row-major, little-endian, one row per token.",
            valueName: "file"))
    var logits: String?

    func validate() throws {
        guard [ids, text, file].compactMap(\.self).count == 1 else {
            throw ValidationError("give exactly one of --ids, --text and --file")
        }
    }

    func run() throws {
        let path = try model.path()
        let tokens = try tokens(path)
        guard !tokens.isEmpty else { throw CommandError("there is nothing to score: no tokens") }
        let loaded = try loadWeights(model, ModelSource(path))
        let info = loaded.info
        guard tokens.count <= info.contextLength else {
            throw CommandError(
                "\(tokens.count) tokens are more than the model's context of "
                    + "\(info.contextLength); score a shorter text")
        }
        for token in tokens where token < 0 || Int(token) >= info.vocabulary {
            throw CommandError(
                "token id \(token) is not in the vocabulary of \(info.vocabulary) tokens")
        }
        var output: FileHandle?
        if let logits {
            guard FileManager.default.createFile(atPath: logits, contents: nil),
                let handle = FileHandle(forWritingAtPath: logits)
            else { throw CommandError("cannot write --logits \(logits)") }
            output = handle
        }
        var scored = ScoredText(tokens: tokens)
        try unsafe scored.run(loaded) { row in
            try output?.write(contentsOf: unsafe Data(buffer: row))
        }
        try output?.close()
        print(json ? scored.json : scored.table)
    }

    private func tokens(_ path: String) throws -> [Int32] {
        if let ids {
            return try ids.split { $0 == " " || $0 == "," || $0.isNewline }.map { word in
                guard let id = Int32(word) else {
                    throw CommandError("--ids: \(word) is not a token id")
                }
                return id
            }
        }
        var words = text ?? ""
        if let file {
            guard let data = FileManager.default.contents(atPath: file) else {
                throw CommandError("cannot read --file \(file)")
            }
            guard let content = String(data: data, encoding: .utf8) else {
                throw CommandError("\(file) is not UTF-8 text")
            }
            words = content
        }
        return try loadTokenizer(path).encode(words, addSpecial: true)
    }
}

/// Reads weights without an engine.
func loadWeights(_ flags: ModelFlags, _ source: ModelSource) throws -> any CausalLM {
    let bar = ProgressBar()
    defer { bar.clear() }
    var options = source.options
    options.weightFormat = flags.quantization
    let compute = try flags.computeOptions(source)
    options.cacheFormat = compute.cacheFormat
    options.progress = { bar.update("loading", $0.bytesRead, $0.bytesTotal) }
    let backend = try CPUBackend(options: compute)
    return try ModelLoader.load(source.with(options), backend: backend)
}

/// One text, position by position.
struct ScoredText {
    let tokens: [Int32]
    private(set) var argmax: [Int32] = []
    /// Of the token after each position; one fewer than tokens.
    private(set) var logprobs: [Double] = []

    init(tokens: [Int32]) { self.tokens = tokens }

    var meanNLL: Double {
        logprobs.isEmpty ? 0 : -logprobs.reduce(0, +) / Double(logprobs.count)
    }

    /// Computes all positions in chunks, so that the logits of one chunk are all that is held.
    mutating func run(
        _ model: any CausalLM, onRow: (UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws {
        let vocabulary = model.info.vocabulary
        let blockTokens = model.info.blockTokens
        let chunk = max(1, min(128, (64 << 20) / (vocabulary * 4)))
        let blocks = (tokens.count + blockTokens - 1) / blockTokens
        try model.allocateCache(blocks: blocks)
        let logits = UnsafeMutableBufferPointer<Float>.allocate(capacity: chunk * vocabulary)
        defer { unsafe logits.deallocate() }
        var start = 0
        while start < tokens.count {
            let rows = start..<min(start + chunk, tokens.count)
            var batch = StepBatch()
            batch.tokens = Array(tokens[rows])
            batch.positions = rows.map(Int32.init)
            batch.sequences = [
                .init(
                    firstRow: 0, rowCount: Int32(rows.count), firstPosition: Int32(start),
                    blockTableOffset: 0)
            ]
            batch.blockTables = (0..<Int32(blocks)).map(\.self)
            batch.outputRows = (0..<Int32(rows.count)).map(\.self)
            let filled = unsafe UnsafeMutableBufferPointer(
                rebasing: logits[..<(rows.count * vocabulary)])
            try unsafe model.logits(batch, into: filled)
            for (index, position) in rows.enumerated() {
                let row = unsafe UnsafeMutableBufferPointer(
                    rebasing: logits[(index * vocabulary)..<((index + 1) * vocabulary)])
                unsafe note(row, position: position)
                try unsafe onRow(row)
            }
            start = rows.upperBound
        }
    }

    private mutating func note(_ row: UnsafeMutableBufferPointer<Float>, position: Int) {
        var best = 0
        for index in row.indices where unsafe row[index] > row[best] { best = index }
        argmax.append(Int32(best))
        guard position + 1 < tokens.count else { return }
        let maximum = unsafe Double(row[best])
        var sum = 0.0
        for unsafe value in unsafe row { sum += exp(Double(value) - maximum) }
        let next = unsafe Double(row[Int(tokens[position + 1])])
        logprobs.append(next - maximum - log(sum))
    }

    var json: String {
        let value: JSONValue = [
            "tokens": .array(tokens.map { .int(Int64($0)) }),
            "argmax": .array(argmax.map { .int(Int64($0)) }),
            "logprobs": .array(logprobs.map { .double($0) }),
            "mean_nll": .double(meanNLL),
        ]
        return value.serialized(JSONWriteOptions(ensureASCII: false))
    }

    var table: String {
        var rows = [["position", "token", "argmax", "logprob of next"]]
        for (index, token) in tokens.enumerated() {
            rows.append([
                "\(index)", "\(token)", "\(argmax[index])",
                index < logprobs.count ? decimal(logprobs[index], 6) : "",
            ])
        }
        return formatTable(rows) + "\nmean NLL \(decimal(meanNLL, 6)) over "
            + "\(logprobs.count) tokens"
    }
}
