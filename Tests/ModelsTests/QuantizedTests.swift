import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// Layers quantised by other programs mean what those programs say.
@Suite struct QuantizedTests {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        struct Tensor: Decodable {
            let dtype: String
            let shape: [Int]
            let data: Data
        }
        let name: String
        let tensors: [String: Tensor]
        /// The form the layer is handed on in.
        let stored: String
        let expected: Data
        var testDescription: String { name }
    }

    static let layers: [(layer: Case, config: String)] = {
        let url = SharedData.repository.appendingPathComponent("Tests/Golden/quantized/layers.json")
        guard let data = try? Data(contentsOf: url),
            let layers = try? JSONDecoder().decode([Case].self, from: data),
            let texts = try? JSONSerialization.jsonObject(with: data) as? [[String: Any]]
        else { return [] }
        return zip(layers, texts).compactMap { layer, text in
            (try? JSONSerialization.data(withJSONObject: text["config"] as Any)).map {
                (layer, String(decoding: $0, as: UTF8.self))
            }
        }
    }()

    private let path = "model.layers.0.mlp.down_proj."

    private func write(_ checkpoint: TinyCheckpoint) throws -> TemporaryDirectory {
        let directory = try TemporaryDirectory()
        try checkpoint.write(to: directory.url)
        return directory
    }

    @Test(arguments: layers)
    func valuesAreExact(layer: Case, config: String) throws {
        var plain = TinyCheckpoint.llama()
        plain.tensors[path + "weight"] = .init(
            dtype: "F32", shape: [32, 96], bytes: Array(layer.expected))
        var quantized = TinyCheckpoint.llama()
        quantized.tensors[path + "weight"] = nil
        for (name, tensor) in layer.tensors {
            quantized.tensors[path + name] = .init(
                dtype: tensor.dtype, shape: tensor.shape, bytes: Array(tensor.data))
        }
        quantized.config["quantization_config"] = config
        let tokens: [Int32] = [1, 5, 9, 33]
        let plainDirectory = try write(plain)
        let directory = try write(quantized)
        for backend in BackendKind.allCases {
            let expected = try Runner(backend.load(plainDirectory.path)).logits(tokens, chunk: 4)
            let model = try backend.load(directory.path)
            let found = try Runner(model).logits(tokens, chunk: 4)
            // The CPU multiplies blocks by quantised activations, so only the reference is exact.
            if backend == .reference || layer.stored == "f32" {
                #expect(found == expected)
            } else {
                for (a, b) in zip(found, expected) {
                    #expect(largestDifference(a, b) < 0.1, "\(backend.rawValue)")
                }
            }
            let plainBytes = 4 * 32 * 96
            let blockBytes = ["q4_0": 18, "q8_0": 34, "f32": 128][layer.stored] ?? 0
            let others = try backend.load(plainDirectory.path).info.weightBytes - plainBytes
            #expect(model.info.weightBytes == others + 32 * 3 * blockBytes)
            #expect(
                try ModelInspection(directory.path).info.parameterCount
                    == ModelInspection(plainDirectory.path).info.parameterCount)
        }
    }

    @Test func thereAreAllCases() { #expect(Self.layers.count == 12) }

    /// A GPTQ layer whose packed words are all the same.
    struct Uniform: Sendable {
        var bits = 4
        var label: String?
        var isSymmetric: Bool?
        let weights: UInt32
        let zeros: UInt32
        /// Times the scale of 0.5.
        let difference: Float
    }

    static let uniform = [
        // Zero points tell by themselves which format they are in, …
        Uniform(
            label: "gptq", isSymmetric: true, weights: 0x9999_9999, zeros: 0x8888_8888,
            difference: 1),
        Uniform(
            label: "gptq", isSymmetric: true, weights: 0x9999_9999, zeros: 0x7777_7777,
            difference: 1),
        Uniform(
            label: "gptq_v2", isSymmetric: true, weights: 0xBBBB_BBBB, zeros: 0x7777_7777,
            difference: 3),
        Uniform(
            label: "gptq_v2", isSymmetric: true, weights: 0xBBBB_BBBB, zeros: 0x8888_8888,
            difference: 3),
        Uniform(label: "gptq", weights: 0x4444_4444, zeros: 0x8888_8888, difference: -4),
        Uniform(weights: 0x4444_4444, zeros: 0x8888_8888, difference: -4),
        Uniform(label: "gptq_v2", weights: 0x4444_4444, zeros: 0x7777_7777, difference: -4),
        Uniform(
            bits: 8, label: "gptq", isSymmetric: true, weights: 0x8181_8181, zeros: 0x8080_8080,
            difference: 1),
        Uniform(
            bits: 8, label: "gptq_v2", weights: 0x7C7C_7C7C, zeros: 0x7F7F_7F7F, difference: -4),
        Uniform(bits: 8, weights: 0x7C7C_7C7C, zeros: 0x7F7F_7F7F, difference: -4),
        // … where they cannot, the label counts.
        Uniform(
            label: "gptq", isSymmetric: false, weights: 0x9999_9999, zeros: 0x8888_8888,
            difference: 0),
        Uniform(
            label: "gptq_v2", isSymmetric: false, weights: 0x9999_9999, zeros: 0x7777_7777,
            difference: 2),
        Uniform(
            label: "gptq", isSymmetric: true, weights: 0x9999_9999, zeros: 0x7878_7878,
            difference: .nan),
        Uniform(label: "gptq_v2", weights: 0x9999_9999, zeros: 0x5555_5555, difference: 4),
        Uniform(label: "gptq", weights: 0x9999_9999, zeros: 0x5555_5555, difference: 3),
    ]

    @Test("GPTQ zero points count for more than their label", arguments: uniform)
    func zeroPoints(layer: Uniform) throws {
        func little(_ word: UInt32, _ count: Int) -> [UInt8] {
            (0..<count).flatMap { _ in (0..<4).map { UInt8(word >> (8 * $0) & 0xFF) } }
        }
        let perWord = 32 / layer.bits
        var quantized = TinyCheckpoint.llama()
        quantized.tensors[path + "weight"] = nil
        quantized.tensors[path + "qweight"] = .init(
            dtype: "I32", shape: [96 / perWord, 32],
            bytes: little(layer.weights, 96 / perWord * 32))
        quantized.tensors[path + "qzeros"] = .init(
            dtype: "I32", shape: [3, 32 / perWord], bytes: little(layer.zeros, 3 * 32 / perWord))
        quantized.tensors[path + "scales"] = .init(
            dtype: "F16", shape: [3, 32], bytes: little(0x3800_3800, 48))
        let label = layer.label.map { ", \"checkpoint_format\": \"\($0)\"" } ?? ""
        let symmetric = layer.isSymmetric.map { ", \"sym\": \($0)" } ?? ""
        quantized.config["quantization_config"] =
            "{\"quant_method\": \"gptq\", \"bits\": \(layer.bits), \"group_size\": 32"
            + label + symmetric + "}"
        var plain = TinyCheckpoint.llama()
        let values: [Float] = (0..<32 * 96).map { index in
            // Words of two values: the lower nibble is of the even row.
            let zero: Float = (index / 96).isMultiple(of: 2) ? 9 : 8
            return 0.5 * (layer.difference.isNaN ? 9 - zero : layer.difference)
        }
        plain.tensors[path + "weight"] = .init(
            dtype: "F32", shape: [32, 96], bytes: values.flatMap { little($0.bitPattern, 1) })
        let tokens: [Int32] = [1, 5, 9, 33]
        let (expected, found) = (try write(plain), try write(quantized))
        #expect(
            try Runner(BackendKind.reference.load(found.path)).logits(tokens, chunk: 4)
                == Runner(BackendKind.reference.load(expected.path)).logits(tokens, chunk: 4))
    }

    @Test func brokenLayersAreRefused() throws {
        let (layer, config) = try #require(
            Self.layers.first { $0.layer.name == "gptq-4-reordered" })
        for fault in ["scales", "qzeros", "qweight", "g_idx", "bits", "method"] {
            var checkpoint = TinyCheckpoint.llama()
            checkpoint.tensors[path + "weight"] = nil
            for (name, tensor) in layer.tensors where name != fault {
                checkpoint.tensors[path + name] = .init(
                    dtype: tensor.dtype, shape: tensor.shape, bytes: Array(tensor.data))
            }
            checkpoint.config["quantization_config"] = config
            switch fault {
            case "g_idx":
                checkpoint.tensors[path + "g_idx"] = .init(
                    dtype: "I32", shape: [96], bytes: [UInt8](repeating: 0x7F, count: 96 * 4))
            case "bits":
                checkpoint.config["quantization_config"] =
                    config.replacingOccurrences(of: "\"bits\":4", with: "\"bits\":0")
            case "method":
                checkpoint.config["quantization_config"] = "{\"quant_method\": \"magic\"}"
            default: break
            }
            let directory = try write(checkpoint)
            #expect(throws: CheckpointError.self, "\(fault)") {
                _ = try BackendKind.reference.load(directory.path)
            }
        }
    }
}
