package import AutoGLMDecoding

/// Why a request was refused before anything was computed for it.
package enum AdmissionError: Error, Equatable, CustomStringConvertible {
    /// 400
    case invalid(ParameterError)
    /// 400
    case emptyPrompt
    /// 400: a prompt token that the model does not have.
    case unknownToken(Int32, vocabulary: Int)
    /// 400 `context_length_exceeded`: the prompt alone does not fit.
    case promptTooLong(tokens: Int, limit: Int)
    /// 400: far beyond the limit, so that nobody counted to the end.
    case promptOverflows(tokensMin: Int, limit: Int)
    /// 400 `context_length_exceeded`: prompt and `maxTokens` together do not fit.
    case tooManyTokens(prompt: Int, maxTokens: Int, limit: Int)
    /// 429 with Retry-After: the queue is full, or deeper than the request's deadline allows.
    case overloaded(waiting: Int, limit: Int, retryAfter: Duration)
    /// 429 with Retry-After: the queue holds too many prompt tokens.
    case tooManyQueuedTokens(waiting: Int, limit: Int, retryAfter: Duration)
    /// 503 with Retry-After: the queue is so deep that the request would miss its deadline.
    case deadlineTooShort(wait: Duration, deadline: Duration, retryAfter: Duration)
    /// 504: the deadline had passed before the request could be queued.
    case deadlineExceeded(limit: Duration)
    /// 400: more sequences in one request than the queue ever holds.
    case tooManySequences(count: Int, limit: Int)
    /// 422: the engine has got stuck on this very request, every time it was tried.
    case quarantined(times: Int, remaining: Duration)
    /// 503 with Retry-After: the engine hangs for good.
    case engineFailed(retryAfter: Duration)
    /// 503 with Retry-After: the engine's process has ended and is being started anew.
    case engineRestarting(retryAfter: Duration)
    /// 503 with Retry-After: draining or stopped.
    case shuttingDown(retryAfter: Duration)

    /// When trying again makes sense; nil for requests that can never be served.
    package var retryAfter: Duration? {
        switch self {
        case .invalid, .emptyPrompt, .unknownToken, .promptTooLong, .promptOverflows,
            .tooManyTokens, .deadlineExceeded, .tooManySequences, .quarantined:
            nil
        case .overloaded(_, _, let after), .tooManyQueuedTokens(_, _, let after),
            .deadlineTooShort(_, _, let after), .shuttingDown(let after),
            .engineFailed(let after), .engineRestarting(let after):
            after
        }
    }

    package var remedy: String {
        switch self {
        case .invalid(let error): error.remedy
        case .emptyPrompt: "Send at least one token."
        case .unknownToken: "Send token ids of this model's vocabulary."
        case .promptTooLong(let tokens, let limit), .promptOverflows(let tokens, let limit):
            "Shorten the prompt by \(tokens - limit) tokens, or start the server with a larger "
                + "--max-model-tokens or --kv-cache-memory."
        case .tooManyTokens(let prompt, _, let limit):
            "Ask for at most \(limit - prompt) tokens, or shorten the prompt."
        case .overloaded, .tooManyQueuedTokens, .shuttingDown, .engineRestarting:
            "Try again later."
        case .engineFailed: "Try another server."
        case .quarantined(_, let remaining):
            "Send another request, or come back in \(remaining.components.seconds + 1) s."
        case .deadlineTooShort: "Try again later, or allow more time."
        case .deadlineExceeded: "Allow more time."
        case .tooManySequences(_, let limit):
            "Send at most \(limit) prompts times n in one request, or start the server with a "
                + "larger --queue-limit."
        }
    }

    package var description: String {
        switch self {
        case .invalid(let error):
            return error.description
        case .emptyPrompt:
            return "The prompt is empty. \(remedy)"
        case .unknownToken(let token, let vocabulary):
            return "Token id \(token) is not in the vocabulary of \(vocabulary) tokens. \(remedy)"
        case .promptTooLong(let tokens, let limit):
            return "The prompt has \(tokens) tokens; the limit is \(limit). \(remedy)"
        case .promptOverflows(let tokens, let limit):
            return "The prompt has at least \(tokens) tokens; the limit is \(limit). \(remedy)"
        case .tooManyTokens(let prompt, let maxTokens, let limit):
            return "The prompt's \(prompt) tokens and max_tokens \(maxTokens) make "
                + "\(prompt + maxTokens); the limit is \(limit). \(remedy)"
        case .overloaded(let waiting, let limit, _):
            return "\(waiting) requests are waiting; the limit is \(limit). \(remedy)"
        case .tooManyQueuedTokens(let waiting, let limit, _):
            return "\(waiting) prompt tokens are waiting; the limit is \(limit). \(remedy)"
        case .deadlineTooShort(let wait, let deadline, _):
            return "The queue is \(seconds(wait)) deep, the request's deadline is "
                + "\(seconds(deadline)). \(remedy)"
        case .deadlineExceeded(let limit):
            return "The request's deadline of \(seconds(limit)) passed before it could be queued. "
                + remedy
        case .tooManySequences(let count, let limit):
            return "The request asks for \(count) sequences; the queue holds \(limit). \(remedy)"
        case .quarantined(let times, _):
            return "The engine got stuck on this request \(times) times. \(remedy)"
        case .engineFailed:
            return "The engine hangs and could not be started anew. \(remedy)"
        case .engineRestarting:
            return "The engine is being started anew. \(remedy)"
        case .shuttingDown:
            return "The server is shutting down. \(remedy)"
        }
    }
}
