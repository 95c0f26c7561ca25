/// What activations are multiplied as, where the weights are floating point.
package enum ComputePrecision: String, Sendable, CaseIterable {
    /// Exact f32 activations, f32 KV cache.
    case f32
    /// Activations rounded to bf16 before each product, f32 accumulation, bf16 KV cache.
    case bf16
}

/// How keys and values are stored.
package enum CacheFormat: String, Sendable, CaseIterable {
    case f32, bf16, int8
}

/// How activations are quantised before a product with quantised weights.
package enum ActivationScaling: String, Sendable, CaseIterable {
    /// One f32 scale per 32 values (the reference; what llama.cpp does).
    case exact
    /// Per 32 values, a power of two below the row's scale.
    case powerOfTwo
    /// One scale per row. Wrong for models with outlier channels; by request only.
    case row
}

package struct ComputeOptions: Sendable {
    package var precision: ComputePrecision = .bf16
    package var cacheFormat: CacheFormat = .bf16
    /// nil: the best choice for each weight format.
    package var activationScaling: ActivationScaling?
    /// Threads that compute, the calling one included; nil: all cores this process may use.
    package var threads: Int?
    /// Names a kernel set (`avx512`, `avx2`, `scalar`) instead of the best one for this CPU.
    package var instructionSet: String?
    package init() {}
}

/// Gives the bytes of one stored tensor.
package protocol TensorReader: Sendable {
    /// Fills `buffer` with the tensor's bytes from `offset` on.
    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(BackendError)
}

package struct StoredTensor: Sendable {
    /// The full name in the checkpoint, for messages.
    package let name: String
    package let type: StoredType
    /// Outermost dimension first; the last is contiguous.
    package let shape: [Int]
    package let reader: any TensorReader

    package init(name: String, type: StoredType, shape: [Int], reader: any TensorReader) {
        self.name = name
        self.type = type
        self.shape = shape
        self.reader = reader
    }
}

/// The rows of a weight matrix, put together from one or more stored tensors
/// (a fused QKV matrix is three of them, a fused gate-up matrix two halves of one).
package struct MatrixSource: Sendable {
    package struct Segment: Sendable {
        package let tensor: StoredTensor
        /// Rows of the tensor seen as `[count / columns, columns]`.
        package let rows: Range<Int>
        package init(tensor: StoredTensor, rows: Range<Int>) {
            self.tensor = tensor
            self.rows = rows
        }
    }
    package let segments: [Segment]
    package let columns: Int
    package var rows: Int { segments.reduce(0) { $0 + $1.rows.count } }

    package init(segments: [Segment], columns: Int) {
        self.segments = segments
        self.columns = columns
    }
}

package struct RotarySpecification: Sendable {
    package enum Pairing: Sendable { case interleaved, halves }
    /// Radians per position for each rotated pair, after any scaling; `[rotatedDims / 2]`.
    package var inverseFrequencies: [Float]
    package var pairing: Pairing
    /// Multiplies sine and cosine (YaRN's attention factor); 1 otherwise.
    package var magnitude: Float
    package var positionsMax: Int

    package init(
        inverseFrequencies: [Float], pairing: Pairing, magnitude: Float = 1, positionsMax: Int
    ) {
        self.inverseFrequencies = inverseFrequencies
        self.pairing = pairing
        self.magnitude = magnitude
        self.positionsMax = positionsMax
    }
}

package struct AttentionSpecification<Rotary, Norm> {
    package var heads: Int
    package var kvHeads: Int
    package var headDim: Int
    /// Multiplies the scores: `1 / √headDim` in all models so far.
    package var scale: Float
    package var rotary: Rotary
    /// RMS norms of every query and key head, before the rotation (Qwen3, GLM-4.5).
    package var queryNorm: Norm?
    package var keyNorm: Norm?

    package init(
        heads: Int, kvHeads: Int, headDim: Int, scale: Float, rotary: Rotary,
        queryNorm: Norm? = nil, keyNorm: Norm? = nil
    ) {
        self.heads = heads
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.scale = scale
        self.rotary = rotary
        self.queryNorm = queryNorm
        self.keyNorm = keyNorm
    }
}

