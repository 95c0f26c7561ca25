import AutoGLMAPI
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText
import Hummingbird
import HummingbirdCore

/// `POST /v1/tokenize` and `POST /v1/detokenize`
struct TokenRoutes: Sendable {
    let model: any ServedModel
    let options: ServerOptions

    func tokenize(_ http: Request, _ context: ServerContext) async throws -> Response {
        let body = try await BodyReader(bytesMax: options.bodyBytesMax).read(http)
        let request = try TokenizeRequest(body: body)
        try RequestBuilder(model: model, options: options).checkModel(request.model)
        var json = JSONWriter()
        json.beginObject()
        let tokens = try encode(request.source)
        json.key("count")
        json.int(tokens.count)
        json.key("max_model_len")
        json.int(model.contextMax)
        json.key("tokens")
        json.beginArray()
        for token in tokens { json.int(token) }
        json.endArray()
        json.endObject()
        return .json(json.bytes)
    }

    private func encode(_ source: TokenizeRequest.Source) throws -> [Int32] {
        switch source {
        case .text(let text, let addSpecial):
            return try model.encode(text, addSpecial: addSpecial)
        case .messages(let messages, let tools, let addGenerationPrompt, let arguments):
            do {
                return try model.prompt(
                    Conversation(
                        messages: messages.map(\.value),
                        tools: tools.map(\.value),
                        addGenerationPrompt: addGenerationPrompt, variables: arguments))
            } catch {
                throw APIError.unrenderable(error)
            }
        }
    }

    func detokenize(_ http: Request, _ context: ServerContext) async throws -> Response {
        let body = try await BodyReader(bytesMax: options.bodyBytesMax).read(http)
        let request = try DetokenizeRequest(body: body)
        try RequestBuilder(model: model, options: options).checkModel(request.model)
        let vocabulary = Int32(clamping: model.vocabularyCount)
        if let token = request.tokens.first(where: { $0 >= vocabulary }) {
            throw APIError.invalid(
                "tokens", "Token id \(token) is not in the vocabulary of \(vocabulary) tokens.",
                code: "unknown_token")
        }
        var json = JSONWriter()
        json.beginObject()
        json.key("prompt")
        json.string(try model.decode(request.tokens))
        json.endObject()
        return .json(json.bytes)
    }
}
