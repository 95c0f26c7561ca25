import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// One form of a reference model: which files, which spelling of the configuration.
struct ModelForm: Sendable, CustomTestStringConvertible {
    var name: String
    var configuration = "config.json"
    var isGGUF = false
    var backend = BackendKind.reference

    var directory: String { SharedData.path("reference-models/" + name) }
    var path: String { isGGUF ? "\(directory)/\(name)-BF16.gguf" : directory }
    var testDescription: String {
        "\(name) \(isGGUF ? "GGUF" : configuration) on \(backend.rawValue)"
    }

    func load() throws -> any CausalLM {
        var options = LoadOptions()
        options.configurationFile = configuration
        return try backend.load(path, options: options)
    }

    static let names = [
        "glm4-9b-chat-hf", "glm4-9b-chat-original-layout", "glm4-0414-9b", "glm4-0414-32b",
        "glm45-moe", "glm45-air-moe", "glm45-moe-grouped", "llama3", "llama3-tied-f32", "qwen2",
        "qwen3",
    ]
    static let ggufNames = [
        "glm4-9b-chat-hf", "glm4-0414-9b", "glm45-moe", "llama3", "qwen2", "qwen3",
    ]

    /// Each model once per backend.
    static let plain = BackendKind.allCases.flatMap { backend in
        names.map { ModelForm(name: $0, backend: backend) }
    }
    /// The other forms of its files, on the oracle and on the best kernels.
    static let others = [BackendKind.reference, .cpu].flatMap { backend in
        names.filter { $0 != "glm4-9b-chat-original-layout" }.map {
            ModelForm(name: $0, configuration: "config.transformers5.json", backend: backend)
        } + ggufNames.map { ModelForm(name: $0, isGGUF: true, backend: backend) }
    }
}

@Suite("Reference models", .enabled(if: SharedData.isPresent), .serialized)
struct ReferenceModelTests {
    /// Suggested with the reference data.
    let tolerance: Float = 2e-3

    @Test("logits are those of transformers", arguments: ModelForm.plain + ModelForm.others)
    func logits(form: ModelForm) throws {
        let reference = try Reference(form.directory)
        let runner = try Runner(form.load())
        #expect(runner.model.info.vocabulary == reference.vocab_size)
        var worst: Float = 0
        for prompt in reference.prompts {
            let logits = try runner.logits(prompt.input_ids, chunk: prompt.input_ids.count)
            #expect(logits.count == prompt.logits_first_position + prompt.logits.count)
            for (index, expected) in prompt.logits.enumerated() {
                let found = logits[prompt.logits_first_position + index]
                worst = max(worst, largestDifference(found, expected))
            }
        }
        #expect(worst < tolerance)
    }

    @Test("64 greedy tokens are those of transformers",
        arguments: ModelForm.plain.filter { $0.backend == .reference || $0.backend == .cpu }
            + ModelForm.others.filter { $0.backend == .cpu })
    func greedy(form: ModelForm) throws {
        let reference = try Reference(form.directory)
        let model = try form.load()
        for prompt in reference.prompts {
            guard let expected = prompt.greedy?.tokens else { continue }
            let found = try Runner(model).greedy(prompt.input_ids, count: expected.count)
            #expect(found.tokens == expected, "prompt \(prompt.name)")
        }
    }

    @Test("however a prompt is cut into steps, its logits are the same bits",
        arguments: ModelForm.plain)
    func chunks(form: ModelForm) throws {
        let reference = try Reference(form.directory)
        let model = try form.load()
        for prompt in reference.prompts where prompt.input_ids.count <= 64 {
            let whole = try Runner(model).logits(prompt.input_ids, chunk: prompt.input_ids.count)
            for chunk in [1, 7] {
                let cut = try Runner(model, seed: 11).logits(prompt.input_ids, chunk: chunk)
                #expect(cut == whole, "prompt \(prompt.name) in chunks of \(chunk)")
            }
        }
    }

    @Test("a sequence gives the same bits alone and among others",
        arguments: ModelForm.plain)
    func mixedBatch(form: ModelForm) throws {
        let reference = try Reference(form.directory)
        let model = try form.load()
        let prompts = reference.prompts.map { Array($0.input_ids.prefix(64)) }
        let alone = try prompts.map { try Runner(model).logits($0, chunk: 64) }
        let runner = try Runner(model)
        var sequences = prompts.map { runner.sequence($0) }
        var mixed = [[[Float]]](repeating: [], count: prompts.count)
        var generator = SplitMix64(seed: 3)
        while sequences.contains(where: { $0.computed < $0.tokens.count }) {
            let rows = prompts.map { _ in Int.random(in: 0...9, using: &generator) }
            guard rows.contains(where: { $0 > 0 }) else { continue }
            for (index, logits) in try runner.step(&sequences, rows: rows).enumerated() {
                mixed[index] += logits
            }
        }
        #expect(mixed == alone)
    }

