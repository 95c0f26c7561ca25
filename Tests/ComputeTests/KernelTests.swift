import CAutoGLMKernels
import Glibc
import Testing

@testable import AutoGLMCompute

/// The C kernels themselves: memory they may not touch, values that are no numbers, odd lengths.
@Suite struct KernelTests {
    static let lengths = Array(1...70) + [127, 128, 129, 255, 256, 257, 1023]

    @Test func namesAndSets() throws {
        for set in InstructionSet.allCases {
            #expect(String(cString: k_isa_name(set.kernels)) == set.rawValue)
        }
        #expect(InstructionSet.available.contains(.scalar))
        #expect(InstructionSet.available.contains(.preferred))
        #expect(throws: BackendError.self) { _ = try InstructionSet.named("mmx") }
        #expect(CPUFeatures().cores >= 1)
    }

    /// Inputs end at a page that may not be read, and start where no vector is aligned.
    @Test(arguments: InstructionSet.available) func normsStayInside(_ set: InstructionSet) throws {
        var random = Random(21)
        let pool = try ThreadPool(threads: 1)
        for n in Self.lengths {
            let (values, weights) = (random.floats(n, scale: 3), random.floats(n))
            let (g1, x) = Guarded.floats(values)
            let (g2, w) = Guarded.floats(weights)
            let (g3, out) = Guarded.floats([Float](repeating: 0, count: n))
            k_norm_rows(pool.handle, set.kernels, x, n, 1, Int32(n), w, 1e-5, out, n)
            let (g4, scalar) = Guarded.floats([Float](repeating: 0, count: n))
            k_norm_rows(pool.handle, K_ISA_SCALAR, x, n, 1, Int32(n), w, 1e-5, scalar, n)
            let f =
                1
                / (values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(n) + 1e-5)
                .squareRoot()
            for i in 0..<n {
                #expect(out[i].bitPattern == scalar[i].bitPattern)
                let wanted = Double(values[i]) * f * Double(weights[i])
                #expect(abs(Double(out[i]) - wanted) <= 1e-6 * (abs(wanted) + 1e-3))
            }
            let (g5, residual) = Guarded.floats(values)
            k_add_norm_rows(pool.handle, set.kernels, x, n, 1, Int32(n), w, 1e-5, residual, n)
            for i in 0..<n { #expect(residual[i] == values[i] + out[i]) }
            withExtendedLifetime((g1, g2, g3, g4, g5)) {}
        }
    }

    @Test(arguments: InstructionSet.available) func silu(_ set: InstructionSet) throws {
        let pool = try ThreadPool(threads: 1)
        var special: [Float] = [
            0, -0.0, 1e-30, -1e-30, 20, -20, 87, -87, 88, -88, 89, -89, 1e30, -1e30,
        ]
        special += (0..<500).map { Float($0 - 250) / 16 }
        for n in Self.lengths {
            let gate = (0..<n).map { special[$0 % special.count] }
            let up = (0..<n).map { Float($0 % 5) - 2 }
            let (g1, a) = Guarded.floats(gate)
            let (g2, b) = Guarded.floats(up)
            let (g3, out) = Guarded.floats([Float](repeating: 0, count: n))
            k_silu_multiply(pool.handle, set.kernels, a, n, b, n, 1, Int32(n), out, n)
            var worst = 0.0
            for i in 0..<n where gate[i] > -80 {  // below, both are nothing
                let g = Double(gate[i])
                let wanted = g / (1 + exp(-g)) * Double(up[i])
                worst = max(worst, abs(Double(out[i]) - wanted) / (abs(wanted) + 1e-20))
            }
            #expect(worst < 1e-6)
            withExtendedLifetime((g1, g2, g3)) {}
        }
        var out: [Float] = [0, 0, 0]
        k_silu_multiply(
            pool.handle, set.kernels, [.nan, .infinity, 1], 3, [1, 1, .nan], 3, 1, 3, &out, 3)
        #expect(out[0].isNaN && out[1] == .infinity && out[2].isNaN)
    }

    /// Rows of activations that end at a forbidden page; poison outside the row.
    @Test(arguments: ProductCase.all) func productsStayInside(_ c: ProductCase) throws {
        var random = Random(22)
        let backend = try makeBackend(c.set, precision: c.precision, threads: 1)
        for inputs in Self.lengths where inputs < 130 {
            let (tensor, _) = stored(random.floats(inputs * 35), c.type, shape: [35, inputs])
            let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
            let values = random.floats(2 * inputs)
            backend.start()
            let plain = backend.linear(
                backend.put(values, rows: 2, columns: inputs), norm: nil, matrix)
            let (guarded, x) = Guarded.floats(values)
            let tight = CPUActivations(base: x, rows: 2, columns: inputs, stride: inputs)
            #expect(bits(backend.linear(tight, norm: nil, matrix).values) == bits(plain.values))
            withExtendedLifetime(guarded) {}
        }
    }

    /// NaN and infinity come through in their own row and output, and nowhere else.
    @Test(arguments: ProductCase.all) func notNumbersStayInTheirRow(_ c: ProductCase) throws {
        var random = Random(23)
        let backend = try makeBackend(c.set, precision: c.precision)
        let (tensor, _) = stored(random.floats(64 * 40), c.type, shape: [40, 64])
        let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
        for bad in [Float.nan, .infinity, -.infinity] {
            var values = random.floats(14 * 64)
            backend.start()
            let clean = backend.linear(
                backend.put(values, rows: 14, columns: 64), norm: nil, matrix)
            values[5 * 64 + 17] = bad
            let dirty = backend.linear(
                backend.put(values, rows: 14, columns: 64), norm: nil, matrix)
            for r in 0..<14 {
                if r == 5 {
                    #expect(dirty.row(r).allSatisfy { !$0.isFinite })
                } else {
                    #expect(bits(dirty.row(r)) == bits(clean.row(r)))
                }
            }
        }
    }

    /// Every set packs and unpacks to the very same values.
    @Test func packingIsExact() throws {
        var random = Random(24)
        for type in [StoredType.f32, .f16, .bf16] {
            for (inputs, outputs) in [(1, 1), (33, 40), (129, 65), (300, 31)] {
                var values = random.floats(inputs * outputs)
                values[0] = 0x1p-24
                values[values.count - 1] = -65504
                let (tensor, w) = stored(values, type, shape: [outputs, inputs])
                let backend = try makeBackend()
                let matrix = try backend.matrix(source(tensor), bias: nil, format: nil)
                let table = try backend.embedding(tiedTo: matrix)
                let plain = try backend.embedding(source(tensor))
                var batch = StepBatch()
                batch.tokens = (0..<outputs).map { Int32(outputs - 1 - $0) }
                batch.positions = batch.tokens
                backend.begin(batch)
                let tied = backend.embed(table, batch)
                let own = backend.embed(plain, batch)
                for r in 0..<outputs {
                    let row = outputs - 1 - r
                    let wanted = bits(Array(w[row * inputs..<(row + 1) * inputs]))
                    #expect(bits(tied.row(r)) == wanted)
                    #expect(bits(own.row(r)) == wanted)
                }
            }
        }
    }

    @Test func conversionsToOtherFormats() throws {
        var random = Random(25)
        let (inputs, outputs) = (70, 33)
        let (tensor, w) = stored(random.floats(inputs * outputs), .f32, shape: [outputs, inputs])
        let backend = try makeBackend()
        for format in [WeightFormat.f32, .f16, .bf16] {
            let matrix = try backend.matrix(source(tensor), bias: nil, format: format)
            var batch = StepBatch()
            batch.tokens = (0..<Int32(outputs)).map { $0 }
            batch.positions = batch.tokens
            backend.begin(batch)
            let x = backend.embed(try backend.embedding(tiedTo: matrix), batch)
            for r in 0..<outputs {
                for k in 0..<inputs {
                    let v = w[r * inputs + k]
                    let wanted = format == .f32 ? v : format == .f16 ? Float(Float16(v)) : bf16(v)
                    #expect(x[r, k].bitPattern == wanted.bitPattern)
                }
            }
        }
    }
}

@Suite struct ThreadPoolTests {
    /// Every item once, whoever takes part, with threads that come and go to sleep.
    @Test(arguments: [1, 2, 3, 8]) func everyItemOnce(threads: Int) throws {
        let pool = try ThreadPool(threads: threads)
        for round in 0..<300 {
            let items = 1 + round * 7 % 200
            let counts = UnsafeMutablePointer<Int32>.allocate(capacity: items)
            counts.initialize(repeating: 0, count: items)
            pool.share(items) { range, thread in
                precondition(thread < threads)
                for i in range { counts[i] += 1 }
            }
            #expect((0..<items).allSatisfy { counts[$0] == 1 })
            counts.deallocate()
            if round % 50 == 49 { usleep(2000) }
        }
    }

