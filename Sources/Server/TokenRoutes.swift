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
        let list = try await intake.read(http, context) {
            try await TokenList(
                try await encoded($0), contextMax: model.facts.contextMax, intake,
                context.principal)
        }
        return list.response
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

/// `{"count":…,"max_model_len":…,"tokens":[…]}`, made and sent piece by piece: the list of a long
/// text's tokens is larger than the text.
private struct TokenList: Sendable {
    let pieces: [ByteBuffer]
    /// Held until the list has been sent.
    let memory: MemoryReservation

    private static let pieceTokens = 16 << 10
    /// Digits of an id and a comma; most have fewer.
    private static let bytesPerToken = 7

    @concurrent init(
        _ tokens: [Int32], contextMax: Int, _ intake: RequestIntake, _ principal: String
    ) async throws {
        memory = try await intake.budget.reserve(
            tokens.count * Self.bytesPerToken, .answers, principal: principal)
        var pieces: [ByteBuffer] = []
        var json = JSONWriter()
        json.beginObject()
        json.key("count")
        json.int(tokens.count)
        json.key("max_model_len")
        json.int(contextMax)
        json.key("tokens")
        json.beginArray()
        for (index, token) in tokens.enumerated() {
            json.int(token)
            guard (index + 1) % Self.pieceTokens == 0 else { continue }
            pieces.append(ByteBuffer(bytes: json.takeBytes()))
            await Task.yield()
            try Task.checkCancellation()
        }
        json.endArray()
        json.endObject()
        pieces.append(ByteBuffer(bytes: json.takeBytes()))
        self.pieces = pieces
    }

    var response: Response {
        let length = pieces.reduce(0) { $0 + $1.readableBytes }
        return Response(
            status: .ok,
            headers: [.contentType: "application/json", .contentLength: String(length)],
            body: ResponseBody(contentLength: length) { writer in
                for piece in pieces {
                    try await writer.write(piece)
                    // A fast reader must not make this one long job of the pool.
                    await Task.yield()
                }
                withExtendedLifetime(memory) {}
                try await writer.finish(nil)
            })
    }
}
