import CAutoGLMKernels
import Glibc
import Testing

@testable import AutoGLMCompute

struct ProductCase: CustomTestStringConvertible, Sendable {
    var set: InstructionSet
    var precision: ComputePrecision
    var type: StoredType
    var testDescription: String { "\(set.rawValue) \(precision.rawValue) × \(type.name)" }
    static var all: [ProductCase] {
        InstructionSet.available.flatMap { set in
            ComputePrecision.allCases.flatMap { precision in
                [StoredType.f32, .f16, .bf16].map {
                    ProductCase(set: set, precision: precision, type: $0)
                }
            }
        }
    }
}

@Suite struct LinearTests {
    static let shapes = [
        (1, 1), (7, 31), (33, 32), (64, 33), (130, 95), (97, 257), (256, 128), (513, 300),
        (1023, 70),
    ]

    /// Against double precision, within 2nε·Σ|ab|, bias included.
    @Test(arguments: ProductCase.all) func equalsDoublePrecision(_ c: ProductCase) throws {
        var random = Random(1)
        let backend = try makeBackend(c.set, precision: c.precision)
        for (inputs, outputs) in Self.shapes {
            let (tensor, w) = stored(
                random.floats(inputs * outputs), c.type, shape: [outputs, inputs])
            let bias = random.floats(outputs)
            let matrix = try backend.matrix(source(tensor), bias: bias, format: nil)
            for rows in [1, 2, 5, 13, 40] {
                backend.start()
                let values = random.floats(rows * inputs)
                let x = backend.put(values, rows: rows, columns: inputs)
                let y = backend.linear(x, norm: nil, matrix)
                var worst = 0.0
                for r in 0..<rows {
                    for o in 0..<outputs {
                        var sum = 0.0
                        var size = 0.0
                        for k in 0..<inputs {
                            var a = values[r * inputs + k]
                            if c.precision == .bf16 { a = bf16(a) }
                            let p = Double(a) * Double(w[o * inputs + k])
                            sum += p
                            size += abs(p)
                        }
                        sum += Double(bias[o])
                        let bound = 2 * Double(inputs + 2) * 6e-8 * (size + 1) + 1e-30
                        let error = abs(Double(y[r, o]) - sum) / bound
                        worst = error <= worst ? worst : error
                    }
                }
                #expect(worst <= 1, "\(inputs)×\(outputs), \(rows) rows")
            }
        }
    }

