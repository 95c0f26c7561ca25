import CAutoGLMKernels
import Glibc
import TestKit
import Testing

@testable import AutoGLMCompute

typealias Random = SplitMix64

extension SplitMix64 {
    init(_ seed: UInt64) { self.init(seed: seed) }
    mutating func below(_ n: Int) -> Int { Int(next() % UInt64(n)) }
    /// Uniform in -1..<1.
    mutating func float() -> Float { Float(Int64(bitPattern: next()) >> 40) / Float(1 << 23) }
    mutating func floats(_ n: Int, scale: Float = 1) -> [Float] {
        (0..<n).map { _ in float() * scale }
    }
}

struct MemoryReader: TensorReader {
    let bytes: [UInt8]
    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(BackendError) {
        guard offset >= 0, offset + buffer.count <= bytes.count else {
            throw .unreadable(tensor: "test", reason: "past the end")
        }
        bytes.withUnsafeBytes {
            buffer.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + buffer.count]))
        }
    }
}

func bf16(_ f: Float) -> Float {
    if f.isNaN { return f }
    let u = f.bitPattern
    return Float(bitPattern: (u &+ 0x7fff &+ (u >> 16 & 1)) & 0xffff_0000)
}

/// `values` as `type` stores them, and the values that are really stored.
func stored(_ values: [Float], _ type: StoredType, shape: [Int], name: String = "w")
    -> (tensor: StoredTensor, values: [Float])
{
    var bytes: [UInt8] = []
    var kept: [Float] = []
    for v in values {
        switch type {
        case .f32:
            withUnsafeBytes(of: v.bitPattern) { bytes.append(contentsOf: $0) }
            kept.append(v)
        case .f16:
            let h = Float16(v)
            withUnsafeBytes(of: h.bitPattern) { bytes.append(contentsOf: $0) }
            kept.append(Float(h))
        default:
            let b = bf16(v)
            withUnsafeBytes(of: UInt16(b.bitPattern >> 16)) { bytes.append(contentsOf: $0) }
            kept.append(b)
        }
    }
    return (
        StoredTensor(name: name, type: type, shape: shape, reader: MemoryReader(bytes: bytes)), kept
    )
}

func source(_ tensor: StoredTensor) -> MatrixSource {
    MatrixSource(
        segments: [.init(tensor: tensor, rows: 0..<tensor.shape[0])], columns: tensor.shape[1])
}

func makeBackend(
    _ set: InstructionSet? = nil, precision: ComputePrecision = .f32, threads: Int = 2
) throws -> CPUBackend {
    var options = ComputeOptions()
    options.precision = precision
    options.threads = threads
    options.instructionSet = set?.rawValue
    return try CPUBackend(options: options)
}

extension CPUBackend {
    func put(_ values: [Float], rows: Int, columns: Int) -> CPUActivations {
        let x = activations(rows: rows, columns: columns)
        for r in 0..<rows {
            for c in 0..<columns { x.base[r * x.stride + c] = values[r * columns + c] }
        }
        return x
    }
    func start(_ batch: borrowing StepBatch = StepBatch()) { begin(batch) }
}

extension CPUActivations {
    var values: [Float] { (0..<rows).flatMap { r in (0..<columns).map { self[r, $0] } } }
    func row(_ r: Int) -> [Float] { (0..<columns).map { self[r, $0] } }
}

func bits(_ x: [Float]) -> [UInt32] { x.map(\.bitPattern) }

/// Memory that ends where a page begins that may not be touched.
final class Guarded {
    let map: UnsafeMutableRawPointer
    let bytes: Int
    let pages: Int
    init(bytes: Int) {
        self.bytes = bytes
        pages = (bytes + 4095) / 4096
        map = mmap(
            nil, (pages + 1) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
        mprotect(map + pages * 4096, 4096, PROT_NONE)
    }
    deinit { munmap(map, (pages + 1) * 4096) }
    var start: UnsafeMutableRawPointer { map + pages * 4096 - bytes }
    static func floats(_ values: [Float]) -> (Guarded, UnsafeMutablePointer<Float>) {
        let g = Guarded(bytes: values.count * 4)
        let p = g.start.assumingMemoryBound(to: Float.self)
        for (i, v) in values.enumerated() { p[i] = v }
        return (g, p)
    }
}
