import AutoGLMAPI
import AutoGLMChat
import AutoGLMJSON
import Hummingbird
import HummingbirdCore
import NIOCore

/// `POST /v1/tokenize` and `POST /v1/detokenize`
struct TokenRoutes: Sendable {
    let model: ChatModel
    let intake: RequestIntake

    func tokenize(_ http: Request, _ context: ServerContext) async throws -> Response {
        let tokens = try await intake.read(http, context) { try await encoded($0) }
        return TokenListResponse(tokens: tokens, contextMax: model.facts.contextMax).response
    }

    @concurrent private func encoded(_ body: RequestBytes) async throws -> [Int32] {
        let request = try TokenizeRequest(body: body.bytes)
        try RequestBuilder(model: model, options: intake.options).checkModel(request.model)
        let field =
            switch request.source {
            case .text: "prompt"
            case .conversation: "messages"
            }
        do {
            switch request.source {
            case .text(let text, let addSpecial, let parsesSpecial):
                return try await model.text.encodeInSlices(
                    text, addSpecial: addSpecial, parsesSpecial: parsesSpecial)
            case .conversation(let fields):
                let rendered = try model.text.render(Conversation(fields))
                return try await model.text.encodeInSlices(rendered.segments)
            }
        } catch {
            throw RequestBuilder(model: model, options: intake.options, promptField: field)
                .refusal(error)
        }
    }

    func detokenize(_ http: Request, _ context: ServerContext) async throws -> Response {
        .json(try await intake.read(http, context) { try await text($0) })
    }

    /// The answer's body.
    @concurrent private func text(_ body: RequestBytes) async throws -> [UInt8] {
        let request = try DetokenizeRequest(body: body.bytes)
        try RequestBuilder(model: model, options: intake.options).checkModel(request.model)
        let vocabulary = Int32(clamping: model.facts.vocabulary)
        if let token = request.tokens.first(where: { $0 >= vocabulary }) {
            throw APIError.invalid(
                "tokens", "Token id \(token) is not in the vocabulary of \(vocabulary) tokens.",
                code: "unknown_token")
        }
        let text: String
        do {
            text = try await model.text.decodeInSlices(request.tokens)
        } catch let error as ChatError {
            throw APIError(error, field: "tokens")
        }
        var json = JSONWriter()
        json.beginObject()
        json.key("prompt")
        json.string(text)
        json.endObject()
        return json.bytes
    }
}

/// `{"count":…,"max_model_len":…,"tokens":[…]}`, written piece by piece: the list of a long text's
/// tokens is larger than the text.
private struct TokenListResponse {
    let tokens: [Int32]
    let contextMax: Int

    private static let pieceTokens = 8 << 10

    var response: Response {
        guard tokens.count > Self.pieceTokens else {
            var json = opened()
            for token in tokens { json.int(token) }
            json.endArray()
            json.endObject()
            return .json(json.bytes)
        }
        let (tokens, opened) = (tokens, opened())
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody { writer in
                try await writer.write(ByteBuffer(bytes: opened.bytes))
                var start = 0
                while start < tokens.count {
                    let end = min(start + Self.pieceTokens, tokens.count)
                    let list = tokens[start..<end].map { String($0) }.joined(separator: ",")
                    try await writer.write(ByteBuffer(string: (start > 0 ? "," : "") + list))
                    start = end
                }
                try await writer.write(ByteBuffer(string: "]}"))
                try await writer.finish(nil)
            })
    }

    private func opened() -> JSONWriter {
        var json = JSONWriter()
        json.beginObject()
        json.key("count")
        json.int(tokens.count)
        json.key("max_model_len")
        json.int(contextMax)
        json.key("tokens")
        json.beginArray()
        return json
    }
}
