import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// What a loader says about checkpoints that do not fit.
@Suite struct CheckpointTests {
    private func load(_ checkpoint: TinyCheckpoint, options: LoadOptions = LoadOptions()) throws
        -> any CausalLM
    {
        let directory = try TemporaryDirectory()
        try checkpoint.write(to: directory.url)
        return try BackendKind.reference.load(directory.path, options: options)
    }

    /// The error that loading throws.
    private func failure(_ checkpoint: TinyCheckpoint) -> CheckpointError? {
        do {
            _ = try load(checkpoint)
            return nil
        } catch {
            return error as? CheckpointError
        }
    }

    @Test func aTinyLlamaLoadsAndRuns() throws {
        let model = try load(.llama())
        #expect(model.info.layers == 2 && model.info.headDim == 8 && model.info.beginToken == 1)
        #expect(model.info.stopTokens == [2])
        #expect(model.info.parameterCount == 64 * 32 * 2 + 32 + 2 * (2 * 32 + 3_072 + 3 * 3_072))
        // 2 layers × 2 × 2 heads × 8 values × 4 bytes
        #expect(model.info.bytesPerToken == 256)
        let logits = try Runner(model).logits([1, 5, 9], chunk: 2)
        #expect(logits.count == 3 && logits.allSatisfy { $0.allSatisfy(\.isFinite) })
    }

    @Test func aMissingTensorIsNamedInFull() {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.tensors["model.layers.1.mlp.down_proj.weight"] = nil
        guard case .missingTensor(let name, _, _)? = failure(checkpoint) else {
            Issue.record("not refused")
            return
        }
        #expect(name == "model.layers.1.mlp.down_proj.weight")
    }

    @Test func aMisshapenTensorIsNamedWithBothShapes() {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.tensors["model.norm.weight"]?.shape = [8, 4]
        guard case .misshapenTensor(let name, _, let shape, let expected)? = failure(checkpoint)
        else {
            Issue.record("not refused")
            return
        }
        #expect(name == "model.norm.weight" && shape == [8, 4] && expected == [32])
    }

    @Test func unclaimedTensorsAreRefusedButNotRotaryBuffers() {
        var generator = SplitMix64(seed: 1)
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.addRandom(
            "model.layers.0.self_attn.rotary_emb.inv_freq", [4], scale: 1, &generator)
        #expect(failure(checkpoint) == nil)
        checkpoint.addRandom("model.layers.0.self_attn.q_proj.bias", [32], scale: 1, &generator)
        #expect(failure(checkpoint) != nil)
        checkpoint.config["attention_bias"] = "false"
        guard case .unclaimedTensors(let names, let count, _)? = failure(checkpoint) else {
            Issue.record("not refused")
            return
        }
        #expect(names == ["model.layers.0.self_attn.q_proj.bias"] && count == 1)
    }

    @Test func aWeightOfAStrangeTypeIsRefused() {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.tensors["lm_head.weight"]?.dtype = "I32"
        guard case .unsupported? = failure(checkpoint) else {
            Issue.record("not refused")
            return
        }
    }

    @Test func tiedEmbeddingsIgnoreASecondCopy() throws {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["tie_word_embeddings"] = "true"
        let twice = try Runner(load(checkpoint)).logits([1, 5], chunk: 2)
        checkpoint.tensors["lm_head.weight"] = nil
        let once = try Runner(load(checkpoint)).logits([1, 5], chunk: 2)
        #expect(once == twice)
    }

