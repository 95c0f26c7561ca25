import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// Models written by `autoglm quantize`.
@Suite struct QuantizerTests {
    private static let tokens: [Int32] = [1, 5, 9, 33, 2, 60, 17, 8, 44, 3]

    private func backend() throws -> CPUBackend {
        var options = ComputeOptions()
        options.precision = .f32
        options.cacheFormat = .f32
        options.threads = 2
        return try CPUBackend(options: options)
    }

    /// Quantises `source` into a directory of its own.
    private func quantised(
        _ source: String, _ name: String, panelOutputs: Int = 32, calibration: [Int32] = tokens
    ) throws -> (directory: TemporaryDirectory, report: Quantizer.Report) {
        let directory = try TemporaryDirectory()
        var options = Quantizer.Options(scheme: try #require(QuantizationScheme(name)))
        options.panelOutputs = panelOutputs
        let quantizer = try Quantizer(source, options: options)
        let report = try quantizer.write(to: directory.path, backend: try backend()) { model in
            _ = try Runner(model).logits(calibration, chunk: 4)
        }
        let size = try FileManager.default.attributesOfItem(
            atPath: directory.path + "/model.safetensors")[.size] as? Int
        #expect(size == report.bytes)
        #expect(report.bytes <= quantizer.bytesEstimated)
        return (directory, report)
    }

    private func logits(_ path: String, _ format: String? = nil, _ tokens: [Int32] = tokens)
        throws -> [[Float]]
    {
        var options = LoadOptions()
        options.weightFormat = format.flatMap { WeightFormat(rawValue: $0) }
        return try Runner(BackendKind.cpu.load(path, options: options)).logits(tokens, chunk: 7)
    }

    private func tiny(_ change: (inout TinyCheckpoint) -> Void = { _ in }) throws
        -> TemporaryDirectory
    {
        var checkpoint = TinyCheckpoint.llama()
        change(&checkpoint)
        let directory = try TemporaryDirectory()
        try checkpoint.write(to: directory.url)
        return directory
    }

    @Test(arguments: [
        "int8", "int4", "int4-asym", "int8-asym-g64", "int4-g128", "int8-channel",
        "int4-asym-channel", "int4-g64-weights", "int8-weights",
    ])
    func fileAndLoadAgree(_ scheme: String) throws {
        let source = try tiny()
        let (directory, report) = try quantised(source.path, scheme)
        let found = try logits(directory.path)
        #expect(found == (try logits(source.path, scheme)))
        #expect(found.joined().allSatisfy { $0.isFinite })
        #expect(report.files.contains("config.json"))
        let inspection = try ModelInspection(directory.path)
        #expect(inspection.scheme?.name == scheme && inspection.quantization == scheme)
        let info = try ModelInspection(source.path).info
        #expect(inspection.info.parameterCount == info.parameterCount)
        let model = try BackendKind.cpu.load(directory.path)
        var options = LoadOptions()
        options.weightFormat = WeightFormat(rawValue: scheme)
        let onLoad = try BackendKind.cpu.load(source.path, options: options)
        #expect(model.info.weightBytesPerStep > 0)
        #expect(onLoad.info.parametersPerToken == model.info.parametersPerToken)
        // The same scheme once more on load changes nothing; another is refused.
        #expect(try logits(directory.path, scheme) == found)
        #expect(throws: CheckpointError.self) { try logits(directory.path, "int8-g128") }
        #expect(throws: CheckpointError.self) { try logits(directory.path, "bf16") }
    }

    static let references = [
        "glm4-9b-chat-hf", "glm4-9b-chat-original-layout", "glm4-0414-9b", "glm45-moe",
        "glm45-moe-grouped", "llama3-tied-f32", "qwen2", "qwen3",
    ]

    @Test(.enabled(if: SharedData.isPresent), arguments: references)
    func everyArchitecture(_ name: String) throws {
        let source = SharedData.path("reference-models/" + name)
        for scheme in ["int8", "int4-asym-g64"] {
            let (directory, _) = try quantised(source, scheme)
            let found = try logits(directory.path)
            #expect(found == (try logits(source, scheme)), "\(scheme)")
            #expect(found.joined().allSatisfy { $0.isFinite })
        }
        // Eight bits stay near the floats, where they cannot choose other experts.
        if name.contains("moe") { return }
        let (directory, _) = try quantised(source, "int8-weights")
        let exact = try logits(source)
        for (row, near) in zip(exact, try logits(directory.path)) {
            let size = (row.reduce(0) { $0 + $1 * $1 } / Float(row.count)).squareRoot()
            #expect(largestDifference(row, near) < 0.25 * size + 0.02)
        }
    }

    @Test(arguments: [8, 16, 64, 128])
    func panelsOfOtherWidths(_ width: Int) throws {
        let source = try tiny()
        for scheme in ["int4", "int8-asym", "int8-static"] {
            let (own, _) = try quantised(source.path, scheme)
            let (other, _) = try quantised(source.path, scheme, panelOutputs: width)
            #expect(try logits(other.path) == logits(own.path), "\(scheme)")
        }
    }

    @Test func fixedScales() throws {
        let source = try tiny()
        let (directory, report) = try quantised(source.path, "int8-static")
        #expect(report.calibrated == 9 && report.uncalibrated == 0)
        let model = try BackendKind.cpu.load(directory.path)
        let found = try Runner(model).logits(Self.tokens, chunk: 10)
        #expect(found != (try logits(source.path, "int8")))
        for (row, near) in zip(try logits(source.path), found) {
            #expect(largestDifference(row, near) < 0.5)
        }
        // Alone, in pieces and in a batch: the same bits.
        for chunk in [1, 3] {
            #expect(try Runner(model).logits(Self.tokens, chunk: chunk) == found)
        }
        let runner = try Runner(model)
        var batch = [
            runner.sequence([7, 7, 7, 9, 2, 3]), runner.sequence(Self.tokens),
            runner.sequence([63, 1]),
        ]
        #expect(try runner.step(&batch, rows: [6, 10, 2])[1] == found)
        for kind in BackendKind.allCases where kind != .reference && kind != .cpu {
            let other = try Runner(kind.load(directory.path)).logits(Self.tokens, chunk: 5)
            for (a, b) in zip(found, other) { #expect(largestDifference(a, b) < 0.05) }
        }
        // On load there is no text to measure.
        #expect(throws: CheckpointError.self) { try logits(source.path, "int8-static") }
    }

    @Test(.enabled(if: SharedData.isPresent)) func expertsNeverReachedStayDynamic() throws {
        let source = SharedData.path("reference-models/glm45-moe")
        let (directory, report) = try quantised(source, "int8-static", calibration: [1, 2])
        #expect(report.uncalibrated > 0 && report.calibrated > 0)
        #expect(try logits(directory.path).joined().allSatisfy { $0.isFinite })
    }

    @Test func whatIsQuantisedAlreadyIsRefused() throws {
        let source = try tiny()
        let (directory, _) = try quantised(source.path, "int8")
        let gptq = try tiny {
            $0.config["quantization_config"] = "{\"quant_method\": \"gptq\", \"bits\": 4}"
        }
        var writer = GGUFWriter()
        writer.metadata = [("general.architecture", .string("llama"))]
        let gguf = source.path + "/m.gguf"
        try Data(writer.file()).write(to: URL(fileURLWithPath: gguf))
        let options = Quantizer.Options(scheme: QuantizationScheme(bits: 4))
        for (path, word) in [
            (directory.path, "original"), (gptq.path, "GPTQ"), (gguf, "safetensors"),
        ] {
            do {
                _ = try Quantizer(path, options: options)
                Issue.record("\(path) was taken")
            } catch {
                #expect(error.description.contains(word), "\(error)")
            }
        }
    }

    // MARK: Broken files

    /// Changes the header of the weights, keeping its length.
    private func edit(_ directory: TemporaryDirectory, _ old: String, _ new: String) throws {
        #expect(old.utf8.count == new.utf8.count)
        let url = directory.url.appendingPathComponent("model.safetensors")
        var data = try Data(contentsOf: url)
        let range = try #require(data.range(of: Data(old.utf8)), "\(old)")
        data.replaceSubrange(range, with: Data(new.utf8))
        try data.write(to: url)
    }

    private func expectRefusal(
        _ directory: TemporaryDirectory, _ word: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do {
            _ = try BackendKind.cpu.load(directory.path)
            Issue.record("loaded", sourceLocation: sourceLocation)
        } catch {
            let text = "\(error)"
            #expect(text.contains(word), "\(text)", sourceLocation: sourceLocation)
            #expect(error is CheckpointError, sourceLocation: sourceLocation)
        }
    }

    @Test func brokenHeadersAreRefused() throws {
        let source = try tiny()
        for (old, new, word) in [
            ("\"format\":\"autoglm-panels\"", "\"format\":\"autoglm-panel_\"", "format"),
            ("\"version\":\"1\"", "\"version\":\"2\"", "quantise the original"),
            ("\"layout\":\"group32-step4\"", "\"layout\":\"group32-step8\"", "step8"),
            ("\"scheme\":\"int4-static\"", "\"scheme\":\"int3-static\"", "int8 or int4"),
            ("\"panel_outputs\":\"32\"", "\"panel_outputs\":\"33\"", "one of"),
            ("\"panel_outputs\":\"32\"", "\"panel_outputs\":\"16\"", "shape"),
            ("\"parameters\":\"", "\"parameters\":\"-", "parameters"),
            ("down_proj.panels.q4", "down_proj.panels.qx", "down_proj"),
            ("down_proj.panels.q4", "down_proj.panels.q8", "shape"),
            ("down_proj.input_scales", "down_proj.input_scalez", "no use for"),
        ] {
            let (directory, _) = try quantised(source.path, "int4-static")
            if old == "\"parameters\":\"" {
                let url = directory.url.appendingPathComponent("model.safetensors")
                var data = try Data(contentsOf: url)
                let range = try #require(data.range(of: Data(old.utf8)))
                data.replaceSubrange(range.upperBound..<range.upperBound + 1, with: Data("-".utf8))
                try data.write(to: url)
            } else {
                try edit(directory, old, new)
            }
            expectRefusal(directory, word)
        }
    }

    @Test func truncatedFilesAreRefused() throws {
        let source = try tiny()
        let (directory, report) = try quantised(source.path, "int4-asym")
        let url = directory.url.appendingPathComponent("model.safetensors")
        let whole = try Data(contentsOf: url)
        for count in [0, 7, 100, 4096, report.bytes / 2, report.bytes - 1] {
            try whole.prefix(count).write(to: url)
            #expect(throws: CheckpointError.self) { try BackendKind.cpu.load(directory.path) }
        }
        try (whole + [0]).write(to: url)
        #expect(throws: CheckpointError.self) { try BackendKind.cpu.load(directory.path) }
        try whole.write(to: url)
        _ = try BackendKind.cpu.load(directory.path)
    }

    @Test func wrongScalesAreRefused() throws {
        let source = try tiny()
        for bad in [Float.nan, 0, -1, .infinity, 1e-35] {
            let (directory, _) = try quantised(source.path, "int8-static")
            let url = directory.url.appendingPathComponent("model.safetensors")
            var data = try Data(contentsOf: url)
            // The scales come last.
            let bits = bad.bitPattern
            let bytes = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt32($0))) }
            data.replaceSubrange(data.count - 4..<data.count, with: bytes)
            try data.write(to: url)
            expectRefusal(directory, "scales must be")
        }
    }

    @Test func configurationsThatDisagreeAreRefused() throws {
        let source = try tiny()
        let (directory, _) = try quantised(source.path, "int4")
        let url = directory.url.appendingPathComponent("config.json")
        let text = try String(contentsOf: url, encoding: .utf8)
        func write(_ changed: String) throws {
            #expect(changed != text)
            try changed.write(to: url, atomically: false, encoding: .utf8)
        }
        // Another shape than the panels have.
        try write(text.replacingOccurrences(of: ": 96", with: ": 192"))
        expectRefusal(directory, "shape")
        try write(text.replacingOccurrences(of: "\"int4\"", with: "\"int4-magic\""))
        expectRefusal(directory, "int8 or int4")
        // The plain weights under a configuration that promises panels.
        try text.write(to: url, atomically: false, encoding: .utf8)
        let weights = directory.url.appendingPathComponent("model.safetensors")
        try FileManager.default.removeItem(at: weights)
        try FileManager.default.copyItem(
            at: source.url.appendingPathComponent("model.safetensors"), to: weights)
        expectRefusal(directory, "format")
    }
}
