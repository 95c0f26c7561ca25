import CAutoGLMKernels
import Foundation
import TestKit
import Testing

@testable import AutoGLMCompute

/// One type of `gguf-quant/dequantize.json`.
private struct Vectors: Decodable {
    var data_base64: String
    var expected_float32_base64: String
    var quantize_input_float32_base64: String?
    var quantize_expected_base64: String?
}
private struct VectorFile: Decodable { var types: [String: Vectors] }

extension StoredType {
    /// The name GGUF tools use.
    var ggufName: String { name.uppercased() }
    static func named(_ name: String) -> StoredType { allCases.first { $0.name == name } ?? f32 }
    static let quantised = allCases.filter { $0.block.values > 1 }
    /// Places of the f16 scales in a block.
    var scalesAt: [Int] {
        switch name {
        case "q8_0", "q4_0", "q5_0", "iq4_NL", "iq4_XS": [0]
        case "q4_1", "q5_1", "q4_K", "q5_K": [0, 2]
        case "q2_K": [80, 82]
        case "q3_K": [108]
        case "q6_K": [208]
        default: []
        }
    }
    /// Random blocks whose scales are ordinary numbers.
    func randomBlocks(_ count: Int, _ random: inout Random) -> [UInt8] {
        var bytes = (0..<count * block.bytes).map { _ in
            UInt8(truncatingIfNeeded: random.next() >> 20)
        }
        for b in 0..<count {
            for at in scalesAt {
                let h = Float16(random.float()).bitPattern
                bytes[b * block.bytes + at] = UInt8(h & 255)
                bytes[b * block.bytes + at + 1] = UInt8(h >> 8)
            }
        }
        return bytes
    }
    func values(_ blocks: [UInt8]) -> [Float] {
        let count = blocks.count / block.bytes * block.values
        return [Float](unsafeUninitializedCapacity: count) { buffer, used in
            k_dequantize(kernels, blocks, count, buffer.baseAddress!)
            used = count
        }
    }
}

