import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// Rotary scaling against transformers.
@Suite struct RopeTests {
    struct Golden: Decodable {
        let name: String
        let positions: Int
        let context: Int?
        let theta: Double
        let magnitude: Float
        let frequencies: [Float]
    }

    @Test func frequenciesAreThoseOfTransformers() throws {
        let url = SharedData.repository.appendingPathComponent("Tests/Golden/rope/frequencies.json")
        let data = try Data(contentsOf: url)
        let golden = try JSONDecoder().decode([Golden].self, from: data)
        let texts = try #require(
            try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
        #expect(golden.count == 8)
        for (entry, text) in zip(golden, texts) {
            let scaling = try JSONSerialization.data(withJSONObject: text["scaling"] as Any)
            var checkpoint = TinyCheckpoint.llama()
            checkpoint.config["head_dim"] = "128"
            checkpoint.config["max_position_embeddings"] = "\(entry.context ?? entry.positions)"
            checkpoint.config["rope_theta"] = "\(entry.theta)"
            checkpoint.config["rope_scaling"] = String(decoding: scaling, as: UTF8.self)
            let directory = try TemporaryDirectory()
            try checkpoint.write(to: directory.url)
            let found = try ModelSource(directory.path).config.rope
                .specification(positions: entry.positions, pairing: .halves)
            #expect(abs(found.magnitude - entry.magnitude) < 1e-6, "\(entry.name)")
            #expect(found.inverseFrequencies.count == 64)
            for (a, b) in zip(found.inverseFrequencies, entry.frequencies) {
                #expect(abs(a - b) <= 4e-6 * b, "\(entry.name): \(a) \(b)")
            }
        }
    }
}

/// What converters and makers leave out or write wrongly.
@Suite struct ConversionTests {
    @Test("without rope_ratio, the original layout has the base of ChatGLM3",
        .enabled(if: SharedData.isPresent))
    func ropeRatio() throws {
        func logits(_ name: String, _ old: String, _ new: String) throws -> [[Float]] {
            let source = SharedData.path("reference-models/" + name)
            let directory = try TemporaryDirectory()
            for file in try FileManager.default.contentsOfDirectory(atPath: source)
            where file.contains("safetensors") {
                try FileManager.default.createSymbolicLink(
                    atPath: directory.path + "/" + file, withDestinationPath: source + "/" + file)
            }
            let config = try String(contentsOfFile: source + "/config.json", encoding: .utf8)
            #expect(config.contains(old))
            try config.replacingOccurrences(of: old, with: new).write(
                toFile: directory.path + "/config.json", atomically: false, encoding: .utf8)
            return try Runner(BackendKind.reference.load(directory.path))
                .logits((0..<20).map { Int32($0 * 31) }, chunk: 20)
        }
        let original = try logits("glm4-9b-chat-original-layout", "\"rope_ratio\":500,", "")
        let modern = try logits(
            "glm4-9b-chat-hf", "\"rope_theta\":5000000.0", "\"rope_theta\":10000.0")
        #expect(original == modern)
        let newX = try logits(
            "glm4-9b-chat-original-layout", "\"original_rope\":true", "\"original_rope\":false")
        #expect(newX != original)
    }

    @Test("GLM's turn ends are stop tokens whatever the files say")
    func turnEnds() throws {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["architectures"] = "[\"Glm4ForCausalLM\"]"
        checkpoint.config["vocab_size"] = "151552"
        checkpoint.config["eos_token_id"] = "151329"
        let directory = try TemporaryDirectory()
        try checkpoint.write(to: directory.url)
        let info = try ModelInspection(directory.path).info
        #expect(info.stopTokens == [151_329, 151_336, 151_338])
    }

