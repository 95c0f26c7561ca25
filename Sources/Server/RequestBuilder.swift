import AutoGLMAPI
import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJinja
import HTTPTypes
import Hummingbird
import HummingbirdCore

/// What all requests for generation share: limits from headers, the model's name, and the words in
/// which a refusal names the fields of this endpoint.
struct RequestBuilder: Sendable {
    let model: ChatModel
    let options: ServerOptions
    /// The field that holds what is read: `messages` or `prompt`.
    var promptField = "messages"
    var maxTokensField = "max_tokens"

    func checkModel(_ name: String?) throws(APIError) {
        guard let name, name != model.facts.name, !options.modelAliases.contains(name) else {
            return
        }
        throw Self.unknownModel(serving: model.facts.name)
    }

    static func unknownModel(serving name: String) -> APIError {
        APIError(
            status: 404, kind: .notFound,
            message: "This server has no model of that name; it serves \(name).",
            parameter: "model", code: "model_not_found")
    }

    func answerOptions(
        _ fields: GenerationFields, _ http: Request, _ context: ServerContext
    ) throws(APIError) -> AnswerOptions {
        var answer = AnswerOptions()
        answer.sampling = fields.sampling
        answer.stops = fields.stops
        answer.stopTokens = fields.stopTokens
        answer.logitBias = fields.logitBias
        answer.ignoreEOS = fields.ignoreEOS
        answer.guardsLoops = fields.guardsLoops
        answer.topLogprobs = fields.topLogprobs
        answer.form = fields.form
        answer.choices = fields.choices
        answer.priority = fields.priority
        answer.tenant = context.tenant
        answer.timeline = RequestTimeline(received: context.arrival)
        answer.deadline = try Self.deadline(of: http, options)
        answer.queueTimeout = try Self.milliseconds(
            http, .queueTimeout, RequestLimits.queueTimeout)
        if model.text.tokenizer == nil, !fields.stops.isEmpty {
            throw refusal(ChatError.missingTokenizer(model: model.facts.name), field: "stop")
        }
        if model.text.tokenizer == nil, let form = fields.form {
            throw refusal(ChatError.missingTokenizer(model: model.facts.name), field: form.field)
        }
        do {
            try model.sampling(answer).validate(vocabulary: model.facts.vocabulary)
        } catch {
            throw refusal(AdmissionError.invalid(error))
        }
        return answer
    }

    /// What is left to a request from its first byte, by its header and the operator's limit.
    static func deadline(
        of http: Request, _ options: ServerOptions
    ) throws(APIError) -> Duration? {
        let deadline = try milliseconds(http, .deadline, RequestLimits.deadline)
        return [deadline, options.requestTimeout].compactMap(\.self).min()
    }

    private static func milliseconds(
        _ request: Request, _ name: HTTPField.Name, _ limit: RequestLimits.IntegerLimit
    ) throws(APIError) -> Duration? {
        guard let text = request.headers[name] else { return nil }
        guard let value = Int64(text), limit.range.contains(value) else {
            throw .invalid(
                limit.field,
                "'\(limit.field)' must be a whole number of milliseconds between "
                    + "\(limit.range.lowerBound) and \(limit.range.upperBound).")
        }
        return .milliseconds(value)
    }

    /// What a client is told when its request cannot be answered.
    func refusal(_ error: any Error, field: String? = nil) -> APIError {
        let field = field ?? promptField
        switch error {
        case let error as APIError: return error
        case let error as AdmissionError:
            return APIError(error, promptField: field, maxTokensField: maxTokensField)
        case let error as GenerationError: return APIError(error)
        case let error as ChatError: return APIError(error, field: field)
        case let error as TemplateError: return APIError(error, field: field)
        case is CancellationError: return .draining
        default: return .internalError
        }
    }
}
