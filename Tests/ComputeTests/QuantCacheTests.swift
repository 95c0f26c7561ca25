import CAutoGLMKernels
import Glibc
import TestKit
import Testing

@testable import AutoGLMCompute

private let sets = [K_QUANT_SCALAR, K_QUANT_AVX2, K_QUANT_AVX_VNNI, K_QUANT_AVX512]

/// One kv head in 8 bits, filled with poison before tokens are stored.
private struct Context {
    let dim: Int, keys: Int
    var pages: [Panel] = []

    init(_ operations: k_cache_ops, dim: Int, keys: [Float], values: [Float]) {
        self.dim = dim
        self.keys = keys.count / dim
        for t in 0..<self.keys {
            if t % 16 == 0 { pages.append(Panel(bytes: operations.page_bytes(Int32(dim)))) }
            let from = t * dim..<(t + 1) * dim
            operations.store(
                pages[t / 16].start, Int32(t % 16), Int32(dim), Array(keys[from]),
                Array(values[from]))
        }
    }

    func attend(_ operations: k_cache_ops, _ queries: [Float], visible: [Int32], scale: Float)
        -> (out: [Float], max: [Float], sum: [Float])
    {
        let rows = visible.count
        let ldo = (dim + 15) / 16 * 16
        let prepared = Panel(bytes: operations.query_bytes(Int32(dim), Int32(rows)))
        let scratch = Panel(bytes: operations.scratch_bytes)
        let out = Panel(bytes: rows * ldo * 4)
        queries.withUnsafeBufferPointer { q in
            let pointers = (0..<rows).map { Optional(q.baseAddress! + $0 * dim) }
            operations.prepare_queries(
                pointers, Int32(rows), Int32(dim), scale * 1.442695, prepared.start)
        }
        var max = [Float](repeating: 0, count: rows)
        var sum = max
        var span = k_span()
        withUnsafeMutableBytes(of: &span.pages) { raw in
            let p = raw.bindMemory(to: UnsafePointer<UInt8>?.self)
            for (i, page) in pages.enumerated() { p[i] = UnsafePointer(page.start) }
        }
        span.keys = Int32(keys)
        span.rows = Int32(rows)
        span.dim = Int32(dim)
        span.queries = UnsafeRawPointer(prepared.start)
        span.out = out.floats
        span.ldo = ldo
        span.scratch = UnsafeMutableRawPointer(scratch.start)
        visible.withUnsafeBufferPointer { v in
            max.withUnsafeMutableBufferPointer { m in
                sum.withUnsafeMutableBufferPointer { s in
                    span.visible = v.baseAddress
                    span.max = m.baseAddress
                    span.sum = s.baseAddress
                    operations.attend(&span)
                }
            }
        }
        let values = (0..<rows).flatMap { r in (0..<dim).map { out.floats[r * ldo + $0] } }
        return (values, max, sum)
    }
}

@Suite struct QuantCacheTests {
    @Test(arguments: [2, 6, 8, 16, 42, 48, 64, 128, 256]) func everySetEqualsScalar(_ dim: Int)
        throws
    {
        var random = Random(UInt64(dim))
        for keys in [1, 5, 16, 17, 100, 256] {
            for rows in [1, 2, 7, 13] {
                let k = random.floats(keys * dim)
                let v = random.floats(keys * dim)
                let q = random.floats(rows * dim, scale: 3)
                let visible = (0..<rows).map { _ in Int32(1 + random.below(keys)) }
                let scale = 1 / Float(dim).squareRoot()
                var wanted: ([UInt32], [UInt32], [UInt32])?
                for set in sets {
                    guard let operations = k_quant_set_cache(set)?.pointee else { continue }
                    let context = Context(operations, dim: dim, keys: k, values: v)
                    let got = context.attend(operations, q, visible: visible, scale: scale)
                    let found = (bits(got.out), bits(got.max), bits(got.sum))
                    if let wanted {
                        #expect(found == wanted, "set \(set.rawValue), \(keys) keys, \(rows) rows")
                    } else {
                        wanted = found
                        let error = error(got.out, got.sum, q, k, v, visible, dim, scale)
                        #expect(error < 0.02, "\(keys) keys, \(rows) rows: \(error)")
                    }
                    // A row alone has the same bits.
                    let alone = context.attend(
                        operations, Array(q[0..<dim]), visible: [visible[0]], scale: scale)
                    #expect(bits(alone.out) == Array(bits(got.out)[0..<dim]))
                }
            }
        }
    }

