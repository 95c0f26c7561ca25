import AutoGLMAPI
import AutoGLMChat
import AutoGLMJSON
import Hummingbird
import HummingbirdCore

/// `POST /v1/tokenize` and `POST /v1/detokenize`
struct TokenRoutes: Sendable {
    let model: ChatModel
    let options: ServerOptions

    func tokenize(_ http: Request, _ context: ServerContext) async throws -> Response {
        let body = try await BodyReader(bytesMax: options.bodyBytesMax).read(http)
        let request = try TokenizeRequest(body: body)
        try RequestBuilder(model: model, options: options).checkModel(request.model)
        let tokens = try encode(request.source)
        var json = JSONWriter()
        json.beginObject()
        json.key("count")
        json.int(tokens.count)
        json.key("max_model_len")
        json.int(model.facts.contextMax)
        json.key("tokens")
        json.beginArray()
        for token in tokens { json.int(token) }
        json.endArray()
        json.endObject()
        return .json(json.bytes)
    }

    private func encode(_ source: TokenizeRequest.Source) throws -> [Int32] {
        let field =
            switch source {
            case .text: "prompt"
            case .conversation: "messages"
            }
        do {
            switch source {
            case .text(let text, let addSpecial, let parsesSpecial):
                return try model.text.encode(
                    text, addSpecial: addSpecial, parsesSpecial: parsesSpecial)
            case .conversation(let fields): return try model.text.prompt(Conversation(fields))
            }
        } catch {
            throw RequestBuilder(model: model, options: options, promptField: field).refusal(error)
        }
    }

    func detokenize(_ http: Request, _ context: ServerContext) async throws -> Response {
        let body = try await BodyReader(bytesMax: options.bodyBytesMax).read(http)
        let request = try DetokenizeRequest(body: body)
        try RequestBuilder(model: model, options: options).checkModel(request.model)
        let vocabulary = Int32(clamping: model.facts.vocabulary)
        if let token = request.tokens.first(where: { $0 >= vocabulary }) {
            throw APIError.invalid(
                "tokens", "Token id \(token) is not in the vocabulary of \(vocabulary) tokens.",
                code: "unknown_token")
        }
        let text: String
        do {
            text = try model.text.decode(request.tokens)
        } catch {
            throw APIError(error, field: "tokens")
        }
        var json = JSONWriter()
        json.beginObject()
        json.key("prompt")
        json.string(text)
        json.endObject()
        return .json(json.bytes)
    }
}
