package import AutoGLMText

/// A model ready to serve: weights, tokenizer, chat template and the engine that runs it.
///
/// Also here (see the module's plan): `info: ModelInfo`, `tokenizer: Tokenizer?`,
/// `toolCallFormat: ToolCallFormat`.
package final class LoadedModel: Sendable {
    /// The model's name in the API.
    package let name: String
    package let engine: Engine
    /// Prompt and output tokens of one request at most.
    package let contextMax: Int
    /// Identifies model file, compute precision, formats and kernel set: equal fingerprints and
    /// equal requests give equal bytes.
    package let fingerprint: String
    /// Seconds since 1970 of the newest weight file, for `created` in `/v1/models`.
    package let created: Int
    /// Sampling defaults of the model's generation_config.json, under the request's own.
    package let samplingDefaults: SamplingDefaults

    package struct SamplingDefaults: Sendable, Equatable {
        package var temperature: Float?
        package var topP: Float?
        package var topK: Int?
        package var repetitionPenalty: Float?
        package init() {}
    }

    init(name: String, engine: Engine, contextMax: Int, fingerprint: String, created: Int) {
        self.name = name
        self.engine = engine
        self.contextMax = contextMax
        self.fingerprint = fingerprint
        self.created = created
        self.samplingDefaults = SamplingDefaults()
    }

    /// Reads a model directory, `.gguf` or `.safetensors` file and starts its engine.
    /// Blocks while it reads.
    package static func load(_ path: String, options: EngineOptions) throws -> LoadedModel {
        throw LoadError.missingTokenizer(model: path)
    }

    /// Renders a conversation and encodes it. User text never becomes a special token.
    /// - Parameters:
    ///   - messages: as in OpenAI's API, with string contents and tool-call arguments as objects
    ///     or strings.
    ///   - variables: further variables of the template, such as `enable_thinking`.
    /// - Throws: ``LoadError/missingChatTemplate(model:)``, `TemplateError`.
    package func prompt(
        messages: [JSONValue], tools: [JSONValue]? = nil, addGenerationPrompt: Bool = true,
        variables: [String: JSONValue] = [:]
    ) throws -> [Int32] { [] }

    /// Submits a request and returns its text.
    package func completion(_ request: GenerationRequest) throws(AdmissionError) -> TextStream {
        TextStream(tokens: try engine.generate(request))
    }
}

package enum LoadError: Error, Equatable, CustomStringConvertible {
    case missingTokenizer(model: String)
    case missingChatTemplate(model: String)
    /// Not even one sequence of the context fits.
    case cacheTooSmall(tokens: Int, needed: Int)

    package var description: String {
        switch self {
        case .missingTokenizer(let model):
            "\(model) has no tokenizer. Put tokenizer.json or tokenizer.model beside its weights."
        case .missingChatTemplate(let model):
            "\(model) has no chat template, so it cannot take messages. Use /v1/completions, or "
                + "give a template with --chat-template."
        case .cacheTooSmall(let tokens, let needed):
            "The KV cache holds \(tokens) tokens, but \(needed) are needed. Raise "
                + "--kv-cache-memory or lower --max-model-tokens."
        }
    }
}
