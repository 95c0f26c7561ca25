import CAutoGLMKernels
import Glibc
import Testing

@testable import AutoGLMCompute

struct AttentionCase: CustomTestStringConvertible, Sendable {
    var set: InstructionSet
    var precision: ComputePrecision
    var format: CacheFormat
    var testDescription: String {
        "\(set.rawValue) \(precision.rawValue), cache \(format.rawValue)"
    }
    static var all: [AttentionCase] {
        InstructionSet.available.flatMap { set in
            [
                AttentionCase(set: set, precision: .f32, format: .f32),
                AttentionCase(set: set, precision: .f32, format: .bf16),
                AttentionCase(set: set, precision: .bf16, format: .bf16),
            ]
        }
    }
    var tolerance: Double { format == .f32 ? 2e-5 : precision == .f32 ? 2e-2 : 4e-2 }
}

struct AttentionShape: Sendable {
    var heads = 4, kvHeads = 2, dim = 16, rotated = 8
    var halves = false
    var norms = false
    var columns: Int { (heads + 2 * kvHeads) * dim }
}

/// One sequence after another through the same cache, compared with double precision.
struct AttentionRig {
    let backend: CPUBackend
    let cache: CPUCache
    let specification: AttentionSpecification<CPURotary, CPUNorm>
    let shape: AttentionShape
    var normWeights: [Float] = []

    init(
        _ c: AttentionCase, _ shape: AttentionShape, blocks: Int, blockTokens: Int = 16,
        threads: Int = 2, layers: Int = 2
    )
        throws
    {
        self.shape = shape
        backend = try makeBackend(c.set, precision: c.precision, threads: threads)
        cache = try backend.cache(
            CacheLayout(
                layers: layers, kvHeads: shape.kvHeads, headDim: shape.dim,
                blockTokens: blockTokens,
                blocks: blocks, format: c.format))
        let frequencies = (0..<shape.rotated / 2).map {
            Float(pow(100.0, -Double($0) * 2 / Double(shape.rotated)))
        }
        let rotary = try backend.rotary(
            RotarySpecification(
                inverseFrequencies: frequencies, pairing: shape.halves ? .halves : .interleaved,
                positionsMax: 4096))
        var random = Random(99)
        normWeights = (0..<shape.dim).map { _ in 1 + random.float() / 2 }
        let norm = try backend.norm(normWeights, epsilon: 1e-5)
        specification = AttentionSpecification(
            heads: shape.heads, kvHeads: shape.kvHeads, headDim: shape.dim,
            scale: 1 / Float(shape.dim).squareRoot(), rotary: rotary,
            queryNorm: shape.norms ? norm : nil, keyNorm: shape.norms ? norm : nil)
    }

    /// Runs rows `range` of each sequence (one step) and gives their outputs, sequence by sequence.
    func step(_ sequences: [(qkv: [Float], range: Range<Int>, table: [Int32])], layer: Int = 1)
        -> [[Float]]
    {
        var batch = StepBatch()
        var values: [Float] = []
        for s in sequences {
            batch.sequences.append(
                .init(
                    firstRow: Int32(batch.tokens.count), rowCount: Int32(s.range.count),
                    firstPosition: Int32(s.range.lowerBound),
                    blockTableOffset: Int32(batch.blockTables.count)))
            batch.blockTables += s.table
            for p in s.range {
                batch.tokens.append(0)
                batch.positions.append(Int32(p))
            }
            values +=
                s.qkv[(s.range.lowerBound * shape.columns)..<(s.range.upperBound * shape.columns)]
        }
        backend.begin(batch)
        let qkv = backend.put(values, rows: batch.tokens.count, columns: shape.columns)
        if layer > 0 {  // the first layer checks the batch
            let other = backend.put(values, rows: batch.tokens.count, columns: shape.columns)
            _ = backend.attention(other, specification, layer: 0, cache, batch)
        }
        let out = backend.attention(qkv, specification, layer: layer, cache, batch)
        #expect(backend.failure == nil)
        var at = 0
        return sequences.map { s in
            defer { at += s.range.count }
            return (at..<at + s.range.count).flatMap { out.row($0) }
        }
    }

