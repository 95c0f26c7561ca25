import CAutoGLMKernels
import TestKit
import Testing

@testable import AutoGLMCompute

private let schemes: [QuantizationScheme] = [8, 4].flatMap { bits in
    [false, true].flatMap { asymmetric in
        [32, 64, 128, nil].flatMap { group in
            QuantizationScheme.Activations.allCases.map {
                QuantizationScheme(
                    bits: bits, isAsymmetric: asymmetric, group: group, activations: $0)
            }
        }
    }
}

/// The values a matrix holds after rounding.
private func values(_ matrix: CPUMatrix) -> [Float] {
    let panels = matrix.parts[0]
    var row = [Float](repeating: 0, count: matrix.inputs)
    return (0..<matrix.outputs).flatMap { output in
        panels.operations.pointee.unpack(
            panels.panel(output / 32), Int32(matrix.inputs), Int32(output % 32), &row)
        return row
    }
}

private func bytes(_ matrix: CPUMatrix) -> [UInt8] {
    let panels = matrix.parts[0]
    return (0..<panels.bytes).map { panels.panel(0)[$0] }
}

@Suite struct QuantSchemeTests {
    @Test func everyNameMeansItsScheme() {
        #expect(schemes.count == 48)
        for scheme in schemes { #expect(QuantizationScheme(scheme.name) == scheme) }
        #expect(Set(schemes.map(\.name)).count == schemes.count)
        #expect(QuantizationScheme("int4") == QuantizationScheme(bits: 4))
        #expect(QuantizationScheme("int8-g32-dynamic")?.name == "int8")
        #expect(WeightFormat(rawValue: "bf16") == .bf16)
        for name in [
            "", "int", "int5", "int4-", "-int4", "int4-g16", "int4-asym-asym", "int4-g64-asym",
            "int4-static-g64", "int4-channel-g64", "INT4", "int4 ", "int8-dynamic-weights", "q4_0",
        ] {
            #expect(QuantizationScheme(name) == nil, "\(name)")
            #expect(WeightFormat(rawValue: name) == nil, "\(name)")
        }
    }

    /// No value is further from its rounded one than half a step of its group, plus what f16
    /// scales cost and, for four symmetric bits, the one value at the far end.
    @Test(arguments: schemes.filter { $0.activations == .dynamic })
    func roundedValuesAreNear(_ scheme: QuantizationScheme) throws {
        var random = Random(UInt64(scheme.bits) + UInt64(scheme.group ?? 1))
        let backend = try makeBackend()
        for inputs in [7, 32, 100, 384] {
            let shift: Float = scheme.isAsymmetric ? 0.7 : 0
            let (tensor, kept) = stored(
                random.floats(inputs * 37).map { $0 + shift }, .f32, shape: [37, inputs])
            let matrix = try backend.matrix(
                source(tensor), bias: nil, format: .integers(scheme))
            let rounded = values(matrix)
            let group = scheme.group ?? inputs
            let levels = Float(1 << scheme.bits - 1)
            for output in 0..<37 {
                for start in stride(from: 0, to: inputs, by: group) {
                    let range = output * inputs + start
                        ..< output * inputs + min(start + group, inputs)
                    let w = kept[range]
                    var (low, top) = (w.min() ?? 0, w.max() ?? 0)
                    // Block types round a last group as if zeros filled it up.
                    if scheme.isBlockType, w.count < 32 { (low, top) = (min(low, 0), max(top, 0)) }
                    let reach = max(top, -low)
                    let step = scheme.isAsymmetric
                        ? (top - low) / levels : reach / Float(scheme.bits == 8 ? 127 : 8)
                    let worst = scheme.bits == 4 && !scheme.isAsymmetric ? step : step / 2
                    let slack = (reach + abs(low)) / 1024 + step * 0.01
                    for index in range {
                        #expect(abs(rounded[index] - kept[index]) <= worst + slack)
                    }
                }
            }
        }
    }

    @Test(arguments: [8, 16, 32, 64, 128])
    func panelsOfAnyWidthHoldTheSame(_ width: Int) throws {
        var random = Random(700)
        let backend = try makeBackend()
        for scheme in schemes where scheme.activations == .dynamic && scheme.group == 64 {
            let format = WeightFormat.integers(scheme)
            for inputs in [40, 96] {
                let (one, _) = stored(random.floats(inputs * 75), .f32, shape: [75, inputs])
                let (two, _) = stored(random.floats(inputs * 75), .f32, shape: [75, inputs])
                let plain = try backend.matrix(source(one), bias: nil, format: format)
                let gated = try backend.gatedMatrix(
                    gate: source(one), up: source(two), format: format)
                guard case .interleaved(let gatedPanels) = gated.form else {
                    Issue.record("not interleaved")
                    return
                }
                for (panels, image) in [
                    (plain.parts[0], try #require(plain.image)),
                    (gatedPanels, try #require(gated.image)),
                ] {
                    var file: [UInt8] = []
                    image.write(panelOutputs: width) { file.append(contentsOf: $0) }
                    let count = PackedMatrix.panels(
                        outputs: 75, isGated: image.isGated, panelOutputs: width)
                    #expect(
                        file.count == count
                            * (image.form.panelBytes(inputs: inputs, panelOutputs: width) ?? 0))
                    var packed = PackedMatrix(
                        name: "w", form: image.form, outputs: 75, inputs: inputs,
                        isGated: image.isGated, panelOutputs: width, activations: .dynamic,
                        inputScales: nil, reader: MemoryReader(bytes: file))
                    let again = image.isGated
                        ? try backend.gatedMatrix(packed: packed).image
                        : try backend.matrix(packed: packed, bias: nil).image
                    var back: [UInt8] = []
                    try #require(again).write(panelOutputs: 32) { back.append(contentsOf: $0) }
                    let same = back == (0..<panels.bytes).map { panels.panel(0)[$0] }
                    #expect(same, "\(scheme.name), gated \(image.isGated)")
                    // A file cut short is an error, whatever its width.
                    packed.reader = MemoryReader(bytes: file.dropLast())
                    #expect(throws: BackendError.self) {
                        if packed.isGated {
                            _ = try backend.gatedMatrix(packed: packed)
                        } else {
                            _ = try backend.matrix(packed: packed, bias: nil)
                        }
                    }
                }
            }
        }
    }

    @Test func impossiblePanelsAreRefused() throws {
        let backend = try makeBackend()
        let good = PackedMatrix(
            name: "w", form: .q8, outputs: 32, inputs: 32, isGated: false, panelOutputs: 32,
            activations: .dynamic, inputScales: nil, reader: MemoryReader(bytes: []))
        for change in 0..<6 {
            var bad = good
            switch change {
            case 0: bad.inputs = 0
            case 1: bad.outputs = -1
            case 2: bad.panelOutputs = 7
            case 3: bad.inputScales = [1, 2]
            case 4: bad.inputs = .max
            default: bad.outputs = .max
            }
            #expect(throws: BackendError.self) { _ = try backend.matrix(packed: bad, bias: nil) }
        }
    }

    /// Weight-only products: every set of kernels gives the same bits, alone as in a batch, and
    /// they are the products of the rounded weights.
    @Test(arguments: [PanelForm.q4, .q4m, .q8, .q8fm])
    func weightOnlyProducts(_ form: PanelForm) throws {
        let scheme = QuantizationScheme(
            bits: form == .q8 || form == .q8fm ? 8 : 4,
            isAsymmetric: form == .q4m || form == .q8fm, group: 64, activations: .float)
        #expect(scheme.form == form)
        for inputs in [7, 64, 300, 1056] {
            var random = Random(UInt64(inputs) + 900)
            let (tensor, _) = stored(random.floats(inputs * 75), .f32, shape: [75, inputs])
            let x = random.floats(19 * inputs)
            let weight = random.floats(inputs)
            var wanted: [UInt32] = []
            for set in InstructionSet.available {
                let backend = try makeBackend(set)
                let matrix = try backend.matrix(
                    source(tensor), bias: nil, format: .integers(scheme))
                let norm = try backend.norm(weight, epsilon: 1e-5)
                backend.start()
                let all = backend.linear(
                    backend.put(x, rows: 19, columns: inputs), norm: norm, matrix)
                if wanted.isEmpty { wanted = bits(all.values) }
                #expect(bits(all.values) == wanted, "\(set), \(inputs)")
                let plain = backend.linear(
                    backend.put(x, rows: 19, columns: inputs), norm: nil, matrix).values
                let w = values(matrix)
                for row in [0, 5, 18] {
                    let alone = backend.linear(
                        backend.put(
                            Array(x[row * inputs..<(row + 1) * inputs]), rows: 1, columns: inputs),
                        norm: norm, matrix)
                    #expect(bits(alone.values) == Array(wanted[row * 75..<(row + 1) * 75]))
                    for output in 0..<75 {
                        var sum = 0.0
                        var size = 0.0
                        for k in 0..<inputs {
                            let product = Double(x[row * inputs + k])
                                * Double(w[output * inputs + k])
                            sum += product
                            size += abs(product)
                        }
                        #expect(
                            abs(Double(plain[row * 75 + output]) - sum)
                                <= Double(inputs + 2) * 6e-8 * size)
                    }
                }
            }
        }
    }

