import CAutoGLMKernels
import Synchronization

/// Some outputs of a weight matrix, all in one format: what the kernels call a matrix.
@safe
final class WeightPanels {
    let descriptor: UnsafeMutablePointer<k_matrix>
    let operations: UnsafePointer<k_format_ops>
    /// The same weights with exact f32 activations, for routers.
    let exact: UnsafePointer<k_format_ops>
    /// Where these outputs stand in the whole matrix.
    let firstOutput: Int
    let outputs: Int
    let bytes: Int
    /// The greatest magnitude of each 32 inputs so far; nil while nobody asks.
    var inputMagnitudes: [Float]?
    private let data: OwnedBuffer
    private let bias: OwnedBuffer?
    private let inputScales: OwnedBuffer?

    init(
        format: WeightLayout, outputs: Int, inputs: Int, gated: Bool, firstOutput: Int,
        bias values: ArraySlice<Float>?, inputScales scales: [Float]? = nil
    ) throws(BackendError) {
        let panels = (outputs + Int(K_PANEL) - 1) / Int(K_PANEL) * (gated ? 2 : 1)
        let panelBytes = unsafe format.operations.pointee.panel_bytes(Int32(inputs))
        let (bytes, overflow) = panels.multipliedReportingOverflow(by: panelBytes)
        guard !overflow else { throw .outOfMemory(requestedBytes: .max) }
        data = try OwnedBuffer(bytes: bytes + Int(K_SLACK))
        if let values {
            let room = try OwnedBuffer(bytes: panels * Int(K_PANEL) * 4)
            for (index, value) in values.enumerated() { unsafe room.floats()[index] = value }
            bias = room
        } else {
            bias = nil
        }
        if let scales {
            let room = try OwnedBuffer(bytes: scales.count * 4)
            for (index, scale) in scales.enumerated() { unsafe room.floats()[index] = scale }
            inputScales = room
        } else {
            inputScales = nil
        }
        unsafe operations = format.operations
        unsafe exact = format.exact
        self.firstOutput = firstOutput
        self.outputs = outputs
        self.bytes = bytes
        unsafe descriptor = .allocate(capacity: 1)
        unsafe descriptor.initialize(
            to: k_matrix(
                format: format.format, gated: gated ? 1 : 0, outputs: Int32(outputs),
                inputs: Int32(inputs), panels: Int32(panels), panel_bytes: panelBytes,
                data: data.base.assumingMemoryBound(to: UInt8.self),
                bias: UnsafePointer(bias?.floats()),
                input_scales: UnsafePointer(inputScales?.floats())))
    }

    deinit { unsafe descriptor.deallocate() }

    func panel(_ index: Int) -> UnsafeMutablePointer<UInt8> {
        unsafe descriptor.pointee.data + index * descriptor.pointee.panel_bytes
    }
}

/// A form of weights in memory and its kernels.
@safe
struct WeightLayout {
    let format: UInt32
    let operations: UnsafePointer<k_format_ops>
    let exact: UnsafePointer<k_format_ops>
    /// How stored rows are rounded, where the format's own way of packing does not do.
    let rounding: QuantizationScheme?

    /// - Parameter wanted: nil keeps what is stored.
    init(
        stored: StoredType, wanted: WeightFormat?, set: InstructionSet, options: ComputeOptions
    ) throws(BackendError) {
        let format =
            switch wanted {
            case .f32: UInt32(K_FORMAT_F32.rawValue)
            case .f16: UInt32(K_FORMAT_F16.rawValue)
            case .bf16: UInt32(K_FORMAT_BF16.rawValue)
            case .integers(let scheme): scheme.form.format
            case nil: k_stored_format(stored.kernels)
            }
        let scheme = wanted?.scheme
        try self.init(
            format, scheme?.activations ?? .dynamic,
            rounding: scheme.flatMap { $0.isBlockType ? nil : $0 },
            name: "weights stored as \(stored.name)", set: set, options: options)
    }