    @Test func everyImpossibleNumberIsRefusedByName() {
        let huge = "1099511627776"
        let cases: [(String, [String])] = [
            ("num_hidden_layers", ["0", "-1", huge, "1.5", "\"2\""]),
            ("hidden_size", ["0", "-32", huge, "33"]),
            ("num_attention_heads", ["0", "-4", "3", huge]),
            ("num_key_value_heads", ["0", "-2", "3", huge]),
            ("head_dim", ["0", "-8", "7", huge, "9223372036854775807"]),
            ("intermediate_size", ["0", "-1", huge]),
            ("vocab_size", ["0", "-1", huge, "99999999999999999999"]),
            ("max_position_embeddings", ["0", "-1", huge]),
            ("rms_norm_eps", ["0", "-1e-5", "1", "NaN", "Infinity", "\"x\""]),
            ("rope_theta", ["0", "-1", "NaN", "Infinity", "1"]),
            ("partial_rotary_factor", ["0", "-0.5", "1.5", "NaN"]),
            ("hidden_act", ["\"gelu\"", "7"]),
            ("rope_scaling", ["7", "{\"type\": \"spiral\"}", "{\"type\": \"linear\"}",
                "{\"type\": \"linear\", \"factor\": 0}",
                "{\"type\": \"yarn\", \"factor\": NaN}",
                "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
                    + "\"high_freq_factor\": 1}"]),
            ("eos_token_id", ["\"</s>\"", "[\"x\"]"]),
            ("architectures", ["[\"BertModel\"]", "7"]),
        ]
        for (key, values) in cases {
            for value in values {
                var checkpoint = TinyCheckpoint.llama()
                checkpoint.config[key] = value
                let error = failure(checkpoint)
                #expect(error != nil, "\(key) = \(value)")
                let text = error.map { "\($0)" } ?? ""
                #expect(text.contains("config.json"), "\(text)")
            }
        }
    }

    @Test func anUnknownArchitectureListsTheKnownOnes() {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["architectures"] = "[\"FalconForCausalLM\"]"
        guard case .unknownArchitecture(let name, _, let known)? = failure(checkpoint) else {
            Issue.record("not refused")
            return
        }
        #expect(name == "FalconForCausalLM")
        #expect(known.contains("GlmForCausalLM") && known.contains("Qwen3ForCausalLM"))
    }

    @Test func unknownKeysAndNonFiniteNumbersAreNoObstacle() throws {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["some_loss"] = "NaN"
        checkpoint.config["limits"] = "[-Infinity, Infinity, {\"a\": null}]"
        #expect(try load(checkpoint).info.hidden == 32)
    }

    @Test func aStopTokenOutsideTheVocabularyIsAWarning() throws {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["eos_token_id"] = "[2, 640]"
        let info = try load(checkpoint).info
        #expect(info.stopTokens == [2] && info.warnings.count == 1)
    }