    func reference(_ qkv: [Float], rows: Int) -> [Double] {
        let d = shape.dim
        let group = shape.heads / shape.kvHeads
        func head(_ p: Int, _ h: Int, rotate: Bool) -> [Double] {
            var x = (0..<d).map { Double(qkv[p * shape.columns + h * d + $0]) }
            guard rotate else { return x }
            if shape.norms {
                let f = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(d) + 1e-5).squareRoot()
                x = (0..<d).map { x[$0] * f * Double(normWeights[$0]) }
            }
            let half = shape.rotated / 2
            for i in 0..<half {
                let a = shape.halves ? i : 2 * i
                let b = shape.halves ? i + half : 2 * i + 1
                let angle = Double(
                    Float(p) * specification.rotary.specification.inverseFrequencies[i])
                let (u, v) = (x[a], x[b])
                x[a] = u * cos(angle) - v * sin(angle)
                x[b] = v * cos(angle) + u * sin(angle)
            }
            return x
        }
        let keys = (0..<rows).map { p in
            (0..<shape.kvHeads).map { head(p, shape.heads + $0, rotate: true) }
        }
        let values = (0..<rows).map { p in
            (0..<shape.kvHeads).map { head(p, shape.heads + shape.kvHeads + $0, rotate: false) }
        }
        var out: [Double] = []
        for p in 0..<rows {
            for h in 0..<shape.heads {
                let q = head(p, h, rotate: true)
                let kv = h / group
                let s = (0...p).map { t in
                    (0..<d).reduce(0.0) { $0 + q[$1] * keys[t][kv][$1] } / Double(d).squareRoot()
                }
                let top = s.max() ?? 0
                let e = s.map { exp($0 - top) }
                let sum = e.reduce(0, +)
                for i in 0..<d {
                    out.append((0...p).reduce(0.0) { $0 + e[$1] * values[$1][kv][i] } / sum)
                }
            }
        }
        return out
    }
}

@Suite struct AttentionTests {
    static let shapes = [
        AttentionShape(),
        AttentionShape(heads: 3, kvHeads: 1, dim: 8, rotated: 8, halves: true),
        AttentionShape(heads: 4, kvHeads: 2, dim: 64, rotated: 32, norms: true),
        AttentionShape(heads: 16, kvHeads: 1, dim: 128, rotated: 64),
        AttentionShape(heads: 2, kvHeads: 2, dim: 42, rotated: 10, halves: true),
        AttentionShape(heads: 100, kvHeads: 1, dim: 2, rotated: 2),
    ]

    @Test(arguments: AttentionCase.all) func equalsDoublePrecision(_ c: AttentionCase) throws {
        var random = Random(11)
        for shape in Self.shapes {
            for rows in [1, 2, 17, 35, 300]
            where rows < 300 || shape.heads < 4 {
                let rig = try AttentionRig(c, shape, blocks: 20)
                let qkv = random.floats(rows * shape.columns, scale: 2)
                let table = (0..<20).map { Int32(19 - $0) }
                let out = rig.step([(qkv, 0..<rows, table)])[0]
                let wanted = rig.reference(qkv, rows: rows)
                let worst = zip(out, wanted).map { abs(Double($0) - $1) }.max() ?? 0
                #expect(worst <= c.tolerance, "\(shape) \(rows) rows: \(worst)")
            }
        }
    }