    /// - Parameter activations: what quantised weights are multiplied with.
    init(
        _ format: UInt32, _ activations: QuantizationScheme.Activations,
        rounding: QuantizationScheme? = nil, name: String, set: InstructionSet,
        options: ComputeOptions
    ) throws(BackendError) {
        self.format = format
        self.rounding = rounding
        let scaling: k_scaling =
            switch options.activationScaling {
            case nil: K_SCALING_DEFAULT
            case .exact: K_SCALING_EXACT
            case .powerOfTwo: K_SCALING_POWER_OF_TWO
            case .row: K_SCALING_ROW
            }
        let precision = options.precision == .bf16 ? K_PRECISION_BF16 : K_PRECISION_F32
        guard
            let operations = unsafe activations == .float
                ? k_quant_weight_only_ops(set.kernels, format)
                : k_format_ops_for(set.kernels, format, precision, scaling),
            let exact = unsafe k_format_ops_for(
                set.kernels, format, K_PRECISION_F32, K_SCALING_EXACT)
        else {
            throw .unsupported(
                what: name,
                remedy: "convert the model to bf16, or load it with another weight format")
        }
        unsafe self.operations = operations
        unsafe self.exact = exact
    }
}

/// A weight matrix: one set of panels, or several where the rows are stored in different forms.
package final class CPUMatrix {
    let parts: [WeightPanels]
    package let outputs: Int
    package let inputs: Int

    init(parts: [WeightPanels], outputs: Int, inputs: Int) {
        self.parts = parts
        self.outputs = outputs
        self.inputs = inputs
    }

    var bytes: Int { parts.reduce(0) { $0 + $1.bytes } }
}

/// Gate and up projections: interleaved panels, or two matrices where their forms differ.
package final class CPUGatedMatrix {
    enum Form {
        case interleaved(WeightPanels)
        case apart(gate: CPUMatrix, up: CPUMatrix)
    }
    let form: Form
    package let features: Int
    package let inputs: Int

    init(_ form: Form, features: Int, inputs: Int) {
        self.form = form
        self.features = features
        self.inputs = inputs
    }

    package var bytes: Int {
        switch form {
        case .interleaved(let panels): panels.bytes
        case .apart(let gate, let up): gate.bytes + up.bytes
        }
    }
}

/// Token embeddings: rows as the file stores them, or those of the output projection.
package final class CPUEmbedding {
    enum Form {
        case rows(OwnedBuffer, StoredType, rowBytes: Int)
        case tied(CPUMatrix)
    }
    let form: Form
    package let vocabulary: Int
    package let hidden: Int

    init(_ form: Form, vocabulary: Int, hidden: Int) {
        self.form = form
        self.vocabulary = vocabulary
        self.hidden = hidden
    }
}

/// The weight vector of a norm.
@safe
package final class CPUNorm {
    private let buffer: OwnedBuffer
    package let count: Int
    package let epsilon: Float
    var weight: UnsafePointer<Float> { unsafe UnsafePointer(buffer.floats()) }

    init(_ weight: [Float], epsilon: Float) throws(BackendError) {
        buffer = try OwnedBuffer(bytes: weight.count * 4)
        for (index, value) in weight.enumerated() { unsafe buffer.floats()[index] = value }
        count = weight.count
        self.epsilon = epsilon
    }
}

/// Cosines and sines of every position, filled in as positions are reached.
///
/// The angle is the f32 product of position and inverse frequency, as the reference computes it;
/// its cosine and sine are then correctly rounded.
///
/// Backends that are siblings share it. Two of them may fill the same positions at the same time,
/// with the same values.
@safe
package final class CPURotary {
    let specification: RotarySpecification
    private let buffer: OwnedBuffer
    private let filled = Atomic<Int>(0)
    var pairs: Int { specification.inverseFrequencies.count }
    /// `[positions][2][pairs]`
    var angles: UnsafePointer<Float> { unsafe UnsafePointer(buffer.floats()) }

    init(_ specification: RotarySpecification) throws(BackendError) {
        self.specification = specification
        let (floats, overflow) = specification.positionsMax.multipliedReportingOverflow(
            by: 2 * max(1, specification.inverseFrequencies.count))
        guard !overflow, specification.positionsMax >= 0, floats < Int.max / 8 else {
            throw .outOfMemory(requestedBytes: .max)
        }
        buffer = try OwnedBuffer(bytes: floats * 4)
    }

    func fill(upTo positions: Int) {
        let filled = filled.load(ordering: .acquiring)
        guard positions > filled else { return }
        let end = min(specification.positionsMax, (positions + 255) & ~255)
        unsafe specification.inverseFrequencies.withUnsafeBufferPointer { frequencies in
            for position in filled..<end {
                let row = unsafe buffer.floats() + position * 2 * frequencies.count
                for index in 0..<frequencies.count {
                    let angle = unsafe Double(Float(position) * frequencies[index])
                    unsafe row[index] = Float(cosine(angle)) * specification.magnitude
                    unsafe row[frequencies.count + index] =
                        Float(sine(angle)) * specification.magnitude
                }
            }
        }
        self.filled.max(end, ordering: .releasing)
    }
}

