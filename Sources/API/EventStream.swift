package import AutoGLMJSON

/// A stream of server-sent events whose data are JSON objects, gathered until they are written.
///
/// What accumulates between two writes goes out together, so a slow reader gets fewer, larger
/// pieces.
package struct EventStream: Sendable {
    package private(set) var json = JSONWriter()

    package init() {}

    package var bytes: [UInt8] { json.bytes }
    package var isEmpty: Bool { json.bytes.isEmpty }

    /// Forgets what has been written out.
    package mutating func reset() { json.reset() }

    /// One event; `write` fills in its JSON.
    package mutating func event(_ write: (inout JSONWriter) -> Void) {
        json.raw("data: ")
        write(&json)
        json.raw("\n\n")
    }

    /// The end of a complete stream. A stream that fails ends without it.
    package mutating func done() { json.raw("data: [DONE]\n\n") }

    package static let keepAlive = ": keep-alive\n\n"
}

/// What a chunk of a chat stream adds to one choice.
package enum ChatDelta: Sendable, Equatable {
    case role
    case content(String)
    case reasoning(String)
    case toolCall(index: Int, id: String, name: String)
    case toolArguments(index: Int, String)
    /// Nothing; carries log-probabilities or the finish reason.
    case none

    func write(into json: inout JSONWriter) {
        json.beginObject()
        switch self {
        case .role:
            json.key("role")
            json.string("assistant")
            json.key("content")
            json.string("")
        case .content(let text):
            json.key("content")
            json.string(text)
        case .reasoning(let text):
            json.key("reasoning_content")
            json.string(text)
        case .toolCall(let index, let id, let name):
            json.key("tool_calls")
            json.beginArray()
            json.beginObject()
            json.key("index")
            json.int(index)
            json.key("id")
            json.string(id)
            json.key("type")
            json.string("function")
            json.key("function")
            json.beginObject()
            json.key("name")
            json.string(name)
            json.key("arguments")
            json.string("")
            json.endObject()
            json.endObject()
            json.endArray()
        case .toolArguments(let index, let text):
            json.key("tool_calls")
            json.beginArray()
            json.beginObject()
            json.key("index")
            json.int(index)
            json.key("function")
            json.beginObject()
            json.key("arguments")
            json.string(text)
            json.endObject()
            json.endObject()
            json.endArray()
        case .none: break
        }
        json.endObject()
    }
}

extension EventStream {
    /// One `chat.completion.chunk`.
    package mutating func chatChunk(
        _ identity: ResponseIdentity, choice: Int, _ delta: ChatDelta,
        logprobs: [LogprobEntry]? = nil, finishReason: String? = nil
    ) {
        event { json in
            identity.open(&json, object: "chat.completion.chunk")
            json.key("choices")
            json.beginArray()
            json.beginObject()
            json.key("index")
            json.int(choice)
            json.key("delta")
            delta.write(into: &json)
            json.key("logprobs")
            if let logprobs { LogprobEntry.write(logprobs, into: &json) } else { json.null() }
            json.key("finish_reason")
            json.optional(finishReason)
            json.endObject()
            json.endArray()
            identity.announceUsage(&json)
            json.endObject()
        }
    }

    /// One `text_completion` chunk.
    package mutating func completionChunk(
        _ identity: ResponseIdentity, _ choice: CompletionChoice
    ) {
        event { json in
            identity.open(&json, object: "text_completion")
            json.key("choices")
            json.beginArray()
            choice.write(into: &json)
            json.endArray()
            identity.announceUsage(&json)
            json.endObject()
        }
    }

    /// The last chunk of a stream that was asked for its usage: `choices` is empty.
    package mutating func usageChunk(
        _ identity: ResponseIdentity, object: String, _ usage: UsageReport
    ) {
        event { json in
            identity.open(&json, object: object)
            json.key("choices")
            json.beginArray()
            json.endArray()
            json.key("usage")
            usage.write(into: &json)
            json.endObject()
        }
    }

    /// An error in the middle of a stream; nothing may follow it.
    package mutating func failure(_ error: APIError) {
        event { error.write(into: &$0) }
    }
}