    /// A GGUF file of glm-4-9b-chat's vocabulary with only the head that inspection reads.
    private func glm(
        kvHeads: UInt32, context: UInt32, epsilon: Float, base: Float
    ) throws -> ModelInfo {
        var tokens = (0..<151_552).map { "t\($0)" }
        tokens[151_336] = "<|user|>"
        tokens[151_338] = "<|observation|>"
        var types = [Int32](repeating: 1, count: tokens.count)
        (types[151_336], types[151_338]) = (3, 3)
        var writer = GGUFWriter()
        writer.metadata = [
            ("general.architecture", .string("chatglm")),
            ("chatglm.context_length", .u32(context)), ("chatglm.embedding_length", .u32(64)),
            ("chatglm.block_count", .u32(1)), ("chatglm.feed_forward_length", .u32(64)),
            ("chatglm.attention.head_count", .u32(8)),
            ("chatglm.attention.head_count_kv", .u32(kvHeads)),
            ("chatglm.attention.layer_norm_rms_epsilon", .f32(epsilon)),
            ("chatglm.rope.freq_base", .f32(base)), ("chatglm.rope.dimension_count", .u32(4)),
            ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string("glm4")),
            ("tokenizer.ggml.tokens", .strings(tokens)),
            ("tokenizer.ggml.token_type", .i32s(types)),
            ("tokenizer.ggml.merges", .strings(["a b"])),
            ("tokenizer.ggml.eos_token_id", .u32(151_329)),
            ("tokenizer.chat_template", .string("{{ x }}")),
            ("tokenizer.chat_templates", .strings(["tool_use"])),
            ("tokenizer.chat_template.tool_use", .string("{{ y }}")),
        ]
        let directory = try TemporaryDirectory()
        let path = directory.path + "/m.gguf"
        try Data(writer.file()).write(to: URL(fileURLWithPath: path))
        let source = try ModelSource(path)
        let tokenizer = try #require(source.tokenizer)
        #expect(tokenizer.tokens.count == 151_552)
        #expect(tokenizer.chatTemplates == ["default": "{{ x }}", "tool_use": "{{ y }}"])
        #expect(source.directory == nil && source.generationConfig.isNull)
        #expect(tokenizer.pre == "glm4" && tokenizer.end == 151_329 && tokenizer.begin == nil)
        return ModelInspection(source).info
    }

    @Test("the defaults that a public converter writes for glm-4-9b-chat-hf are mended")
    func converterDefaults() throws {
        let wrong = try glm(kvHeads: 2, context: 64, epsilon: 1e-5, base: 10_000)
        #expect(wrong.contextLength == 131_072 && wrong.warnings.count == 1)
        #expect(wrong.stopTokens == [151_329, 151_336, 151_338])
        let long = try glm(kvHeads: 4, context: 64, epsilon: 1e-5, base: 10_000)
        #expect(long.contextLength == 1_048_576)
        let right = try glm(kvHeads: 2, context: 8_192, epsilon: 1.5625e-7, base: 5e6)
        #expect(right.contextLength == 8_192 && right.warnings.isEmpty)
    }

    @Test("a split GGUF file is read whole, from any part", .enabled(if: SharedData.isPresent))
    func splitFile() throws {
        let whole = SharedData.path("models/stories260K/stories260K-Q8_0.gguf")
        let source = try GGUF(path: whole)
        let directory = try TemporaryDirectory()
        let perPart = (source.tensors.count + 2) / 3
        for part in 0..<3 {
            var writer = GGUFWriter()
            if part == 0 { writer.metadata = source.metadata.compactMap { copy($0.key, $0.value) } }
            writer.metadata += [
                ("split.no", .u16(UInt16(part))), ("split.count", .u16(3)),
                ("split.tensors.count", .i32(Int32(source.tensors.count))),
            ]
            for tensor in source.tensors.dropFirst(part * perPart).prefix(perPart) {
                guard case .stored(let type) = tensor.type else {
                    Issue.record("unexpected type")
                    continue
                }
                writer.tensors.append(.init(
                    name: tensor.name, shape: tensor.shape, type: type.ggml,
                    bytes: try tensor.file.bytes(at: tensor.offset, count: tensor.byteCount)))
            }
            try Data(writer.file()).write(
                to: directory.url.appendingPathComponent("s-0000\(part + 1)-of-00003.gguf"))
        }
        let tokens: [Int32] = [1, 403, 407, 261, 378]
        let expected = try Runner(BackendKind.reference.load(whole)).logits(tokens, chunk: 5)
        for path in [directory.path, directory.path + "/s-00002-of-00003.gguf"] {
            let model = try BackendKind.reference.load(path)
            #expect(try Runner(model).logits(tokens, chunk: 5) == expected)
            #expect(try ModelSource(path).tokenizer?.tokens.count == 512)
        }
        try FileManager.default.removeItem(
            at: directory.url.appendingPathComponent("s-00003-of-00003.gguf"))
        #expect(throws: CheckpointError.self) {
            _ = try GGUF(path: directory.path + "/s-00001-of-00003.gguf")
        }
    }

    private func copy(_ key: String, _ value: GGUFValue)
        -> (key: String, value: GGUFWriter.Value)?
    {
        switch value {
        case .unsigned(let value): (key, .u32(UInt32(value)))
        case .float(let value): (key, .f32(Float(value)))
        case .bool(let value): (key, .bool(value))
        case .string(let value): (key, .string(value))
        case .array(.strings(let values)): (key, .strings(values))
        case .array(.floats(let values)): (key, .floats(values))
        case .array(.integers(let values)): (key, .i32s(values.map { Int32($0) }))
        default: nil
        }
    }
}