    /// Fixed scales: the same bits in every set of kernels, alone and in a batch; values beyond
    /// the measured range are clipped; what is not a number stays visible in its own row.
    @Test(arguments: [PanelForm.q4, .q4m, .q8, .q8fm])
    func fixedScales(_ form: PanelForm) throws {
        let scheme = QuantizationScheme(
            bits: form == .q8 || form == .q8fm ? 8 : 4,
            isAsymmetric: form == .q4m || form == .q8fm)
        for inputs in [32, 300, 1056] {
            var random = Random(UInt64(inputs) + 1100)
            let (tensor, _) = stored(random.floats(inputs * 75), .f32, shape: [75, inputs])
            let scales = (0..<(inputs + 31) / 32).map { _ in abs(random.float()) / 127 + 0.004 }
            var x = random.floats(19 * inputs)
            x[3 * inputs + 5] = 1e12  // clipped, with its sign
            x[4 * inputs + 5] = -1e12
            x[6 * inputs + 1] = .nan
            x[7 * inputs + 1] = .infinity
            var wanted: [UInt32] = []
            for set in InstructionSet.available {
                let backend = try makeBackend(set)
                let image = try #require(
                    try backend.matrix(source(tensor), bias: nil, format: .integers(scheme)).image)
                var file: [UInt8] = []
                image.write(panelOutputs: 32) { file.append(contentsOf: $0) }
                let packed = PackedMatrix(
                    name: "w", form: form, outputs: 75, inputs: inputs, isGated: false,
                    panelOutputs: 32, activations: .fixed, inputScales: scales,
                    reader: MemoryReader(bytes: file))
                let matrix = try backend.matrix(packed: packed, bias: nil)
                backend.start()
                let all = backend.linear(
                    backend.put(x, rows: 19, columns: inputs), norm: nil, matrix).values
                for row in 0..<19 {
                    let y = all[row * 75..<(row + 1) * 75]
                    if row == 6 || row == 7 {
                        #expect(y.allSatisfy { !$0.isFinite })
                        continue
                    }
                    #expect(y.allSatisfy { $0.isFinite })
                    let alone = backend.linear(
                        backend.put(
                            Array(x[row * inputs..<(row + 1) * inputs]), rows: 1, columns: inputs),
                        norm: nil, matrix)
                    #expect(bits(alone.values) == bits(Array(y)), "\(set), row \(row)")
                }
                let finite = bits(Array(all[..<(6 * 75)]) + Array(all[(8 * 75)...]))
                if wanted.isEmpty { wanted = finite }
                #expect(finite == wanted, "\(set), \(inputs) inputs")
                // Against the definition, in exact arithmetic.
                let w = values(matrix)
                for row in [0, 3, 4, 18] {
                    for output in [0, 31, 74] {
                        var sum = 0.0
                        var size = 0.0
                        for k in 0..<inputs {
                            let scale = Double(scales[k / 32])
                            let q = (Double(x[row * inputs + k]) / scale)
                                .rounded(.toNearestOrEven)
                            let product = min(max(q, -127), 127) * scale
                                * Double(w[output * inputs + k])
                            sum += product
                            size += abs(product)
                        }
                        // One integer may have been rounded the other way.
                        #expect(
                            abs(Double(all[row * 75 + output]) - sum) <= 2e-5 * size + 0.03,
                            "row \(row)")
                    }
                }
            }
        }
    }
}
