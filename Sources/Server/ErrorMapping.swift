package import AutoGLMAPI
package import AutoGLMEngine
import AutoGLMDecoding
import AutoGLMJinja
import AutoGLMText

extension APIError {
    /// What a client is told about a request that was not accepted.
    package init(_ error: AdmissionError) {
        let retryAfter = error.retryAfter.map { max(1, min(30, Int($0.components.seconds) + 1)) }
        switch error {
        case .invalid(let parameter):
            self = .invalid(parameter.parameter, error.description, code: "value_out_of_range")
        case .emptyPrompt:
            self = .invalid("prompt", error.description, code: "empty_prompt")
        case .unknownToken:
            self = .invalid("prompt", error.description, code: "unknown_token")
        case .promptTooLong:
            self = .invalid("messages", error.description, code: "context_length_exceeded")
        case .tooManyTokens:
            self = .invalid("max_tokens", error.description, code: "context_length_exceeded")
        case .overloaded, .tooManyQueuedTokens:
            self = APIError(
                status: 429, kind: .overloaded, message: error.description, code: "queue_full",
                retryAfter: retryAfter)
        case .deadlineTooShort:
            self = APIError(
                status: 429, kind: .overloaded, message: error.description,
                code: "deadline_exceeded", retryAfter: retryAfter)
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
        // The reason may hold addresses and paths of this machine; it is logged, not sent.
        case .stepFailed:
            self = .internalError
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

    /// Why a conversation could not be turned into a prompt.
    static func unrenderable(_ error: any Error) -> APIError {
        switch error {
        case let error as APIError: error
        case is LoadError:
            .invalid(
                "messages",
                "This model has no chat template, so it cannot take messages. Use "
                    + "/v1/completions.",
                code: "chat_template_missing")
        case let error as TemplateError where error.kind == .raised:
            .invalid("messages", error.message, code: "template_error")
        case let error as GenerationError: APIError(error)
        case let error as AdmissionError: APIError(error)
        default: .templateFailed(error)
        }
    }

    /// The message of a template's error is its author's; it may quote a role, never more.
    private static func templateFailed(_ error: any Error) -> APIError {
        .invalid(
            "messages",
            "The model's chat template does not accept this conversation. Check the order of "
                + "roles and the form of tool calls.",
            code: "template_error")
    }
}