    /// The invariant of the whole engine: a row's bits depend on that row alone.
    @Test(arguments: ProductCase.all) func rowsThreadsAndCompanyDoNotMatter(_ c: ProductCase) throws
    {
        var random = Random(2)
        let (inputs, outputs) = (1100, 330)
        let (tensor, _) = stored(random.floats(inputs * outputs), c.type, shape: [outputs, inputs])
        let values = random.floats(70 * inputs)
        let weights = random.floats(inputs)
        var expected: [UInt32] = []
        for threads in [1, 2, 3] {
            let backend = try makeBackend(c.set, precision: c.precision, threads: threads)
            let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
            let norm = try backend.norm(weights, epsilon: 1e-5)
            if threads == 1 {
                for r in 0..<70 {
                    backend.start()
                    let x = backend.put(
                        Array(values[r * inputs..<(r + 1) * inputs]), rows: 1, columns: inputs)
                    expected += bits(backend.linear(x, norm: norm, matrix).values)
                }
            }
            for rows in Array(1...33) + [47, 64, 70] {
                backend.start()
                let x = backend.put(Array(values[..<(rows * inputs)]), rows: rows, columns: inputs)
                let y = backend.linear(x, norm: norm, matrix)
                #expect(
                    bits(y.values) == Array(expected[..<(rows * outputs)]),
                    "\(rows) rows, \(threads) threads")
            }
        }
    }

    /// Fused multiply-adds in one order: every set but bf16's dot products gives the same bits.
    @Test(arguments: [StoredType.f32, .f16, .bf16]) func setsAgreeBitwise(_ type: StoredType) throws
    {
        var random = Random(3)
        for (inputs, outputs) in Self.shapes {
            let (tensor, _) = stored(
                random.floats(inputs * outputs), type, shape: [outputs, inputs])
            let values = random.floats(14 * inputs)
            let weight = random.floats(inputs)
            for rows in [1, 3, 14] {
                var first: [UInt32]?
                for set in InstructionSet.available {
                    let backend = try makeBackend(set)
                    let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
                    backend.start()
                    let x = backend.put(
                        Array(values[..<(rows * inputs)]), rows: rows, columns: inputs)
                    let norm = try backend.norm(weight, epsilon: 1e-6)
                    let y = bits(backend.linear(x, norm: norm, matrix).values)
                    if let first {
                        #expect(y == first, "\(set) \(inputs)×\(outputs)")
                    } else {
                        first = y
                    }
                }
            }
        }
    }

    /// silu(gate) × up with odd feature counts; and the same where gate and up are stored unlike.
    @Test(arguments: InstructionSet.available) func gated(_ set: InstructionSet) throws {
        var random = Random(4)
        for (inputs, features) in [(40, 1), (65, 31), (96, 33), (70, 129)] {
            let (gate, g) = stored(
                random.floats(inputs * features), .f32, shape: [features, inputs])
            let (up, u) = stored(random.floats(inputs * features), .f32, shape: [features, inputs])
            let (half, h) = stored(u, .f16, shape: [features, inputs])
            let backend = try makeBackend(set)
            let together = try backend.gatedMatrix(gate: source(gate), up: source(up), format: nil)
            let apart = try backend.gatedMatrix(gate: source(gate), up: source(half), format: nil)
            for rows in [1, 4, 40] {
                backend.start()
                let values = random.floats(rows * inputs)
                let x = backend.put(values, rows: rows, columns: inputs)
                for (weight, second) in [(together, u), (apart, h)] {
                    let y = backend.gated(x, norm: nil, weight)
                    var worst = 0.0
                    for r in 0..<rows {
                        for f in 0..<features {
                            var a = 0.0
                            var b = 0.0
                            for k in 0..<inputs {
                                a += Double(values[r * inputs + k]) * Double(g[f * inputs + k])
                                b += Double(values[r * inputs + k]) * Double(second[f * inputs + k])
                            }
                            let wanted = a / (1 + exp(-a)) * b
                            let error = abs(Double(y[r, f]) - wanted) / (1 + abs(wanted))
                            worst = error <= worst ? worst : error
                        }
                    }
                    #expect(worst < 2e-5, "\(inputs)×\(features), \(rows) rows")
                }
            }
        }
    }

    /// Fused QKV from three tensors, one of them stored differently, and rows out of the middle.
    @Test func segments() throws {
        var random = Random(5)
        let inputs = 48
        let (a, av) = stored(random.floats(40 * inputs), .bf16, shape: [40, inputs])
        let (b, bv) = stored(random.floats(50 * inputs), .bf16, shape: [50, inputs])
        let (c, cv) = stored(random.floats(9 * inputs), .f32, shape: [9, inputs])
        let all = MatrixSource(
            segments: [
                .init(tensor: a, rows: 3..<40), .init(tensor: b, rows: 0..<41),
                .init(tensor: c, rows: 2..<9),
            ], columns: inputs)
        let rows = Array(av[(3 * inputs)...]) + bv[..<(41 * inputs)] + cv[(2 * inputs)...]
        let bias = random.floats(85)
        let backend = try makeBackend()
        let matrix = try backend.matrix(all, bias: bias, format: nil)
        #expect(matrix.parts.count == 2)
        backend.start()
        let values = random.floats(3 * inputs)
        let y = backend.linear(backend.put(values, rows: 3, columns: inputs), norm: nil, matrix)
        for r in 0..<3 {
            for o in 0..<85 {
                var sum = bias[o]
                for k in 0..<inputs { sum += values[r * inputs + k] * rows[o * inputs + k] }
                #expect(abs(y[r, o] - sum) < 1e-4)
            }
        }
    }

    /// Residual addition, with and without a norm of the product.
    @Test(arguments: InstructionSet.available) func addLinear(_ set: InstructionSet) throws {
        var random = Random(6)
        let (inputs, outputs) = (70, 45)
        let (tensor, w) = stored(random.floats(inputs * outputs), .f32, shape: [outputs, inputs])
        let scale = random.floats(outputs)
        let backend = try makeBackend(set)
        let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
        let norm = try backend.norm(scale, epsilon: 1e-5)
        for rows in [1, 6, 37] {
            for post in [nil, norm] {
                backend.start()
                let values = random.floats(rows * inputs)
                let before = random.floats(rows * outputs)
                let x = backend.put(values, rows: rows, columns: inputs)
                let residual = backend.put(before, rows: rows, columns: outputs)
                backend.addLinear(x, matrix, postNorm: post, to: residual)
                for r in 0..<rows {
                    var y = (0..<outputs).map { o in
                        (0..<inputs).reduce(0.0) {
                            $0 + Double(values[r * inputs + $1]) * Double(w[o * inputs + $1])
                        }
                    }
                    if post != nil {
                        let f =
                            1 / (y.reduce(0) { $0 + $1 * $1 } / Double(outputs) + 1e-5).squareRoot()
                        y = zip(y, scale).map { $0 * f * Double($1) }
                    }
                    for o in 0..<outputs {
                        let wanted = Double(before[r * outputs + o]) + y[o]
                        #expect(abs(Double(residual[r, o]) - wanted) < 2e-5)
                    }
                }
            }
        }
    }

    @Test func notANumberIsReported() throws {
        var random = Random(7)
        let (tensor, _) = stored(random.floats(16 * 40), .f32, shape: [40, 16])
        let backend = try makeBackend()
        let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
        let norm = try backend.norm([Float](repeating: 1, count: 16), epsilon: 1e-5)
        var batch = StepBatch()
        batch.outputRows = [0, 2]
        backend.start()
        var values = random.floats(3 * 16)
        values[16] = .nan  // row 1 is not asked for
        var logits = [Float](repeating: 0, count: 80)
        let x = backend.put(values, rows: 3, columns: 16)
        try logits.withUnsafeMutableBufferPointer {
            try backend.readLogits(x, norm: norm, head: matrix, batch, into: $0)
        }
        values[35] = .infinity
        backend.start()
        let bad = backend.put(values, rows: 3, columns: 16)
        #expect(throws: BackendError.notANumber(row: 2)) {
            try logits.withUnsafeMutableBufferPointer {
                try backend.readLogits(bad, norm: norm, head: matrix, batch, into: $0)
            }
        }
    }
}