/// One feed-forward block: `down(silu(gate(x)) × up(x))`.
package struct Expert<Matrix, GatedMatrix> {
    package let gated: GatedMatrix
    package let down: Matrix
    package init(gated: GatedMatrix, down: Matrix) {
        self.gated = gated
        self.down = down
    }
}

/// A routed mixture of experts as GLM-4.5 has it.
/// - SeeAlso: DeepSeek-V3 technical report 2024, §2.1.2 (sigmoid gating, bias only for choosing).
package struct Mixture<Matrix, GatedMatrix> {
    /// `[experts, hidden]`, computed in f32 whatever the precision.
    package var router: Matrix
    /// Added to the sigmoid scores when experts are chosen, not when they are weighted.
    package var correctionBias: [Float]
    package var experts: [Expert<Matrix, GatedMatrix>]
    package var shared: Expert<Matrix, GatedMatrix>?
    package var expertsPerToken: Int
    /// Experts are chosen from the best `groupsPerToken` of `groups` equal groups, a group being
    /// rated by the sum of its two best experts.
    package var groups: Int
    package var groupsPerToken: Int
    /// Divide the chosen weights by their sum (plus 1e-20).
    package var normalizesWeights: Bool
    package var scale: Float

    package init(
        router: Matrix, correctionBias: [Float], experts: [Expert<Matrix, GatedMatrix>],
        shared: Expert<Matrix, GatedMatrix>?, expertsPerToken: Int, groups: Int,
        groupsPerToken: Int, normalizesWeights: Bool, scale: Float
    ) {
        self.router = router
        self.correctionBias = correctionBias
        self.experts = experts
        self.shared = shared
        self.expertsPerToken = expertsPerToken
        self.groups = groups
        self.groupsPerToken = groupsPerToken
        self.normalizesWeights = normalizesWeights
        self.scale = scale
    }
}

package struct CacheLayout: Sendable, Equatable {
    package var layers: Int
    package var kvHeads: Int
    package var headDim: Int
    /// Tokens of one KV block.
    package var blockTokens: Int
    package var blocks: Int
    package var format: CacheFormat

    package init(
        layers: Int, kvHeads: Int, headDim: Int, blockTokens: Int, blocks: Int, format: CacheFormat
    ) {
        self.layers = layers
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.blockTokens = blockTokens
        self.blocks = blocks
        self.format = format
    }

    /// Bytes of keys and values of one token, all layers.
    /// int8 adds one f32 scale per head for each of key and value.
    package var bytesPerToken: Int {
        let perHead =
            switch format {
            case .f32: headDim * 4
            case .bf16: headDim * 2
            case .int8: headDim + 4
            }
        return layers * 2 * kvHeads * perHead
    }
}

/// The rows of one step, laid out by the model runner and reused from step to step.
/// Rows of one sequence follow one another; prefill and decode differ only in their number.
package struct StepBatch: ~Copyable {
    package struct SequenceRows: Sendable {
        /// First row of this sequence in the step, and how many it has.
        package var firstRow: Int32
        package var rowCount: Int32
        /// Position of its first row in the sequence; the context before it is in KV blocks.
        package var firstPosition: Int32
        /// Start of its block table in ``StepBatch/blockTables``.
        package var blockTableOffset: Int32
        package init(
            firstRow: Int32, rowCount: Int32, firstPosition: Int32, blockTableOffset: Int32
        ) {
            self.firstRow = firstRow
            self.rowCount = rowCount
            self.firstPosition = firstPosition
            self.blockTableOffset = blockTableOffset
        }
    }
    /// `[rows]`
    package var tokens: [Int32] = []
    /// `[rows]`
    package var positions: [Int32] = []
    package var sequences: [SequenceRows] = []
    /// The block tables of all sequences, one after the other: block indices into the cache. A
    /// sequence's table covers at least the positions up to its last row of this step.
    package var blockTables: [Int32] = []
    /// Rows whose logits are wanted, ascending.
    package var outputRows: [Int32] = []
    package init() {}

    package mutating func removeAll() {
        tokens.removeAll(keepingCapacity: true)
        positions.removeAll(keepingCapacity: true)
        sequences.removeAll(keepingCapacity: true)
        blockTables.removeAll(keepingCapacity: true)
        outputRows.removeAll(keepingCapacity: true)
    }
}