    @Test func impossibleNumbersAreRefused() {
        #expect(throws: BackendError.self) { _ = try ThreadPool(threads: 0) }
        #expect(throws: BackendError.self) { _ = try ThreadPool(threads: 100_000) }
    }
}

@Suite struct LoadingTests {
    struct Failing: TensorReader {
        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(BackendError) {
            throw .unreadable(tensor: "a.weight", reason: "the file ends early")
        }
    }

    @Test func whatReadingThrowsIsThrown() throws {
        let backend = try makeBackend(threads: 3)
        let tensor = StoredTensor(
            name: "a.weight", type: .bf16, shape: [900, 64], reader: Failing())
        #expect(throws: BackendError.unreadable(tensor: "a.weight", reason: "the file ends early"))
        {
            _ = try backend.matrix(source(tensor), bias: nil, format: nil)
        }
        #expect(throws: BackendError.self) { _ = try backend.embedding(source(tensor)) }
    }

    @Test func impossibleShapesAreRefused() throws {
        let backend = try makeBackend()
        let reader = MemoryReader(bytes: [])
        for (type, shape) in [
            (StoredType.bf16, [4, 0]), (.bf16, [0, 4]), (.bf16, [4, 1 << 40]), (.q8_0, [4, 33]),
            (.named("q4_K"), [4, 128]), (.f32, [1 << 40, 4]),
        ] {
            let tensor = StoredTensor(name: "x", type: type, shape: shape, reader: reader)
            #expect(throws: BackendError.self) {
                _ = try backend.matrix(source(tensor), bias: nil, format: nil)
            }
        }
    }