    @Test func generationConfigAddsStopTokens() throws {
        let directory = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: directory.url)
        try Data("{\"eos_token_id\": [3, 2], \"temperature\": 0.8, \"top_p\": 0.9}".utf8)
            .write(to: directory.url.appendingPathComponent("generation_config.json"))
        let source = try ModelSource(directory.path)
        #expect(ModelInspection(source).info.stopTokens == [2, 3])
        #expect(source.generationConfig["temperature"]?.doubleValue == 0.8)
        #expect(source.generationConfig["top_k"] == nil)
        #expect(source.directory == directory.path && source.tokenizer == nil)
    }

    @Test func aSourceIsReadOnceAndLoadedInSeveralWays() throws {
        let directory = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: directory.url)
        let source = try ModelSource(directory.path + "/model.safetensors")
        #expect(source.directory == directory.path && source.generationConfig.isNull)
        let identity = try #require(source.fileIdentities.first)
        #expect(identity.name == "model.safetensors" && source.fileIdentities.count == 1)
        #expect(identity.byteCount == TinyCheckpoint.llama().safetensors().count)
        #expect(identity.modified > .seconds(1_700_000_000))
        // Without its configuration, only what was read before is left.
        try FileManager.default.removeItem(atPath: directory.path + "/config.json")
        var options = LoadOptions()
        options.contextLength = 100
        let short = try source.with(options)
        #expect(short.config.contextLength == 100 && source.config.contextLength == 256)
        options.contextLength = nil
        #expect(try short.with(options).config.contextLength == 256)
        let model = try ModelLoader.load(short, backend: ReferenceBackend())
        #expect(model.info.contextLength == 100)
        options.contextLength = 0
        #expect(throws: CheckpointError.self) { _ = try source.with(options) }
    }

    @Test("an index may not lead out of its directory")
    func indexPaths() throws {
        for shard in ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "model.bin"] {
            let directory = try TemporaryDirectory()
            try TinyCheckpoint.llama().write(to: directory.url)
            try Data("{\"weight_map\": {\"model.norm.weight\": \"\(shard)\"}}".utf8).write(
                to: directory.url.appendingPathComponent("model.safetensors.index.json"))
            #expect(throws: CheckpointError.self, "\(shard)") {
                _ = try BackendKind.reference.load(directory.path)
            }
        }
    }

    @Test("a file cut after it was opened is an error of the read")
    func cutWhileOpen() throws {
        let directory = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: directory.url)
        let url = directory.url.appendingPathComponent("model.safetensors")
        let file = try CheckpointFile(path: url.path)
        let tensors = try Safetensors.weights(of: file).tensors
        let last = try #require(tensors.max { $0.offset < $1.offset })
        let handle = try FileHandle(forWritingTo: url)
        try handle.truncate(atOffset: UInt64(last.offset))
        try handle.close()
        #expect(throws: CheckpointError.self) {
            _ = try file.bytes(at: last.offset, count: last.byteCount)
        }
    }

    @Test func pickledWeightsAreNeverRead() throws {
        let directory = try TemporaryDirectory()
        for name in ["pytorch_model.bin", "model.safetensors"] {
            let path = directory.path + "/" + name
            try Data([0x80, 0x02, 0x7D, 0x71, 0x00, 0x2E] + [UInt8](repeating: 0x50, count: 64))
                .write(to: URL(fileURLWithPath: path))
            try Data(TinyCheckpoint.llama().configText().utf8).write(
                to: directory.url.appendingPathComponent("config.json"))
            #expect(throws: CheckpointError.self) { _ = try BackendKind.reference.load(path) }
        }
    }

    @Test("a header with 100,000 tensors is read in two seconds")
    func manyTensors() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/model.safetensors"
        let header = "{" + (0..<100_000).map {
            "\"model.layers.\($0).self_attn.q_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[1],"
                + "\"data_offsets\":[\(2 * $0),\(2 * $0 + 2)]}"
        }.joined(separator: ",") + "}"
        let text = Array(header.utf8)
        var bytes = (0..<8).map { UInt8(UInt64(text.count) >> (8 * UInt64($0)) & 0xFF) }
        bytes += text + [UInt8](repeating: 0, count: 200_000)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let start = ContinuousClock.now
        #expect(try Safetensors.weights(of: CheckpointFile(path: path)).tensors.count == 100_000)
        #expect(ContinuousClock.now - start < .seconds(2))
    }

    @Test func progressEndsAtTheWhole() throws {
        let collected = Collector()
        var options = LoadOptions()
        options.progress = { collected.add($0) }
        _ = try load(.llama(), options: options)
        let steps = collected.steps
        #expect(steps.count == 13 && steps.last?.bytesRead == steps.last?.bytesTotal)
        #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.bytesRead <= $1.bytesRead })
    }

    @Test("inspection says before loading what loading finds", .enabled(if: SharedData.isPresent))
    func inspection() throws {
        for form in ModelForm.plain + ModelForm.others where form.backend == .reference {
            var options = LoadOptions()
            options.cacheFormat = .f32
            options.configurationFile = form.configuration
            let inspection = try ModelInspection(form.path, options: options)
            let info = try form.load().info
            #expect(inspection.info.parameterCount == info.parameterCount)
            #expect(inspection.info.bytesPerToken == info.bytesPerToken)
            let memory = try #require(inspection.memory(context: 100, concurrency: 3))
            #expect(
                memory == inspection.info.weightBytes + 3 * 112 * info.bytesPerToken)
        }
        #expect(try ModelInspection(ModelForm.plain[0].path).memory(concurrency: .max) == nil)
    }
}

private final class Collector: @unchecked Sendable {
    // Guarded by the loader: it calls on one thread.
    private(set) var steps: [LoadProgress] = []
    func add(_ step: LoadProgress) { steps.append(step) }
}