@Suite struct QuantBlocksTests {
    private static func vectors() throws -> [String: Vectors] {
        let url = try #require(SharedData.url("gguf-quant/dequantize.json"))
        return try JSONDecoder().decode(VectorFile.self, from: Data(contentsOf: url)).types
    }
    private static func bytes(_ text: String) throws -> [UInt8] {
        [UInt8](try #require(Data(base64Encoded: text)))
    }
    private static func floats(_ text: String) throws -> [Float] {
        try bytes(text).withUnsafeBytes { raw in
            (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        }
    }

    @Test(.enabled(if: SharedData.isPresent)) func blocksStandForTheirExactValues() throws {
        let all = try Self.vectors()
        var seen = 0
        for type in StoredType.allCases {
            guard let vectors = all[type.ggufName] else { continue }
            seen += 1
            let values = type.values(try Self.bytes(vectors.data_base64))
            let wanted = try Self.floats(vectors.expected_float32_base64)
            #expect(values.count == wanted.count)
            let different = zip(values, wanted).filter { $0.bitPattern != $1.bitPattern }
            #expect(different.isEmpty, "\(type): \(different.prefix(3))")
        }
        #expect(seen >= 10)
    }

    @Test(.enabled(if: SharedData.isPresent)) func roundingGivesTheSameBytes() throws {
        var seen = 0
        for (name, vectors) in try Self.vectors() {
            guard let type = StoredType.allCases.first(where: { $0.ggufName == name }),
                let input = vectors.quantize_input_float32_base64,
                let output = vectors.quantize_expected_base64
            else { continue }
            let x = try Self.floats(input)
            let wanted = try Self.bytes(output)
            var blocks = [UInt8](repeating: 0, count: wanted.count)
            guard k_quantize(type.kernels, x, x.count, &blocks) else { continue }
            seen += 1
            #expect(blocks == wanted, "\(type)")
        }
        #expect(seen >= 3)
    }

    /// Every type has a form; a row comes back out of it with the very same bits.
    @Test(arguments: StoredType.quantised) func panelsHoldBlocksWithoutLoss(_ type: StoredType)
        throws
    {
        var random = Random(5)
        let format = k_stored_format(type.kernels)
        let operations = try #require(k_quant_set_formats(K_QUANT_SCALAR, format)).pointee
        for groups in type.block.values == 32 ? [1, 7, 8, 9, 33] : [8, 24] {
            let inputs = groups * 32
            let blocks = inputs / type.block.values
            for rows in [32, 13] {
                let bytes = type.randomBlocks(rows * blocks, &random)
                let values = type.values(bytes)
                let panel = Panel(bytes: operations.panel_bytes(Int32(inputs)))
                bytes.withUnsafeBufferPointer { b in
                    var pointers = (0..<32).map { o -> UnsafePointer<UInt8>? in
                        o < rows ? b.baseAddress! + o * blocks * type.block.bytes : nil
                    }
                    operations.pack(panel.start, Int32(inputs), type.kernels, &pointers, nil)
                }
                var row = [Float](repeating: .nan, count: inputs)
                for o in 0..<32 {
                    operations.unpack(panel.start, Int32(inputs), Int32(o), &row)
                    if o < rows {
                        #expect(bits(row) == bits(Array(values[o * inputs..<(o + 1) * inputs])))
                    } else {
                        #expect(row.allSatisfy { $0 == 0 })
                    }
                }
            }
        }
    }

    @Test func roundedRowsAreNear() {
        var random = Random(6)
        let inputs = 300
        let groups = 10
        for bits in [4, 8] {
            for group in [0, 32, 64, 128] {
                for asymmetric in [false, true] {
                    let x = random.floats(inputs).map { $0 + (asymmetric ? 0.4 : 0) }
                    var q = [UInt8](repeating: 0, count: inputs)
                    var scale = [Float](repeating: 0, count: groups)
                    var minimum = scale
                    if asymmetric {
                        k_round_row(
                            x, Int32(inputs), Int32(bits), Int32(group), &q, &scale, &minimum)
                    } else {
                        k_round_row(x, Int32(inputs), Int32(bits), Int32(group), &q, &scale, nil)
                    }
                    let half = Float(asymmetric ? 0 : 1 << (bits - 1))
                    for k in 0..<inputs {
                        let y = scale[k / 32] * (Float(q[k]) - half) + minimum[k / 32]
                        // Half a step, and as much again where the zero point was rounded.
                        #expect(abs(y - x[k]) <= scale[k / 32] * 1.01, "\(bits) \(group) \(k)")
                    }
                    #expect(group == 32 || group == 64 || scale[0] == scale[3])
                }
            }
        }
    }

    @Test func noTypeHasAFormatByMistake() {
        for (type, format) in [
            (StoredType.f32, K_FORMAT_F32), (.f16, K_FORMAT_F16), (.bf16, K_FORMAT_BF16),
        ] {
            #expect(k_stored_format(type.kernels) == UInt32(format.rawValue))
        }
        #expect(
            Set(StoredType.quantised.map { k_stored_format($0.kernels) }).count
                == StoredType.quantised.count)
    }

    @Test("names and numbers of the table are each there once")
    func tableOfFormats() {
        let types = StoredType.allCases
        #expect(types.count == 15 && StoredType.quantised.count == 12)
        #expect(StoredType.f32.name == "f32" && StoredType.q4_0.ggml == 2)
        #expect("\(StoredType.named("q6_K"))" == "q6_K" && StoredType.named("q6_K").ggml == 14)
        #expect(StoredType.named("q6_K").block == (256, 210))
        let foreign = ForeignType.all
        #expect(foreign.contains { $0.name == "MXFP4" && $0.ggml == 39 && $0.block == (32, 17) })
        #expect(
            Set(types.map(\.ggml) + foreign.map(\.ggml)).count == types.count + foreign.count)
        #expect(
            Set(types.map(\.ggufName) + foreign.map(\.name)).count == types.count + foreign.count)
    }
}

/// Aligned memory that ends at a page which may not be touched; full of poison.
final class Panel {
    private let guarded: Guarded
    let start: UnsafeMutablePointer<UInt8>
    init(bytes: Int, slack: Int = 0) {
        let size = (bytes + slack + 63) / 64 * 64
        guarded = Guarded(bytes: size)
        start = guarded.start.assumingMemoryBound(to: UInt8.self)
        for i in 0..<size { start[i] = 0xff }
    }
    var floats: UnsafeMutablePointer<Float> {
        UnsafeMutableRawPointer(start).assumingMemoryBound(to: Float.self)
    }
}
