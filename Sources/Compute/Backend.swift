/// Where all maths happens: one device, its weights, its KV blocks, its step memory.
///
/// The operations are coarse on purpose. Each is what a device would run as one kernel (or one
/// short chain), so that a whole step can be queued without the host waiting, and so that a CPU
/// can keep the intermediate values in cache. A failed operation is remembered and thrown by
/// ``readLogits``: layers stay free of `try`, and an asynchronous device can do the same.
///
/// One thread uses a backend at a time (the engine thread); nothing here is `Sendable`.
///
/// - Invariant: a row's result depends on that row and its own context alone: never on the other
///   rows of the step, on how a prompt was cut into steps, or on the number of threads.
package protocol Backend: AnyObject {
    /// A weight matrix `[outputs, inputs]` (with its bias, if any) in the layout of the device.
    associatedtype Matrix
    /// Gate and up projections `[2 × features, inputs]` whose product is `silu(gate) × up`.
    associatedtype GatedMatrix
    /// The token embeddings `[vocabulary, hidden]`.
    associatedtype Embedding
    /// A weight vector of a norm, with its epsilon.
    associatedtype Norm
    /// Rotary angles for every position a model can reach.
    associatedtype Rotary
    /// f32 values `[rows, columns]` of the current step.
    associatedtype Activations
    /// Paged keys and values of all layers.
    associatedtype Cache

    var options: ComputeOptions { get }
    /// What tells another thread that a step goes on.
    var pulse: any StepPulse { get }

    /// The same device with threads and step memory of its own. It takes the weights of this one,
    /// which nobody writes to once they are loaded; a cache of its own it has to make.
    ///
    /// It may be asked for on another thread while this one hangs in a step.
    func sibling() throws(BackendError) -> Self

    // MARK: Loading

    /// Packs `source` for this device, reading it once, a few rows at a time.
    /// - Parameter format: the stored form to keep; nil keeps what the file has.
    /// - Throws: ``BackendError/outOfMemory(requestedBytes:)``, or what reading the file throws.
    func matrix(_ source: MatrixSource, bias: [Float]?, format: WeightFormat?)
        throws(BackendError) -> Matrix
    func gatedMatrix(gate: MatrixSource, up: MatrixSource, format: WeightFormat?)
        throws(BackendError) -> GatedMatrix
    /// Takes over weights that a file holds in panels.
    func matrix(packed: PackedMatrix, bias: [Float]?) throws(BackendError) -> Matrix
    func gatedMatrix(packed: PackedMatrix) throws(BackendError) -> GatedMatrix
    func embedding(_ source: MatrixSource) throws(BackendError) -> Embedding
    /// An embedding that looks its rows up in the output projection (tied weights).
    func embedding(tiedTo head: Matrix) throws(BackendError) -> Embedding
    func norm(_ weight: [Float], epsilon: Float) throws(BackendError) -> Norm
    func rotary(_ specification: RotarySpecification) throws(BackendError) -> Rotary
    func cache(_ layout: CacheLayout) throws(BackendError) -> Cache

    // MARK: One step

    /// Starts a step: forgets all activations of the one before.
    func begin(_ batch: borrowing StepBatch)
    /// Remembers the state of step memory; what is made after it is given back by ``release(_:)``.
    func mark() -> StepMark
    func release(_ mark: StepMark)

    /// `[rows, hidden]`: the embedding of every token of the batch.
    func embed(_ table: Embedding, _ batch: borrowing StepBatch) -> Activations
    /// `x × rsqrt(mean(x²) + ε) × weight`, row by row.
    func normalized(_ x: Activations, _ norm: Norm) -> Activations
    /// `norm(x) · Wᵀ + bias`; without a norm, `x · Wᵀ + bias`.
    func linear(_ x: Activations, norm: Norm?, _ weight: Matrix) -> Activations
    /// `silu(norm(x) · gateᵀ) × (norm(x) · upᵀ)`: `[rows, features]`.
    func gated(_ x: Activations, norm: Norm?, _ weight: GatedMatrix) -> Activations
    /// `residual += postNorm(x · Wᵀ + bias)`, in place.
    func addLinear(_ x: Activations, _ weight: Matrix, postNorm: Norm?, to residual: Activations)
    /// Rotates queries and keys, writes keys and values into their KV blocks, and attends over
    /// the context of each row.
    /// - Parameter qkv: `[rows, (heads + 2 × kvHeads) × headDim]`, not rotated; changed in place.
    /// - Returns: `[rows, heads × headDim]`.
    /// - SeeAlso: Kwon et al. 2023, PagedAttention, §4; Dao 2023, FlashAttention-2.
    func attention(
        _ qkv: Activations, _ specification: AttentionSpecification<Rotary, Norm>, layer: Int,
        _ cache: Cache, _ batch: borrowing StepBatch
    ) -> Activations
    /// `residual += Σ weightᵢ · expertᵢ(norm(x)) + shared(norm(x))`, where `x` is `residual`.
    func addMixture(
        norm: Norm, _ mixture: Mixture<Matrix, GatedMatrix>, to residual: Activations)
    /// Logits of the rows named by `batch.outputRows`: gathers them, normalises, projects.
    /// - Parameter logits: `[outputRows, vocabulary]`, row-major; filled on return.
    /// - Throws: what went wrong in this step, the first thing first.
    func readLogits(
        _ x: Activations, norm: Norm, head: Matrix, _ batch: borrowing StepBatch,
        into logits: UnsafeMutableBufferPointer<Float>
    ) throws(BackendError)

    /// Sizes of things, for `show` and admission.
    func bytes(of matrix: Matrix) -> Int
    /// Overwrites whole KV blocks (all layers) with zeros; memory that the device can do without
    /// until they are written again goes back to the system.
    func eraseBlocks(_ blocks: [Int32], _ cache: Cache) throws(BackendError)
    /// Copies whole KV blocks (all layers) inside the cache.
    func copyBlocks(_ pairs: [(from: Int32, to: Int32)], _ cache: Cache) throws(BackendError)
    /// Gives the memory of a cache back that a step may hang in; any thread may do it. The cache
    /// reads as zeros from then on.
    func discard(_ cache: Cache)
}

/// Panels are the CPU's own; other devices may do without them.
extension Backend {
    package func matrix(packed: PackedMatrix, bias: [Float]?) throws(BackendError) -> Matrix {
        throw .unsupported(
            what: "a file of panels on this device", remedy: "load the model it was made from")
    }
    package func gatedMatrix(packed: PackedMatrix) throws(BackendError) -> GatedMatrix {
        throw .unsupported(
            what: "a file of panels on this device", remedy: "load the model it was made from")
    }
}

/// A position in step memory; see ``Backend/mark()``.
package struct StepMark {
    package let offset: Int
    package init(offset: Int) { self.offset = offset }
}
