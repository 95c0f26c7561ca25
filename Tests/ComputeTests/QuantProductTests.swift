import CAutoGLMKernels
import TestKit
import Testing

@testable import AutoGLMCompute

private let sets = [K_QUANT_SCALAR, K_QUANT_AVX2, K_QUANT_AVX_VNNI, K_QUANT_AVX512]
private let forms = 0..<UInt32(K_FORM_COUNT.rawValue)
private let scalings = [K_SCALING_EXACT, K_SCALING_POWER_OF_TWO, K_SCALING_ROW]

/// A packed matrix of one form, and its exact values.
private struct Weights {
    let format: UInt32
    let inputs: Int, outputs: Int
    var values: [Float] = []
    let panel: Panel
    let panelBytes: Int
    var panels: Int { (outputs + 31) / 32 }

    init?(form: UInt32, inputs: Int, outputs: Int, _ random: inout Random) {
        format = UInt32(K_FORMAT_QUANT.rawValue) + form
        (self.inputs, self.outputs) = (inputs, outputs)
        let operations = k_quant_set_formats(K_QUANT_SCALAR, format)!.pointee
        panelBytes = operations.panel_bytes(Int32(inputs))
        panel = Panel(bytes: panelBytes * ((outputs + 31) / 32))
        let type = StoredType.quantised.first { k_stored_format($0.kernels) == format }
        for p in 0..<panels {
            let rows = min(32, outputs - p * 32)
            let to = panel.start + p * panelBytes
            if let type {
                guard inputs % type.block.values == 0 else { return nil }
                let rowBytes = inputs / type.block.values * type.block.bytes
                let blocks = type.randomBlocks(rows * inputs / type.block.values, &random)
                blocks.withUnsafeBufferPointer { b in
                    var pointers = (0..<32).map { o -> UnsafePointer<UInt8>? in
                        o < rows ? b.baseAddress! + o * rowBytes : nil
                    }
                    operations.pack(to, Int32(inputs), type.kernels, &pointers, nil)
                }
            } else {
                let minima =
                    form == UInt32(K_FORM_Q4FM.rawValue) || form == UInt32(K_FORM_Q8FM.rawValue)
                let most = form >= UInt32(K_FORM_Q4F.rawValue) ? 15 : 255
                let q = (0..<rows * inputs).map { _ in UInt8(random.below(most + 1)) }
                let groups = (inputs + 31) / 32
                let scale = random.floats(rows * groups)
                let minimum = random.floats(rows * groups)
                k_pack_integers(
                    k_quant_form(form), q, scale, minima ? minimum : nil, Int32(rows),
                    Int32(inputs), to)
            }
            var row = [Float](repeating: 0, count: inputs)
            for o in 0..<rows {
                operations.unpack(to, Int32(inputs), Int32(o), &row)
                values += row
            }
        }
    }

    var matrix: k_matrix {
        k_matrix(
            format: format, gated: 0, outputs: Int32(outputs), inputs: Int32(inputs),
            panels: Int32(panels), panel_bytes: panelBytes, data: panel.start, bias: nil,
            input_scales: nil)
    }
}

private struct Rows {
    let x: [Float], norm: [Float]?
    let rows: Int, inputs: Int

    /// Prepares all rows with a set; what `multiply` takes.
    func prepared(_ set: k_quant_set, _ w: Weights, _ scaling: k_scaling) -> Panel {
        let operations = k_quant_set_formats(set, w.format)!.pointee
        let out = Panel(bytes: operations.prepared_bytes(Int32(inputs), Int32(rows)))
        // Rows end at a page that may not be touched.
        let (held, p) = Guarded.floats(x)
        let (heldNorm, n) = Guarded.floats(norm ?? [0])
        var job = k_rows(
            x: p, stride: inputs, rows: Int32(rows), norm: norm == nil ? nil : UnsafePointer(n),
            epsilon: 1e-5, scaling: scaling)
        var matrix = w.matrix
        operations.prepare(&matrix, &job, 0, Int32(rows), out.start)
        withExtendedLifetime((held, heldNorm)) {}
        return out
    }

