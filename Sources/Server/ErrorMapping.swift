package import AutoGLMAPI
import AutoGLMChat
package import AutoGLMEngine
import AutoGLMDecoding
import AutoGLMJinja

extension APIError {
    /// What a client is told about a request that was not accepted.
    /// - Parameters:
    ///   - promptField: the field of this endpoint that holds what is read.
    ///   - maxTokensField: the one by which the client bounded the tokens.
    package init(
        _ error: AdmissionError, promptField: String = "prompt",
        maxTokensField: String = "max_tokens"
    ) {
        let retryAfter = error.retryAfter.map { max(1, min(30, Int($0.components.seconds) + 1)) }
        func invalid(_ field: String, _ code: String) -> APIError {
            .invalid(field, error.description, code: code)
        }
        switch error {
        case .invalid(let parameter):
            self = invalid(
                parameter.parameter == "max_tokens" ? maxTokensField : parameter.parameter,
                "value_out_of_range")
        case .emptyPrompt: self = invalid(promptField, "empty_prompt")
        case .unknownToken: self = invalid(promptField, "unknown_token")
        case .promptTooLong, .promptOverflows:
            self = invalid(promptField, "context_length_exceeded")
        case .tooManyTokens: self = invalid(maxTokensField, "context_length_exceeded")
        case .tooManySequences:
            self = invalid(promptField == "messages" ? "n" : promptField, "too_many_sequences")
        case .deadlineExceeded:
            self = APIError(
                status: 504, kind: .server, message: error.description, code: "deadline_exceeded")
        case .overloaded, .tooManyQueuedTokens:
            self = APIError(
                status: 429, kind: .overloaded, message: error.description, code: "queue_full",
                retryAfter: retryAfter)
        case .deadlineTooShort:
            self = APIError(
                status: 429, kind: .overloaded, message: error.description,
                code: "deadline_exceeded", retryAfter: retryAfter)
        // No 503: a proxy that sends it to the next server would stop that one, too.
        case .quarantined:
            self = APIError(
                status: 422, kind: .invalidRequest, message: error.description,
                code: "request_quarantined")
        case .engineFailed:
            self = APIError(
                status: 503, kind: .overloaded, message: error.description,
                code: "engine_failed", retryAfter: retryAfter)
        case .engineRestarting:
            self = APIError(
                status: 503, kind: .overloaded, message: error.description,
                code: "engine_restarting", retryAfter: retryAfter)
        case .shuttingDown:
            self = .draining
        }
    }

    /// What a client is told about an accepted request without a complete answer.
    package init(_ error: GenerationError) {
        switch error {
        case .queueTimeout:
            self = APIError(
                status: 503, kind: .overloaded, message: error.description, code: "queue_timeout",
                retryAfter: 5)
        case .deadlineExceeded:
            self = APIError(
                status: 504, kind: .server, message: error.description, code: "deadline_exceeded")
        case .notANumber:
            self = APIError(
                status: 500, kind: .server, message: error.description, code: "not_a_number")
        case .grammar(let reason):
            self = APIError(
                status: 422, kind: .invalidRequest, message: error.description, code: reason.code)
        // The reason may hold addresses and paths of this machine; it is logged, not sent.
        case .stepFailed:
            self = APIError(
                status: 500, kind: .server, message: "Computing this request failed.",
                code: "engine_error")
        case .engineRestarted:
            self = APIError(
                status: 503, kind: .overloaded, message: error.description,
                code: "engine_restarted", retryAfter: 2)
        case .shuttingDown:
            self = .draining
        case .cancelled:
            self = .clientLeft
        }
    }

    package static let internalError = APIError(
        status: 500, kind: .server, message: "The server failed to answer this request.",
        code: "internal_error")
    package static let draining = APIError(
        status: 503, kind: .overloaded,
        message: "The server is shutting down. Try again on another server, or later.",
        code: "shutting_down", retryAfter: 5)
    /// Never sent, only logged: the client is not there to read it.
    package static let clientLeft = APIError(
        status: 499, kind: .server, message: "The client closed the connection.",
        code: "client_closed_request")

    /// Why this model cannot take what it was sent.
    init(_ error: ChatError, field: String) {
        switch error {
        case .missingTokenizer:
            self = .invalid(field, error.description, code: "tokenizer_missing")
        case .missingTemplate:
            self = .invalid(field, error.description, code: "chat_template_missing")
        case .unknownTool(_, let index, _):
            self = .unsupported("tools[\(index)].type", error.description)
        case .unforceable:
            self = .unsupported("tool_choice", error.description)
        case .unenforceable:
            self = .unsupported("tools", error.description)
        case .form(let reason, let field):
            let place = reason.path.flatMap { $0 == "#" ? nil : $0 } ?? ""
            self = .invalid(field + place, error.description, code: reason.code)
        }
    }

    /// Why a conversation could not be turned into a prompt. The message of a template's own
    /// refusal is its author's; it may quote a role, never more.
    init(_ error: TemplateError, field: String) {
        self = .invalid(
            field,
            error.kind == .raised
                ? error.message
                : "The model's chat template does not accept this conversation. Check the order of "
                    + "roles and the form of tool calls.",
            code: "template_error")
    }
}
