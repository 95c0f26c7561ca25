package import AutoGLMJSON

/// What all chunks and the final object of one answer have in common.
package struct ResponseIdentity: Sendable {
    package let id: String
    /// Seconds since 1970.
    package let created: Int
    package let model: String
    package let systemFingerprint: String
    /// Whether the last chunk will tell the usage; the chunks before it then say null.
    package let announcesUsage: Bool
    /// The members shared by every object of this answer, written once.
    private let shared: [UInt8]

    package init(
        id: String, created: Int, model: String, systemFingerprint: String,
        announcesUsage: Bool = false
    ) {
        self.announcesUsage = announcesUsage
        self.id = id
        self.created = created
        self.model = model
        self.systemFingerprint = systemFingerprint
        var json = JSONWriter()
        json.key("created")
        json.int(created)
        json.key("model")
        json.string(model)
        json.key("system_fingerprint")
        json.string(systemFingerprint)
        shared = json.bytes
    }

    /// Opens the answer's object; the caller goes on with `choices`.
    package func open(_ json: inout JSONWriter, object: String) {
        json.beginObject()
        json.key("id")
        json.string(id)
        json.key("object")
        json.string(object)
        json.prepared(shared)
    }

    func announceUsage(_ json: inout JSONWriter) {
        guard announcesUsage else { return }
        json.key("usage")
        json.null()
    }
}

/// What a request cost.
package struct UsageReport: Sendable, Equatable {
    package var promptTokens = 0
    package var completionTokens = 0
    package var cachedTokens = 0

    package init(promptTokens: Int = 0, completionTokens: Int = 0, cachedTokens: Int = 0) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
    }

    package func write(into json: inout JSONWriter) {
        json.beginObject()
        json.key("prompt_tokens")
        json.int(promptTokens)
        json.key("completion_tokens")
        json.int(completionTokens)
        json.key("total_tokens")
        json.int(promptTokens + completionTokens)
        json.key("prompt_tokens_details")
        json.beginObject()
        json.key("cached_tokens")
        json.int(cachedTokens)
        json.endObject()
        json.endObject()
    }
}

/// One token of an answer with its log-probability and the alternatives to it.
package struct LogprobEntry: Sendable, Equatable {
    package struct Alternative: Sendable, Equatable {
        package var token: String
        package var bytes: [UInt8]
        package var logprob: Float

        package init(token: String, bytes: [UInt8], logprob: Float) {
            self.token = token
            self.bytes = bytes
            self.logprob = logprob
        }

        func writeMembers(into json: inout JSONWriter) {
            json.key("token")
            json.string(token)
            json.key("logprob")
            json.float(logprob)
            json.key("bytes")
            json.beginArray()
            for byte in bytes { json.int(byte) }
            json.endArray()
        }
    }

    package var chosen: Alternative
    package var top: [Alternative]

    package init(chosen: Alternative, top: [Alternative]) {
        self.chosen = chosen
        self.top = top
    }

    package static func write(_ entries: [LogprobEntry], into json: inout JSONWriter) {
        json.beginObject()
        json.key("content")
        json.beginArray()
        for entry in entries {
            json.beginObject()
            entry.chosen.writeMembers(into: &json)
            json.key("top_logprobs")
            json.beginArray()
            for alternative in entry.top {
                json.beginObject()
                alternative.writeMembers(into: &json)
                json.endObject()
            }
            json.endArray()
            json.endObject()
        }
        json.endArray()
        json.key("refusal")
        json.null()
        json.endObject()
    }
}

/// The log-probabilities of the legacy endpoint: parallel arrays.
package struct LegacyLogprobs: Sendable, Equatable {
    package struct Entry: Sendable, Equatable {
        package var token: String
        /// nil for the first token of an echoed prompt.
        package var logprob: Float?
        package var top: [LogprobEntry.Alternative]
        /// Where the token begins in the text, in Unicode scalars.
        package var offset: Int

        package init(
            token: String, logprob: Float?, top: [LogprobEntry.Alternative], offset: Int
        ) {
            self.token = token
            self.logprob = logprob
            self.top = top
            self.offset = offset
        }
    }

    package static func write(_ entries: [Entry], into json: inout JSONWriter) {
        json.beginObject()
        json.key("text_offset")
        json.beginArray()
        for entry in entries { json.int(entry.offset) }
        json.endArray()
        json.key("token_logprobs")
        json.beginArray()
        for entry in entries {
            if let logprob = entry.logprob { json.float(logprob) } else { json.null() }
        }
        json.endArray()
        json.key("tokens")
        json.beginArray()
        for entry in entries { json.string(entry.token) }
        json.endArray()
        json.key("top_logprobs")
        json.beginArray()
        for entry in entries {
            if entry.logprob == nil { json.null(); continue }
            json.beginObject()
            var seen: Set<String> = []
            // Different tokens may read alike (halves of characters): the likelier one is kept.
            for alternative in entry.top where seen.insert(alternative.token).inserted {
                json.key(alternative.token)
                json.float(alternative.logprob)
            }
            // The chosen token is always there: evaluation tools look it up by its text.
            if let logprob = entry.logprob, !seen.contains(entry.token) {
                json.key(entry.token)
                json.float(logprob)
            }
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }
}

/// A finished tool call of an answer.
package struct ToolCallReport: Sendable, Equatable {
    package var id: String
    package var name: String
    package var arguments: String

    package init(id: String, name: String, arguments: String) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }
}

/// One choice of a chat answer.
package struct ChatChoice: Sendable, Equatable {
    package var index: Int
    package var content = ""
    package var reasoning = ""
    package var toolCalls: [ToolCallReport] = []
    package var finishReason = ""
    package var logprobs: [LogprobEntry]?

    package init(index: Int) {
        self.index = index
    }

    package func write(into json: inout JSONWriter) {
        json.beginObject()
        json.key("index")
        json.int(index)
        json.key("message")
        json.beginObject()
        json.key("role")
        json.string("assistant")
        json.key("content")
        if content.isEmpty, !toolCalls.isEmpty { json.null() } else { json.string(content) }
        json.key("refusal")
        json.null()
        if !reasoning.isEmpty {
            json.key("reasoning_content")
            json.string(reasoning)
        }
        if !toolCalls.isEmpty {
            json.key("tool_calls")
            json.beginArray()
            for call in toolCalls {
                json.beginObject()
                json.key("id")
                json.string(call.id)
                json.key("type")
                json.string("function")
                json.key("function")
                json.beginObject()
                json.key("name")
                json.string(call.name)
                json.key("arguments")
                json.string(call.arguments)
                json.endObject()
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
        json.key("logprobs")
        if let logprobs { LogprobEntry.write(logprobs, into: &json) } else { json.null() }
        json.key("finish_reason")
        json.string(finishReason)
        json.endObject()
    }
}

/// One choice of a legacy completion.
package struct CompletionChoice: Sendable, Equatable {
    package var index: Int
    package var text = ""
    package var finishReason: String?
    package var logprobs: [LegacyLogprobs.Entry]?

    package init(index: Int) {
        self.index = index
    }

    package func write(into json: inout JSONWriter) {
        json.beginObject()
        json.key("index")
        json.int(index)
        json.key("text")
        json.string(text)
        json.key("logprobs")
        if let logprobs { LegacyLogprobs.write(logprobs, into: &json) } else { json.null() }
        json.key("finish_reason")
        json.optional(finishReason)
        json.endObject()
    }
}