    func product(
        _ set: k_quant_set, _ w: Weights, _ prepared: Panel, rows step: Int? = nil,
        panels: Int? = nil
    ) -> [Float] {
        let operations = k_quant_set_formats(set, w.format)!.pointee
        let ldc = w.panels * 32
        let c = Panel(bytes: rows * ldc * 4)
        var matrix = w.matrix
        for r in stride(from: 0, to: rows, by: step ?? rows) {
            for p in stride(from: 0, to: w.panels, by: panels ?? w.panels) {
                operations.multiply(
                    &matrix, prepared.start, Int32(rows), Int32(r),
                    Int32(min(rows, r + (step ?? rows))),
                    Int32(p), Int32(min(w.panels, p + (panels ?? w.panels))),
                    c.floats + r * ldc + p * 32, ldc)
            }
        }
        return (0..<rows * ldc).map { c.floats[$0] }
    }
}

@Suite struct QuantProductTests {
    /// All sets of kernels give the bits of the scalar one: prepared rows and products.
    @Test(arguments: forms) func everySetEqualsScalar(_ form: UInt32) throws {
        var random = Random(UInt64(form) + 100)
        for inputs in [32, 45, 96, 256, 512, 1056, 2304] {
            guard let w = Weights(form: form, inputs: inputs, outputs: 75, &random) else {
                continue
            }
            for norm in [false, true] {
                let rows = 14
                var x = random.floats(rows * inputs)
                for i in x.indices where random.below(60) == 0 { x[i] *= 30 }
                for k in 0..<inputs { x[2 * inputs + k] = 0 }
                let job = Rows(
                    x: x, norm: norm ? random.floats(inputs) : nil, rows: rows, inputs: inputs)
                for scaling in scalings {
                    let reference = job.prepared(K_QUANT_SCALAR, w, scaling)
                    let wanted = job.product(K_QUANT_SCALAR, w, reference)
                    let finite = wanted.allSatisfy { $0.isFinite }
                    #expect(finite)
                    #expect(
                        (0..<w.panels * 32 * rows).allSatisfy {
                            $0 % (w.panels * 32) < 75 || wanted[$0] == 0
                        })
                    for set in sets where k_quant_set_formats(set, w.format) != nil {
                        let prepared = job.prepared(set, w, scaling)
                        let same = bits(job.product(set, w, prepared)) == bits(wanted)
                        #expect(
                            same, "set \(set.rawValue), \(inputs) inputs, norm \(norm), \(scaling)")
                    }
                    #expect(
                        error(of: wanted, job, w) < (scaling == K_SCALING_ROW ? 0.1 : 0.03),
                        "\(inputs) inputs, norm \(norm), \(scaling)")
                }
            }
        }
    }

    /// Relative error of a product against double precision, all elements together.
    private func error(of y: [Float], _ job: Rows, _ w: Weights) -> Double {
        var wrong = 0.0
        var size = 0.0
        for r in 0..<job.rows {
            let x = job.x[r * job.inputs..<(r + 1) * job.inputs].map(Double.init)
            var normed = x
            if let norm = job.norm {
                let f = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + 1e-5).squareRoot()
                normed = x.indices.map { x[$0] * f * Double(norm[$0]) }
            }
            for o in 0..<w.outputs {
                var sum = 0.0
                for k in 0..<job.inputs { sum += normed[k] * Double(w.values[o * job.inputs + k]) }
                let d = sum - Double(y[r * w.panels * 32 + o])
                wrong += d * d
                size += sum * sum
            }
        }
        return (wrong / size).squareRoot()
    }

    /// A row's bits do not depend on the rows or panels beside it.
    @Test(arguments: forms) func cutsDoNotMatter(_ form: UInt32) throws {
        var random = Random(UInt64(form) + 200)
        guard let w = Weights(form: form, inputs: 1280, outputs: 160, &random) else { return }
        for rows in 1...33 {
            let job = Rows(x: random.floats(rows * 1280), norm: nil, rows: rows, inputs: 1280)
            let prepared = job.prepared(K_QUANT_SCALAR, w, K_SCALING_EXACT)
            for set in sets.dropFirst() where k_quant_set_formats(set, w.format) != nil {
                let whole = bits(job.product(set, w, prepared))
                #expect(bits(job.product(set, w, prepared, rows: 1, panels: 1)) == whole)
                #expect(
                    bits(job.product(set, w, prepared, rows: 1 + random.below(rows), panels: 2))
                        == whole)
            }
        }
        // Past 32 rows the order of the loops changes.
        let job = Rows(x: random.floats(130 * 1280), norm: nil, rows: 130, inputs: 1280)
        let prepared = job.prepared(K_QUANT_SCALAR, w, K_SCALING_EXACT)
        for set in sets.dropFirst() where k_quant_set_formats(set, w.format) != nil {
            let whole = bits(job.product(set, w, prepared, panels: 4))
            #expect(bits(job.product(set, w, prepared, rows: 12, panels: 1)) == whole)
            #expect(bits(job.product(set, w, prepared, rows: 50, panels: 3)) == whole)
        }
    }

    /// What is not a number stays visible, in its own row only.
    @Test func notANumberStaysInItsRow() throws {
        var random = Random(300)
        let form = UInt32(K_FORM_Q4.rawValue)
        let w = try #require(Weights(form: form, inputs: 96, outputs: 40, &random))
        for bad in [Float.nan, .infinity] {
            var x = random.floats(7 * 96)
            x[3 * 96 + 40] = bad
            let job = Rows(x: x, norm: nil, rows: 7, inputs: 96)
            for set in sets where k_quant_set_formats(set, w.format) != nil {
                let y = job.product(set, w, job.prepared(set, w, K_SCALING_EXACT))
                for r in 0..<7 {
                    #expect((0..<40).allSatisfy { y[r * 64 + $0].isFinite } == (r != 3))
                }
            }
        }
    }

    static let threadCases = InstructionSet.available.flatMap { set in
        [StoredType.q4_0, .named("q6_K"), .named("q2_K")].map { (set, $0) }
    }

    /// Through the backend: any threads, any rows, gated products and bias.
    @Test(arguments: threadCases) func threadsDoNotMatter(_ set: InstructionSet, _ type: StoredType)
        throws
    {
        var random = Random(400)
        let inputs = 512
        let outputs = 330
        let blocks = inputs / type.block.values
        func tensor() -> StoredTensor {
            StoredTensor(
                name: "w", type: type, shape: [outputs, inputs],
                reader: MemoryReader(bytes: type.randomBlocks(outputs * blocks, &random)))
        }
        let (one, two) = (tensor(), tensor())
        let bias = random.floats(outputs)
        let values = random.floats(40 * inputs)
        var wanted: [UInt32] = []
        var wantedGated: [UInt32] = []
        for threads in 1...3 {
            let backend = try makeBackend(set, precision: .bf16, threads: threads)
            let matrix = try backend.matrix(source(one), bias: bias, format: nil)
            let gated = try backend.gatedMatrix(gate: source(one), up: source(two), format: nil)
            for rows in [40, 1, 3, 17, 33] {
                backend.start()
                let x = backend.put(Array(values[0..<rows * inputs]), rows: rows, columns: inputs)
                let y = bits(backend.linear(x, norm: nil, matrix).values)
                let g = bits(backend.gated(x, norm: nil, gated).values)
                #expect(backend.failure == nil)
                if wanted.isEmpty { (wanted, wantedGated) = (y, g) }
                #expect(y == Array(wanted[0..<rows * outputs]), "\(threads) threads, \(rows) rows")
                #expect(
                    g == Array(wantedGated[0..<rows * outputs]), "\(threads) threads, \(rows) rows")
            }
        }
    }

    /// Weights rounded on load, of widths that fill no group.
    @Test(arguments: [WeightFormat.int8, .int4]) func roundingOnLoad(_ format: WeightFormat) throws
    {
        var random = Random(500)
        let backend = try makeBackend()
        for inputs in [32, 50, 7, 300] {
            for type in [StoredType.f32, .f16, .bf16] {
                let (tensor, w) = stored(random.floats(inputs * 37), type, shape: [37, inputs])
                let matrix = try backend.matrix(source(tensor), bias: nil, format: format)
                backend.start()
                let values = random.floats(5 * inputs)
                let x = backend.put(values, rows: 5, columns: inputs)
                let y = backend.linear(x, norm: nil, matrix)
                var wrong = 0.0
                var size = 0.0
                for r in 0..<5 {
                    for o in 0..<37 {
                        let sum = (0..<inputs).reduce(0.0) {
                            $0 + Double(values[r * inputs + $1]) * Double(w[o * inputs + $1])
                        }
                        wrong += (sum - Double(y[r, o])) * (sum - Double(y[r, o]))
                        size += sum * sum
                    }
                }
                #expect(
                    (wrong / size).squareRoot() < (format == .int8 ? 0.015 : 0.15),
                    "\(inputs) \(type)")
            }
        }
    }
}