    private func error(
        _ out: [Float], _ sums: [Float], _ q: [Float], _ k: [Float], _ v: [Float],
        _ visible: [Int32], _ dim: Int, _ scale: Float
    ) -> Double {
        var wrong = 0.0
        var size = 0.0
        for r in visible.indices {
            let scores = (0..<Int(visible[r])).map { t in
                (0..<dim).reduce(0.0) { $0 + Double(q[r * dim + $1]) * Double(k[t * dim + $1]) }
                    * Double(scale)
            }
            let top = scores.max() ?? 0
            let p = scores.map { exp($0 - top) }
            let sum = p.reduce(0, +)
            for d in 0..<dim {
                let exact = p.indices.reduce(0.0) { $0 + p[$1] * Double(v[$1 * dim + d]) } / sum
                let difference = exact - Double(out[r * dim + d] / sums[r])
                wrong += difference * difference
                size += exact * exact
            }
        }
        return (wrong / size).squareRoot()
    }

    @Test func unseenKeysAndRows() throws {
        var random = Random(77)
        let dim = 32
        let keys = 40
        let k = random.floats(keys * dim)
        var v = random.floats(keys * dim)
        for d in 0..<dim { v[39 * dim + d] = .nan }
        for set in sets {
            guard let operations = k_quant_set_cache(set)?.pointee else { continue }
            let context = Context(operations, dim: dim, keys: k, values: v)
            let q = random.floats(3 * dim)
            let got = context.attend(operations, q, visible: [39, 0, 40], scale: 0.2)
            let finite = got.out[0..<dim].allSatisfy { $0.isFinite }
            #expect(finite)
            #expect(got.max[1] == -.infinity && got.sum[1] == 0)
            // The value that is not a number is seen by the last row, and shows.
            let spoilt = got.out[(2 * dim)...].allSatisfy { $0.isNaN }
            #expect(spoilt)
        }
    }

    static let cases = InstructionSet.available.map {
        AttentionCase(set: $0, precision: .bf16, format: .int8)
    }

    /// Through the backend, over many spans: decode has the bits of prefill, near double precision.
    @Test(arguments: cases) func decodeEqualsPrefill(_ c: AttentionCase) throws {
        var random = Random(88)
        for shape in [
            AttentionShape(),
            AttentionShape(heads: 4, kvHeads: 2, dim: 64, rotated: 32, norms: true),
        ] {
            let rows = 300
            let table = (0..<20).map { Int32(19 - $0) }
            let qkv = random.floats(rows * shape.columns, scale: 2)
            let whole = try AttentionRig(c, shape, blocks: 20)
            let out = whole.step([(qkv, 0..<rows, table)])[0]
            let wanted = whole.reference(qkv, rows: rows)
            var wrong = 0.0
            var size = 0.0
            for (a, b) in zip(out, wanted) {
                wrong += (Double(a) - b) * (Double(a) - b)
                size += b * b
            }
            #expect((wrong / size).squareRoot() < 0.02)
            let parts = try AttentionRig(c, shape, blocks: 20, threads: 1)
            var again: [Float] = []
            for range in [0..<70, 70..<71, 71..<290, 290..<300] {
                again += parts.step([(qkv, range, table)])[0]
            }
            #expect(bits(again) == bits(out))
        }
    }
}