    struct Chats: Decodable {
        struct Chat: Decodable {
            let input_ids: [Int32]
            let greedy_tokens: [Int32]
        }
        let chats: [Chat]
    }

    @Test("greedy answers of the model with the full vocabulary", arguments: BackendKind.allCases)
    func fullVocabulary(backend: BackendKind) throws {
        let form = ModelForm(name: "glm4-real-tokenizer", backend: backend)
        let data = try Data(contentsOf: URL(fileURLWithPath: form.directory + "/reference.json"))
        let model = try form.load()
        #expect(model.info.vocabulary == 151_552)
        #expect(model.info.stopTokens == [151_329, 151_336, 151_338])
        for chat in try JSONDecoder().decode(Chats.self, from: data).chats {
            let found = try Runner(model).greedy(chat.input_ids, count: chat.greedy_tokens.count)
            #expect(found.tokens == chat.greedy_tokens)
        }
    }

    @Test("blocks copied inside the cache continue like the originals")
    func copiedBlocks() throws {
        let model = try ModelForm(name: "glm4-9b-chat-hf").load()
        let tokens = (0..<40).map { Int32($0 * 7 % 1000) }
        let whole = try Runner(model).logits(tokens, chunk: 64)
        let runner = try Runner(model)
        var sequences = [runner.sequence(tokens)]
        _ = try runner.step(&sequences, rows: [32])
        let copy = runner.sequence(tokens)
        try model.copyBlocks(zip(sequences[0].table, copy.table).prefix(2).map { ($0, $1) })
        sequences = [copy]
        sequences[0].computed = 32
        #expect(try runner.step(&sequences, rows: [8])[0] == Array(whole[32...]))
    }
}

@Suite("stories260K", .enabled(if: SharedData.isPresent), .serialized)
struct StoriesTests {
    struct Reference: Decodable {
        struct Prompt: Decodable {
            let input_ids: [Int32]
            let greedy_tokens: [Int32]
        }
        let story_ids: [Int32]
        let story_mean_nll: Double
        let prompts: [Prompt]
    }

    static let files: [(file: String, tolerance: Double)] = [
        ("hf", 0.001), ("stories260K-F32.gguf", 0.001), ("stories260K-F16.gguf", 0.001),
        ("stories260K-Q8_0.gguf", 0.01), ("stories260K-Q5_1.gguf", 0.05),
    ]

    func reference() throws -> Reference {
        let path = SharedData.path("models/stories260K/reference.json")
        return try JSONDecoder().decode(
            Reference.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }

    @Test("the mean negative log-likelihood of a story", arguments: files, BackendKind.allCases)
    func likelihood(file: (file: String, tolerance: Double), backend: BackendKind) throws {
        let reference = try reference()
        let model = try backend.load(SharedData.path("models/stories260K/" + file.file))
        let ids = reference.story_ids
        let logits = try Runner(model).logits(ids, chunk: 32)
        var sum = 0.0
        for position in 0..<ids.count - 1 {
            let row = logits[position].map { Double($0) }
            let largest = row.max() ?? 0
            let total = row.reduce(0) { $0 + exp($1 - largest) }
            sum -= row[Int(ids[position + 1])] - largest - log(total)
        }
        let mean = sum / Double(ids.count - 1)
        #expect(abs(mean - reference.story_mean_nll) < file.tolerance, "NLL \(mean)")
    }

    @Test("greedy stories, up to a step that rounding may decide",
        arguments: ["hf", "stories260K-F32.gguf", "stories260K-F16.gguf"], BackendKind.allCases)
    func greedy(file: String, backend: BackendKind) throws {
        let model = try backend.load(SharedData.path("models/stories260K/" + file))
        for prompt in try reference().prompts {
            let expected = prompt.greedy_tokens
            let found = try Runner(model).greedy(prompt.input_ids, count: expected.count)
            let safe = found.margins.firstIndex { $0 < 0.002 } ?? expected.count
            #expect(safe > 20)
            #expect(found.tokens.prefix(safe) == expected.prefix(safe))
        }
    }
}
