import AutoGLMChat
import AutoGLMCompute
@_exported public import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText

/// A language model loaded into this process, ready for many conversations at once.
///
/// Every request goes through the same engine as in the server: requests are batched with each
/// other and share what their prompts have in common, and none changes another's answer.
public final class Model: Sendable {
    private let loaded: LoadedModel

    private init(_ loaded: LoadedModel) { self.loaded = loaded }

    /// Reads a model: a directory with `config.json` and safetensors, or a `.gguf` file. Blocks
    /// until the weights are in memory.
    /// - Throws: an error whose description says in one line what is wrong and what to do.
    public static func load(
        directory path: String, options: ModelOptions = ModelOptions()
    ) throws -> Model {
        Model(try LoadedModel.load(path, options: options.engineOptions))
    }

    public var name: String { loaded.name }

    /// Tokens of prompt and answer together.
    public var contextLength: Int { loaded.contextMax }

    /// What the model's makers recommend; ``chat(_:sampling:)`` uses it unless told otherwise.
    public var recommendedSampling: SamplingParameters {
        var sampling = SamplingParameters()
        let defaults = loaded.samplingDefaults
        sampling.temperature = defaults.temperature ?? sampling.temperature
        sampling.topP = defaults.topP ?? sampling.topP
        sampling.topK = defaults.topK ?? sampling.topK
        sampling.repetitionPenalty = defaults.repetitionPenalty ?? sampling.repetitionPenalty
        return sampling
    }

    /// Answers the last message of a conversation.
    /// - Returns: the answer's text as it is made.
    /// - Throws: when the conversation does not fit, or the model has no chat template.
    public func chat(
        _ messages: [ChatMessage], sampling: SamplingParameters? = nil
    ) throws -> ModelText {
        let values = messages.map { message -> JSONValue in
            ["role": .string(message.role.rawValue), "content": .string(message.content)]
        }
        let prompt = try loaded.prompt(messages: values)
        return try start(prompt, sampling, format: loaded.toolCallFormat)
    }

    /// Goes on from a text, without a chat template.
    public func complete(
        _ text: String, sampling: SamplingParameters? = nil
    ) throws -> ModelText {
        try start(loaded.encode(text, addSpecial: true), sampling, format: .none)
    }

    private func start(
        _ prompt: [TokenID], _ sampling: SamplingParameters?, format: ToolCallFormat
    ) throws -> ModelText {
        let request = GenerationRequest(prompt: prompt, sampling: sampling ?? recommendedSampling)
        return ModelText(try loaded.completion(request), format)
    }

    /// Ends all requests and the engine's threads. Also happens when the model is let go.
    public func close() { loaded.engine.shutdown() }
}

/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable {
    public enum Role: String, Sendable {
        case system, user, assistant
    }
    public var role: Role
    public var content: String

    public init(_ role: Role, _ content: String) {
        self.role = role
        self.content = content
    }
}

/// How a model is loaded. The defaults serve well.
public struct ModelOptions: Sendable {
    /// Threads that compute; nil takes all cores this process may use.
    public var threads: Int?
    /// Exact f32 arithmetic instead of bf16: slower, for comparisons.
    public var usesFloat32 = false
    /// Tokens of prompt and answer together at most; nil is the model's own limit.
    public var contextLength: Int?
    /// Bytes for keys and values; nil takes what fits sensibly.
    public var cacheBytes: Int?

    public init() {}

    var engineOptions: EngineOptions {
        var options = EngineOptions()
        options.compute.threads = threads
        if usesFloat32 {
            options.compute.precision = .f32
            options.compute.cacheFormat = .f32
        }
        options.contextMax = contextLength
        options.cacheBytes = cacheBytes
        return options
    }
}
