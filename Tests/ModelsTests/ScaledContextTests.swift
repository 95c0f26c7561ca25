import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// The context of a model whose rotary embedding was stretched.
@Suite struct ScaledContextTests {
    /// `max_position_embeddings` is 4096.
    static let cases: [(scaling: String, context: Int)] = [
        (scaling("yarn", 4, original: 4_096, key: "type"), 16_384),
        (scaling("yarn", 4, original: 1_024), 4_096),
        (scaling("yarn", 2, original: 1_024), 4_096),
        (scaling("yarn", 2.5), 10_240),
        (scaling("yarn", nil, original: 1_024), 4_096),
        (scaling("linear", 2, key: "type"), 8_192),
        (scaling("linear", 8, original: 2_048), 16_384),
        (scaling("dynamic", 2), 8_192),
        (scaling("dynamic", 4, original: 2_048, key: "type"), 8_192),
        (scaling("llama3", 8, original: 4_096), 4_096),
        (scaling("default", 8), 4_096),
    ]

    /// The members of such an object.
    private static func scaling(
        _ kind: String, _ factor: Double?, original: Int? = nil, key: String = "rope_type"
    ) -> String {
        "\"\(key)\": \"\(kind)\"" + (factor.map { ", \"factor\": \($0)" } ?? "")
            + (original.map { ", \"original_max_position_embeddings\": \($0)" } ?? "")
    }

    private func config(_ change: (inout TinyCheckpoint) -> Void) throws -> ModelConfig {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["max_position_embeddings"] = "4096"
        change(&checkpoint)
        let directory = try TemporaryDirectory()
        try checkpoint.write(to: directory.url)
        return try ModelSource(directory.path).config
    }

    @Test(arguments: cases)
    func reaches(scaling: String, context: Int) throws {
        let former = try config { $0.config["rope_scaling"] = "{\(scaling)}" }
        #expect(former.contextLength == context)
        let modern = try config {
            $0.config["rope_parameters"] = "{\"rope_theta\": 1e4, \(scaling)}"
        }
        #expect(modern.contextLength == context && modern.rope == former.rope)
        let both = try config {
            $0.config["rope_parameters"] = "{\"rope_theta\": 1e4, \"rope_type\": \"default\"}"
            $0.config["rope_scaling"] = "{\(scaling)}"
        }
        #expect(both.contextLength == context && both.rope == former.rope)
    }

    @Test("angles reach as far as the context, a sliding window still limits it")
    func tablesAndWindows() throws {
        var checkpoint = TinyCheckpoint.llama()
        checkpoint.config["rope_scaling"] = "{\(Self.cases[5].scaling)}"
        let directory = try TemporaryDirectory()
        try checkpoint.write(to: directory.url)
        // Twice the 256 positions of the tiny Llama; a step beyond them fails.
        let model = try BackendKind.cpu.load(directory.path)
        #expect(model.info.contextLength == 512)
        let tokens = (0..<513).map { Int32($0 % 60) }
        let reached = try Runner(model).logits(Array(tokens.dropLast()), chunk: 64)
        #expect(reached.count == 512 && reached.joined().allSatisfy { $0.isFinite })
        #expect(throws: BackendError.self) { _ = try Runner(model).logits(tokens, chunk: 64) }
        let limited = try config {
            $0.config["rope_scaling"] = "{\(Self.cases[0].scaling)}"
            $0.config["use_sliding_window"] = "true"
            $0.config["max_window_layers"] = "0"
            $0.config["sliding_window"] = "8192"
        }
        #expect(limited.contextLength == 8_192 && limited.warnings.count == 1)
    }

    @Test func impossibleContextsAreRefused() {
        for scaling in [
            "\"factor\": 65536, \"original_max_position_embeddings\": 268435456",
            "\"factor\": 1e300, \"original_max_position_embeddings\": 4096",
            "\"factor\": NaN", "\"factor\": 4, \"original_max_position_embeddings\": 0",
            "\"factor\": 4, \"original_max_position_embeddings\": 9223372036854775807",
        ] {
            for kind in ["linear", "dynamic", "yarn"] {
                #expect(throws: CheckpointError.self, "\(kind) \(scaling)") {
                    _ = try config {
                        $0.config["rope_scaling"] = "{\"rope_type\": \"\(kind)\", \(scaling)}"
                    }
                }
            }
        }
    }

    @Test(arguments: [
        ("yarn", UInt32(4_096), 16_384), ("linear", 4_096, 16_384), ("yarn", 512, 4_096),
        ("yarn", nil, 4_096), ("linear", nil, 4_096),
    ] as [(String, UInt32?, Int)])
    func gguf(kind: String, original: UInt32?, context: Int) throws {
        var writer = GGUFWriter()
        writer.metadata = [
            ("general.architecture", .string("qwen2")), ("qwen2.context_length", .u32(4_096)),
            ("qwen2.embedding_length", .u32(64)), ("qwen2.block_count", .u32(1)),
            ("qwen2.feed_forward_length", .u32(64)), ("qwen2.attention.head_count", .u32(8)),
            ("qwen2.rope.scaling.type", .string(kind)), ("qwen2.rope.scaling.factor", .f32(4)),
            ("tokenizer.ggml.tokens", .strings(["a", "b"])),
        ]
        if let original {
            writer.metadata.append(("qwen2.rope.scaling.original_context_length", .u32(original)))
        }
        let directory = try TemporaryDirectory()
        let path = directory.path + "/m.gguf"
        try Data(writer.file()).write(to: URL(fileURLWithPath: path))
        #expect(try ModelSource(path).config.contextLength == context)
    }
}