    /// One prompt whole, in chunks, and token by token, on 1, 2 and 3 threads, beside others.
    @Test(arguments: AttentionCase.all) func chunksThreadsAndCompanyDoNotMatter(_ c: AttentionCase)
        throws
    {
        var random = Random(12)
        // Scalar code calls a function for every multiply-add: small shapes only.
        let large = c.set == .scalar ? [] : [(Self.shapes[3], 530)]
        for (shape, rows) in [(Self.shapes[0], 270), (Self.shapes[4], 70)] + large {
            let qkv = random.floats(rows * shape.columns)
            let other = random.floats(rows * shape.columns)
            var expected: [UInt32]?
            for threads in [1, 2, 3] {
                let blocks = 2 * ((rows + 31) / 32)
                let rig = try AttentionRig(
                    c, shape, blocks: blocks, blockTokens: 32, threads: threads)
                let mine = (0..<blocks / 2).map { Int32(2 * $0) }
                let theirs = mine.map { $0 + 1 }
                let whole = bits(rig.step([(qkv, 0..<rows, mine)])[0])
                if let expected { #expect(whole == expected) } else { expected = whole }
                for chunk in [7, 64] {
                    var got: [UInt32] = []
                    for start in stride(from: 0, to: rows, by: chunk) {
                        let range = start..<min(rows, start + chunk)
                        got += bits(rig.step([(other, range, theirs), (qkv, range, mine)])[1])
                    }
                    #expect(got == whole, "chunks of \(chunk), \(threads) threads, \(shape)")
                }
                var got: [UInt32] = []
                for p in 0..<rows { got += bits(rig.step([(qkv, p..<p + 1, mine)])[0]) }
                #expect(got == whole, "token by token, \(threads) threads, \(shape)")
            }
        }
    }

    /// f32 and widened bf16 caches give the same bits on every set.
    @Test(arguments: [CacheFormat.f32, .bf16]) func setsAgreeBitwise(_ format: CacheFormat) throws {
        var random = Random(13)
        for shape in Self.shapes {
            let qkv = random.floats(40 * shape.columns)
            var first: [UInt32]?
            for set in InstructionSet.available {
                let rig = try AttentionRig(
                    AttentionCase(set: set, precision: .f32, format: format), shape, blocks: 3)
                let got = bits(rig.step([(qkv, 0..<40, [2, 0, 1])])[0])
                if let first { #expect(got == first, "\(set)") } else { first = got }
            }
        }
    }

    /// What an earlier sequence left in a block, NaN at worst, never shows.
    @Test(arguments: AttentionCase.all) func staleBlocksDoNotLeak(_ c: AttentionCase) throws {
        var random = Random(14)
        for shape in Self.shapes {
            for rows in [1, 2, 3, 15, 16, 17, 29] {
                let qkv = random.floats(rows * shape.columns)
                let clean = try AttentionRig(c, shape, blocks: 2)
                let expected = bits(clean.step([(qkv, 0..<rows, [1, 0])])[0])
                let dirty = try AttentionRig(c, shape, blocks: 2)
                let poison = [Float](repeating: .nan, count: 32 * shape.columns)
                _ = dirty.step([(poison, 0..<32, [0, 1])])
                #expect(bits(dirty.step([(qkv, 0..<rows, [1, 0])])[0]) == expected, "\(rows) rows")
            }
        }
    }

    @Test func copiedBlocksHoldTheSame() throws {
        var random = Random(15)
        let c = AttentionCase(set: .preferred, precision: .bf16, format: .bf16)
        let shape = Self.shapes[0]
        let rig = try AttentionRig(c, shape, blocks: 4)
        let qkv = random.floats(33 * shape.columns)
        let expected = bits(rig.step([(qkv, 0..<33, [0, 1, 2])])[0])
        _ = rig.step([(qkv, 0..<20, [0, 1])])
        try rig.backend.copyBlocks([(from: 1, to: 3)], rig.cache)
        let rest = bits(rig.step([(qkv, 20..<33, [0, 3, 2])])[0])
        #expect(rest == Array(expected.suffix(rest.count)))
    }

    /// Erased blocks are zeros, as new ones are, and their neighbours keep what they hold.
    @Test func erasedBlocksAreAsNew() throws {
        var random = Random(16)
        let c = AttentionCase(set: .preferred, precision: .f32, format: .f32)
        let shape = Self.shapes[0]
        let qkv = random.floats(40 * shape.columns)
        let fresh = try AttentionRig(c, shape, blocks: 600)
        let used = try AttentionRig(c, shape, blocks: 600)
        for first in stride(from: Int32(0), to: 600, by: 3) {
            _ = used.step([(qkv, 0..<40, [first, first + 1, first + 2])])
        }
        try used.backend.eraseBlocks((0..<597).filter { $0 % 7 != 0 }, used.cache)
        // Rows 20 and on read what row 0…19 left: zeros in both.
        let expected = bits(fresh.step([(qkv, 20..<40, [1, 2, 3])])[0])
        #expect(bits(used.step([(qkv, 20..<40, [1, 2, 3])])[0]) == expected)
        let kept = bits(fresh.step([(qkv, 0..<40, [597, 598, 599])])[0])
        let rest = bits(used.step([(qkv, 20..<40, [597, 598, 599])])[0])
        #expect(rest == Array(kept.suffix(rest.count)))
    }

    @Test func positionsBeyondTheModelAreAnError() throws {
        let c = AttentionCase(set: .preferred, precision: .f32, format: .f32)
        let rig = try AttentionRig(c, Self.shapes[0], blocks: 300)
        var batch = StepBatch()
        batch.tokens = [0]
        batch.positions = [4096]
        batch.sequences = [
            .init(firstRow: 0, rowCount: 1, firstPosition: 4096, blockTableOffset: 0)
        ]
        batch.blockTables = (0..<257).map { Int32($0) }
        rig.backend.begin(batch)
        let qkv = rig.backend.put([Float](repeating: 1, count: 128), rows: 1, columns: 128)
        _ = rig.backend.attention(qkv, rig.specification, layer: 0, rig.cache, batch)
        #expect(rig.backend.failure != nil)
    }
}
