package import AutoGLMChat
package import AutoGLMJSON
import AutoGLMJinja
package import AutoGLMModels
package import AutoGLMText
import FoundationEssentials

/// A model ready to serve: weights, tokenizer, chat template and the engine that runs it.
package final class LoadedModel: Sendable {
    /// The model's name in the API.
    package let name: String
    package let info: ModelInfo
    package let engine: Engine
    /// nil for a model that can only be given token ids.
    package let tokenizer: Tokenizer?
    package let chatTemplate: ChatTemplate?
    private let specialVariables: [String: JSONValue]
    /// How this model writes tool calls.
    package let toolCallFormat: ToolCallFormat
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
        package var minP: Float?
        package var repetitionPenalty: Float?
        package init() {}
    }

    package var hasChatTemplate: Bool { chatTemplate != nil }

    init(
        name: String, info: ModelInfo, engine: Engine, text: ModelText, contextMax: Int,
        fingerprint: String, created: Int
    ) {
        self.name = name
        self.info = info
        self.engine = engine
        tokenizer = text.tokenizer
        specialVariables = text.specialVariables
        chatTemplate = text.template
        toolCallFormat = ToolCallFormat.detect(
            template: text.template?.source ?? "",
            specialTokens: text.tokenizer?.specialTokens.map(\.text) ?? [])
        self.contextMax = contextMax
        self.fingerprint = fingerprint
        self.created = created
        var defaults = SamplingDefaults()
        defaults.temperature = info.sampling.temperature
        defaults.topP = info.sampling.topP
        defaults.topK = info.sampling.topK
        defaults.minP = info.sampling.minP
        defaults.repetitionPenalty = info.sampling.repetitionPenalty
        samplingDefaults = defaults
    }

    /// Renders a conversation and encodes it. User text never becomes a special token.
    /// - Parameters:
    ///   - messages: as in OpenAI's API, with string contents and tool-call arguments as objects
    ///     or strings.
    ///   - variables: further variables of the template, such as `enable_thinking`.
    ///   - now: local time in seconds since 1970, for templates that print the date; nil is now,
    ///     in UTC.
    /// - Throws: ``LoadError/missingChatTemplate(model:)``, `TemplateError`.
    package func prompt(
        messages: [JSONValue], tools: [JSONValue]? = nil, addGenerationPrompt: Bool = true,
        variables: [String: JSONValue] = [:], now: Int? = nil
    ) throws -> [TokenID] {
        guard let tokenizer else { throw LoadError.missingTokenizer(model: name) }
        let rendered = try render(
            messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt,
            variables: variables, now: now)
        return tokenizer.encode(segments: rendered.segments)
    }

    /// The text of ``prompt(messages:tools:addGenerationPrompt:variables:now:)``.
    package func render(
        messages: [JSONValue], tools: [JSONValue]? = nil, addGenerationPrompt: Bool = true,
        variables: [String: JSONValue] = [:], now: Int? = nil
    ) throws -> RenderedPrompt {
        guard let chatTemplate else { throw LoadError.missingChatTemplate(model: name) }
        var all = variables
        all["messages"] = .array(messages)
        all["add_generation_prompt"] = .bool(addGenerationPrompt)
        all.merge(specialVariables) { given, _ in given }
        let date = TemplateDate(secondsSince1970: now ?? Int(Date().timeIntervalSince1970))
        guard let tools, !tools.isEmpty else { return try chatTemplate.render(all, now: date) }
        all["tools"] = .array(tools)
        let rendered = try chatTemplate.render(all, now: date)
        if chatTemplate.readsToolsOfMessages, !Self.shows(tools, rendered.text) {
            all["tools"] = nil
            all["messages"] = .array(Self.placing(tools, into: messages))
            return try chatTemplate.render(all, now: date)
        }
        return rendered
    }

    /// Whether a prompt tells of the tools offered.
    private static func shows(_ tools: [JSONValue], _ prompt: String) -> Bool {
        guard let tool = tools.first,
            let name = (tool["function"]?["name"] ?? tool["name"])?.stringValue
        else { return true }
        return prompt.contains(name)
    }

    /// GLM-4's first template looks for the tools on a message, not among its variables.
    private static func placing(_ tools: [JSONValue], into messages: [JSONValue]) -> [JSONValue] {
        if messages.contains(where: { $0["tools"] != nil }) { return messages }
        let holder: JSONValue = ["role": "system", "tools": .array(tools)]
        return [holder] + messages
    }

    /// Bare text to tokens. Special tokens in it are ordinary text.
    package func encode(_ text: String, addSpecial: Bool) throws(LoadError) -> [TokenID] {
        guard let tokenizer else { throw .missingTokenizer(model: name) }
        return tokenizer.encode(text, addSpecial: addSpecial)
    }

    /// Submits a request and returns its text.
    package func completion(_ request: GenerationRequest) throws(AdmissionError) -> TextStream {
        TextStream(
            tokens: try engine.generate(request), assembler: TextAssembler(tokenizer, request))
    }
}

extension ChatTemplate {
    /// Whether it looks for a `tools` key on messages, as GLM-4-9B-chat's does.
    fileprivate var readsToolsOfMessages: Bool {
        let marks = ["['tools']", "[\"tools\"]", "item.tools", "message.tools"]
        return marks.contains { source.contains($0) }
    }
}

package enum LoadError: Error, Equatable, CustomStringConvertible {
    case missingTokenizer(model: String)
    case missingChatTemplate(model: String)
    /// Not even one sequence of the context fits.
    case cacheTooSmall(tokens: Int, needed: Int)
    case contextTooLong(tokens: Int, limit: Int)
    case outOfMemory(what: String, bytes: Int, remedy: String)
    /// A file beside the weights cannot be read.
    case unreadable(file: String, reason: String)

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
        case .contextTooLong(let tokens, let limit):
            "--max-model-tokens is \(tokens), but the model's context is \(limit). Lower it."
        case .outOfMemory(let what, let bytes, let remedy):
            "There is no memory for \(what): \(bytes >> 20) MiB. \(remedy)"
        case .unreadable(let file, let reason):
            "\(file): \(reason)"
        }
    }
}