/// Keys and values of all layers in blocks.
@safe
package final class CPUCache {
    package let layout: CacheLayout
    let descriptor: UnsafeMutablePointer<k_cache>
    let blockBytes: Int
    private let buffer: OwnedBuffer

    init(_ layout: CacheLayout, set: InstructionSet, precision: ComputePrecision)
        throws(BackendError)
    {
        guard layout.layers > 0, layout.kvHeads > 0, layout.blocks > 0, layout.headDim > 0,
            layout.headDim % 2 == 0, layout.headDim <= Int(K_DIM_MAX)
        else {
            throw .unsupported(
                what: "a KV cache of \(layout.layers) layers, \(layout.kvHeads) heads of "
                    + "\(layout.headDim) and \(layout.blocks) blocks",
                remedy: "all must be positive, and the head size even and at most \(K_DIM_MAX)")
        }
        guard layout.blockTokens > 0, layout.blockTokens % Int(K_PAGE) == 0 else {
            throw .unsupported(
                what: "KV blocks of \(layout.blockTokens) tokens",
                remedy: "use a multiple of \(K_PAGE)")
        }
        let format: k_cache_format =
            switch layout.format {
            case .f32: K_CACHE_F32
            case .bf16: K_CACHE_BF16
            case .int8: K_CACHE_INT8
            }
        guard
            let operations = unsafe k_cache_ops_for(
                set.kernels, format, precision == .bf16 ? K_PRECISION_BF16 : K_PRECISION_F32)
        else {
            throw .unsupported(
                what: "a KV cache in \(layout.format.rawValue)", remedy: "choose bf16")
        }
        let pageBytes = unsafe operations.pointee.page_bytes(Int32(layout.headDim))
        blockBytes = layout.kvHeads * (layout.blockTokens / Int(K_PAGE)) * pageBytes
        let (perLayer, first) = blockBytes.multipliedReportingOverflow(by: layout.blocks)
        let (bytes, second) = perLayer.multipliedReportingOverflow(by: layout.layers)
        guard !first, !second else { throw .outOfMemory(requestedBytes: .max) }
        buffer = try OwnedBuffer(bytes: bytes)
        self.layout = layout
        unsafe descriptor = .allocate(capacity: 1)
        unsafe descriptor.initialize(
            to: k_cache(
                ops: operations, data: buffer.base.assumingMemoryBound(to: UInt8.self),
                page_bytes: pageBytes, layers: Int32(layout.layers), blocks: Int32(layout.blocks),
                kv_heads: Int32(layout.kvHeads), dim: Int32(layout.headDim),
                block_tokens: Int32(layout.blockTokens)))
    }

    deinit { unsafe descriptor.deallocate() }

    /// Zeros, in pages that take no memory where whole pages are erased.
    func erase(_ blocks: [Int32]) {
        let sorted = blocks.sorted()
        var start = sorted.startIndex
        while start < sorted.endIndex {
            var end = start + 1
            while end < sorted.endIndex, sorted[end] == sorted[end - 1] + 1 { end += 1 }
            precondition(sorted[start] >= 0 && sorted[end - 1] < layout.blocks, "no such KV block")
            for layer in 0..<layout.layers {
                let offset = (layer * layout.blocks + Int(sorted[start])) * blockBytes
                buffer.erase(offset..<offset + (end - start) * blockBytes)
            }
            start = end
        }
    }

    func discard() { buffer.discard() }

    func block(_ index: Int, layer: Int) -> UnsafeMutableRawPointer {
        unsafe buffer.base + (layer * layout.blocks + index) * blockBytes
    }
}
