import CAutoGLMKernels

/// f32 values of the current step, `[rows, columns]`, rows `stride` apart. Valid until the step
/// memory they lie in is released.
@safe
package struct CPUActivations {
    let base: UnsafeMutablePointer<Float>
    package let rows: Int
    package let columns: Int
    let stride: Int

    package subscript(row: Int, column: Int) -> Float {
        precondition((0..<rows).contains(row) && (0..<columns).contains(column))
        return unsafe base[row * stride + column]
    }
}

/// The backend of this machine's processor: kernels in C, a pool of threads, memory of its own.
package final class CPUBackend: Backend {
    package typealias Matrix = CPUMatrix
    package typealias GatedMatrix = CPUGatedMatrix
    package typealias Embedding = CPUEmbedding
    package typealias Norm = CPUNorm
    package typealias Rotary = CPURotary
    package typealias Activations = CPUActivations
    package typealias Cache = CPUCache

    package let options: ComputeOptions
    /// The kernels in use.
    package let instructionSet: InstructionSet
    let pool: ThreadPool
    var arena = StepArena()
    /// The first thing that went wrong in this step.
    var failure: BackendError?
    /// Stands in for memory that could not be had, so that layers need no `try`.
    private let nothing: OwnedBuffer

    package var threads: Int { pool.threads }
    package var pulse: any StepPulse { pool.pulse }

    package func sibling() throws(BackendError) -> CPUBackend { try CPUBackend(options: options) }

    /// - Throws: ``BackendError/unsupported(what:remedy:)`` for a kernel set this processor lacks
    ///   or an impossible number of threads; ``BackendError/outOfMemory(requestedBytes:)``.
    package init(options: ComputeOptions) throws(BackendError) {
        self.options = options
        instructionSet = try InstructionSet.named(options.instructionSet)
        pool = try ThreadPool(threads: options.threads)
        nothing = try OwnedBuffer(bytes: 4096)
    }

    // MARK: Loading

    private var loader: WeightLoader {
        WeightLoader(pool: pool, set: instructionSet, options: options)
    }

    package func matrix(_ source: MatrixSource, bias: [Float]?, format: WeightFormat?)
        throws(BackendError) -> CPUMatrix
    {
        try loader.matrix(source, bias: bias, format: format)
    }

    package func gatedMatrix(gate: MatrixSource, up: MatrixSource, format: WeightFormat?)
        throws(BackendError) -> CPUGatedMatrix
    {
        try loader.gatedMatrix(gate: gate, up: up, format: format)
    }

    package func matrix(packed: PackedMatrix, bias: [Float]?) throws(BackendError) -> CPUMatrix {
        CPUMatrix(
            parts: [try loader.panels(packed, bias: bias)], outputs: packed.outputs,
            inputs: packed.inputs)
    }

    package func gatedMatrix(packed: PackedMatrix) throws(BackendError) -> CPUGatedMatrix {
        CPUGatedMatrix(
            .interleaved(try loader.panels(packed, bias: nil)), features: packed.outputs,
            inputs: packed.inputs)
    }

    package func embedding(_ source: MatrixSource) throws(BackendError) -> CPUEmbedding {
        try loader.embedding(source)
    }

    package func embedding(tiedTo head: CPUMatrix) throws(BackendError) -> CPUEmbedding {
        guard head.parts.count == 1 else {
            throw .unsupported(
                what: "embeddings tied to an output projection of several stored types",
                remedy: "convert the model so that the output projection has one type")
        }
        return CPUEmbedding(.tied(head), vocabulary: head.outputs, hidden: head.inputs)
    }

    package func norm(_ weight: [Float], epsilon: Float) throws(BackendError) -> CPUNorm {
        try CPUNorm(weight, epsilon: epsilon)
    }

    package func rotary(_ specification: RotarySpecification) throws(BackendError) -> CPURotary {
        try CPURotary(specification)
    }

    package func cache(_ layout: CacheLayout) throws(BackendError) -> CPUCache {
        try CPUCache(layout, set: instructionSet, precision: options.precision)
    }

    package func bytes(of matrix: CPUMatrix) -> Int { matrix.bytes }

    package func copyBlocks(_ pairs: [(from: Int32, to: Int32)], _ cache: CPUCache)
        throws(BackendError)
    {
        let blocks = 0..<Int32(cache.layout.blocks)
        for (from, to) in pairs {
            precondition(blocks.contains(from) && blocks.contains(to), "no such KV block")
            guard from != to else { continue }
            for layer in 0..<cache.layout.layers {
                unsafe cache.block(Int(to), layer: layer).copyMemory(
                    from: cache.block(Int(from), layer: layer), byteCount: cache.blockBytes)
            }
        }
    }

    package func eraseBlocks(_ blocks: [Int32], _ cache: CPUCache) throws(BackendError) {
        cache.erase(blocks)
    }

    package func discard(_ cache: CPUCache) { cache.discard() }

    // MARK: Step memory

    package func begin(_ batch: borrowing StepBatch) {
        precondition(batch.tokens.count == batch.positions.count)
        failure = nil
        do throws(BackendError) {
            try arena.reset()
        } catch {
            failure = error
        }
    }

    package func mark() -> StepMark { StepMark(offset: arena.offset) }

    package func release(_ mark: StepMark) { arena.release(to: mark.offset) }

    func fail(_ error: BackendError) {
        if failure == nil { failure = error }
    }

    /// Rows lie at least 64 bytes further apart where they would fall into the same cache sets.
    func stride(_ columns: Int) -> Int {
        let rounded = (columns + 15) & ~15
        return rounded % 256 == 0 ? rounded + 16 : rounded
    }

    /// Memory for a result. Without memory the step has failed: the result then has no rows, and
    /// every operation passes over it.
    func activations(rows: Int, columns: Int) -> CPUActivations {
        let stride = stride(columns)
        if failure == nil {
            let bytes = rows * stride * 4
            if let memory = unsafe arena.take(bytes) {
                return unsafe CPUActivations(
                    base: memory.assumingMemoryBound(to: Float.self), rows: rows, columns: columns,
                    stride: stride)
            }
            fail(.outOfMemory(requestedBytes: bytes))
        }
        return unsafe CPUActivations(
            base: nothing.floats(), rows: 0, columns: columns, stride: stride)
    }

    /// Memory for the inside of one operation; nil when the step has failed.
    func temporary(_ bytes: Int) -> UnsafeMutableRawPointer? {
        guard failure == nil else { return nil }
        if let memory = unsafe arena.take(bytes) { return unsafe memory }
        fail(.outOfMemory(requestedBytes: bytes))
        return nil
    }
}