    @Test func memoryThatIsNotThereIsAnError() throws {
        let backend = try makeBackend()
        let layout = CacheLayout(
            layers: 1 << 20, kvHeads: 1 << 10, headDim: 256, blockTokens: 16, blocks: 1 << 20,
            format: .bf16)
        #expect(throws: BackendError.self) { _ = try backend.cache(layout) }
    }
}

@Suite struct MixtureTests {
    /// GLM-4.5's routing against double precision; and rows alone as in company.
    @Test(arguments: [(8, 3, 1, 1, true), (12, 4, 4, 2, true), (6, 2, 1, 1, false)])
    func equalsDoublePrecision(
        _ c: (experts: Int, perToken: Int, groups: Int, kept: Int, normalizes: Bool)
    ) throws {
        var random = Random(31)
        let (hidden, features) = (24, 16)
        let backend = try makeBackend()
        func weights(_ rows: Int, _ columns: Int) throws -> (CPUMatrix, [Float]) {
            let (t, v) = stored(
                random.floats(rows * columns, scale: 0.5), .f32, shape: [rows, columns])
            return (try backend.matrix(source(t), bias: nil, format: nil), v)
        }
        func feedForward() throws -> (Expert<CPUMatrix, CPUGatedMatrix>, ([Double]) -> [Double]) {
            let (g, gv) = stored(random.floats(features * hidden), .f32, shape: [features, hidden])
            let (u, uv) = stored(random.floats(features * hidden), .f32, shape: [features, hidden])
            let (down, dv) = try weights(hidden, features)
            let gated = try backend.gatedMatrix(gate: source(g), up: source(u), format: nil)
            return (
                Expert(gated: gated, down: down),
                { x in
                    let inner = (0..<features).map { f in
                        let a = (0..<hidden).reduce(0.0) {
                            $0 + x[$1] * Double(gv[f * hidden + $1])
                        }
                        let b = (0..<hidden).reduce(0.0) {
                            $0 + x[$1] * Double(uv[f * hidden + $1])
                        }
                        return a / (1 + exp(-a)) * b
                    }
                    return (0..<hidden).map { o in
                        (0..<features).reduce(0.0) {
                            $0 + inner[$1] * Double(dv[o * features + $1])
                        }
                    }
                }
            )
        }
        let (router, rv) = try weights(c.experts, hidden)
        let experts = try (0..<c.experts).map { _ in try feedForward() }
        let shared = try feedForward()
        let bias = random.floats(c.experts, scale: 0.3)
        let scale = random.floats(hidden)
        let norm = try backend.norm(scale, epsilon: 1e-5)
        let mixture = Mixture(
            router: router, correctionBias: bias, experts: experts.map(\.0), shared: shared.0,
            expertsPerToken: c.perToken, groups: c.groups, groupsPerToken: c.kept,
            normalizesWeights: c.normalizes, scale: 1.5)
        let values = random.floats(9 * hidden)
        backend.start()
        let together = backend.put(values, rows: 9, columns: hidden)
        backend.addMixture(norm: norm, mixture, to: together)
        for r in 0..<9 {
            let own = Array(values[r * hidden..<(r + 1) * hidden])
            let alone = backend.put(own, rows: 1, columns: hidden)
            backend.addMixture(norm: norm, mixture, to: alone)
            #expect(bits(alone.values) == bits(together.row(r)))
            let f =
                1
                / (own.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(hidden) + 1e-5)
                .squareRoot()
            let x = zip(own, scale).map { Double($0) * f * Double($1) }
            let score = (0..<c.experts).map { e in
                1
                    / (1
                        + exp(
                            -(0..<hidden).reduce(0.0) { $0 + x[$1] * Double(rv[e * hidden + $1]) }))
            }
            let rating = zip(score, bias).map { $0 + Double($1) }
            let size = c.experts / c.groups
            let best = (0..<c.groups).sorted { a, b in
                func rate(_ g: Int) -> Double {
                    rating[g * size..<(g + 1) * size].sorted(by: >).prefix(2).reduce(0, +)
                }
                return rate(a) > rate(b)
            }.prefix(c.kept)
            let chosen = (0..<c.experts).filter { best.contains($0 / size) }
                .sorted { rating[$0] > rating[$1] }.prefix(c.perToken)
            let sum = chosen.reduce(0.0) { $0 + score[$1] }
            var y = own.map { Double($0) }
            for e in chosen {
                let weight = score[e] / (c.normalizes ? sum : 1) * 1.5
                for (i, v) in experts[e].1(x).enumerated() { y[i] += weight * v }
            }
            for (i, v) in shared.1(x).enumerated() { y[i] += v }
            for i in 0..<hidden { #expect(abs(Double(together[r, i]) - y[i]) < 1e-4) }
        }
    }
}

@Suite struct StepMemoryTests {
    @Test func marksGiveBackAndStepsSettle() throws {
        let backend = try makeBackend()
        backend.start()
        let first = backend.activations(rows: 10, columns: 100)
        let mark = backend.mark()
        let a = backend.activations(rows: 5000, columns: 1000)
        _ = backend.activations(rows: 5000, columns: 1000)
        backend.release(mark)
        let again = backend.activations(rows: 50, columns: 10)
        #expect(first.rows == 10 && a.rows == 5000 && again.rows == 50)
        backend.start()
        let base = backend.activations(rows: 5000, columns: 1000).base
        backend.start()
        #expect(backend.activations(rows: 5000, columns: 1000).base == base)
    }
}
