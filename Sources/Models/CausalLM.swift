package import AutoGLMCompute

/// A loaded language model, whatever its architecture and device: tokens in, logits out.
///
/// One thread uses it, the engine's.
package protocol CausalLM: AnyObject {
    var info: ModelInfo { get }

    /// Makes room for keys and values; what was in an earlier cache is lost.
    /// - Parameter blocks: KV blocks of ``ModelInfo/blockTokens`` tokens each.
    func allocateCache(blocks: Int) throws(BackendError)

    /// Runs one step: computes every row of `batch`, writes its keys and values into the cache,
    /// and gives the logits of the rows in `batch.outputRows`.
    /// - Parameter logits: `[outputRows, vocabulary]`, row-major; filled on return.
    /// - Precondition: ``allocateCache(blocks:)`` has succeeded.
    func logits(_ batch: borrowing StepBatch, into logits: UnsafeMutableBufferPointer<Float>)
        throws(BackendError)

    /// Copies whole KV blocks inside the cache, all layers.
    func copyBlocks(_ pairs: [(from: Int32, to: Int32)]) throws(BackendError)

    /// Overwrites KV blocks with zeros and gives their memory back to the system until they are
    /// written again.
    func eraseBlocks(_ blocks: [Int32]) throws(BackendError)

    /// What is there beside this model should it hang; nil where nothing is. Asked for once its
    /// cache has been allocated.
    var spare: (any ModelSpare)? { get }
}

/// The view of a model from another thread, while it computes or hangs.
package protocol ModelSpare: Sendable {
    /// What tells that its step goes on.
    var pulse: any StepPulse { get }

    /// Another model over the same weights, with threads, step memory and a cache of its own: the
    /// one that hangs can write to nothing of it, whenever it wakes up.
    func model(blocks: Int) throws(BackendError) -> any CausalLM

    /// Gives back the memory of the cache of the one that hangs.
    func discardCache()
}

/// What an engine and its users need to know about a model.
package struct ModelInfo: Sendable {
    package var architecture: String
    /// The last part of its path, or what GGUF metadata call it.
    package var name: String
    package var layers: Int
    package var hidden: Int
    package var heads: Int
    package var kvHeads: Int
    package var headDim: Int
    /// Rows of the output projection, padding included: the width of the logits.
    package var vocabulary: Int
    /// Tokens of prompt and answer together.
    package var contextLength: Int
    /// Ascending.
    package var stopTokens: [Int]
    package var beginToken: Int?
    package var parameterCount: Int
    /// Bytes of weights in memory, biases and norms aside.
    package var weightBytes: Int
    /// Parameters that one token is multiplied with: experts not chosen and the input embedding
    /// are left out.
    package var parametersPerToken = 0
    /// Bytes of weights that a step of one token reads.
    package var weightBytesPerStep = 0
    package var blockTokens: Int
    package var cacheFormat: CacheFormat
    package var warnings: [String]

    init(_ config: ModelConfig, _ options: LoadOptions, parameters: Int, weightBytes: Int) {
        architecture = config.architecture
        name = config.name
        layers = config.layers
        hidden = config.hidden
        heads = config.heads
        kvHeads = config.kvHeads
        headDim = config.headDim
        vocabulary = config.vocabulary
        contextLength = config.contextLength
        stopTokens = config.stopTokens
        beginToken = config.beginToken
        parameterCount = parameters
        self.weightBytes = weightBytes
        blockTokens = options.blockTokens
        cacheFormat = options.cacheFormat
        warnings = config.warnings
    }

    /// - Parameters: nil takes what the model was loaded with.
    package func cacheLayout(
        blocks: Int, blockTokens: Int? = nil, format: CacheFormat? = nil
    ) -> CacheLayout {
        CacheLayout(
            layers: layers, kvHeads: kvHeads, headDim: headDim,
            blockTokens: blockTokens ?? self.blockTokens, blocks: blocks,
            format: format ?? cacheFormat)
    }

    /// Bytes of keys and values of one token, all layers.
    package var bytesPerToken: Int { cacheLayout(blocks: 1).bytesPerToken }
}

package struct LoadOptions: Sendable {
    /// The form weight matrices are kept in; nil keeps what the file has.
    package var weightFormat: WeightFormat?
    /// The form of the output projection; nil takes `weightFormat`, but int8 in place of int4.
    package var headFormat: WeightFormat?
    package var cacheFormat: CacheFormat = .bf16
    package var blockTokens = 16
    /// Overrides the context length of the model.
    package var contextLength: Int?
    /// Another configuration in the same directory.
    package var configurationFile = "config.json"
    /// Called on the loading thread after every weight matrix.
    package var progress: (@Sendable (LoadProgress) -> Void)?
    package init() {}
}

package struct LoadProgress: Sendable {
    /// Of the checkpoint's bytes.
    package var bytesRead: Int
    package var bytesTotal: Int
    /// The tensor just loaded.
    package var tensor: String
}

/// A decoder with its device and its cache.
final class DecoderModel<B: Backend>: CausalLM {
    let info: ModelInfo
    private let backend: B
    private let decoder: Decoder<B>
    private var context: ForwardContext<B>?

    init(_ info: ModelInfo, _ decoder: Decoder<B>, _ backend: B) {
        self.info = info
        self.decoder = decoder
        self.backend = backend
    }

    func allocateCache(blocks: Int) throws(BackendError) {
        precondition(blocks > 0, "a cache needs blocks")
        context = nil
        context = ForwardContext(
            backend: backend, cache: try backend.cache(info.cacheLayout(blocks: blocks)))
    }

    func logits(
        _ batch: borrowing StepBatch, into logits: UnsafeMutableBufferPointer<Float>
    ) throws(BackendError) {
        guard let context else { preconditionFailure("a step before its cache was allocated") }
        precondition(
            logits.count >= batch.outputRows.count * info.vocabulary,
            "logits do not fit the buffer")
        backend.begin(batch)
        let x = decoder.forward(context, batch)
        try unsafe backend.readLogits(
            x, norm: decoder.norm, head: decoder.head, batch, into: logits)
    }

    func eraseBlocks(_ blocks: [Int32]) throws(BackendError) {
        guard let context else { preconditionFailure("an erasure before its cache was allocated") }
        try backend.eraseBlocks(blocks, context.cache)
    }

    func copyBlocks(_ pairs: [(from: Int32, to: Int32)]) throws(BackendError) {
        guard let context else { preconditionFailure("a copy before its cache was allocated") }
        try backend.copyBlocks(pairs, context.cache)
    }

    var spare: (any ModelSpare)? {
        context.map { Spare(info: info, decoder: decoder, context: $0) }
    }

    /// Unchecked: of decoder and backend it uses what nobody writes to after loading; the cache
    /// it only gives back, which does no harm to a step that still runs.
    private struct Spare: ModelSpare, @unchecked Sendable {
        let info: ModelInfo
        let decoder: Decoder<B>
        let context: ForwardContext<B>

        var pulse: any StepPulse { context.backend.pulse }

        func model(blocks: Int) throws(BackendError) -> any CausalLM {
            let model = DecoderModel(info, decoder, try context.backend.sibling())
            try model.allocateCache(blocks: blocks)
            return model
        }

        func discardCache() { context.backend.discard(context.cache) }
    }
}
