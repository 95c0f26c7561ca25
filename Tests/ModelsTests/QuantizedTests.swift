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
