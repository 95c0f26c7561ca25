package import AutoGLMDecoding

/// One prompt and how to go on from it. ``Engine/generate(_:)`` checks it; later code trusts it.
package struct GenerationRequest: Sendable {
    package var prompt: [Int32]
    package var sampling: SamplingParameters
    /// 0…9; higher goes first.
    package var priority: Int = 0
    /// Prefix-cache blocks are shared only between requests of equal tenant.
    package var tenant: String = ""
    /// What the output must look like.
    package var constraint: Constraint?
    /// Report the log-probability of every prompt token after the first (`echo` with `logprobs`).
    package var promptLogprobs = false
    /// Give up when the request has not *finished* this long after its first byte
    /// (``RequestTimeline/received``), or after its arrival here.
    package var deadline: Duration?
    /// Give up when the request has not *started* this long after its arrival; nil takes the
    /// engine's own limit.
    package var queueTimeout: Duration?
    /// The stamps so far.
    package var timeline = RequestTimeline()

    package init(prompt: [Int32], sampling: SamplingParameters = SamplingParameters()) {
        self.prompt = prompt
        self.sampling = sampling
    }
}

/// A grammar that an output follows, compiled over the model's vocabulary.
package struct Constraint: Sendable {
    package var grammar: Grammar
    /// Behind the grammar's text the output goes on as it likes, rather than end there.
    package var goesOn: Bool

    package init(_ grammar: Grammar, goesOn: Bool = false) {
        self.grammar = grammar
        self.goesOn = goesOn
    }
}

/// A token and how likely it was.
package struct TokenLogprob: Sendable, Equatable {
    package var token: Int32
    /// Natural logarithm of its probability before temperature and truncation.
    package var logprob: Float
    package init(token: Int32, logprob: Float) {
        self.token = token
        self.logprob = logprob
    }
}

/// One token of the output, or of the prompt when its log-probabilities were asked for.
package struct TokenEvent: Sendable, Equatable {
    package var token: Int32
    /// nil when not asked for, and for the first token of a prompt.
    package var logprob: Float?
    /// The most likely tokens at this position, best first.
    package var top: [TokenLogprob]
    package init(token: Int32, logprob: Float? = nil, top: [TokenLogprob] = []) {
        self.token = token
        self.logprob = logprob
        self.top = top
    }
}

package enum FinishReason: String, Sendable {
    /// A stop token or a stop string, or the end of what a grammar allows.
    case stop
    /// `maxTokens`, or the end of the context.
    case length
}

package struct Usage: Sendable, Equatable {
    package var promptTokens = 0
    /// Prompt tokens whose keys and values came out of the prefix cache.
    package var cachedTokens = 0
    package var completionTokens = 0
    package var timeline = RequestTimeline()
    package init() {}
}

/// How a stream ended well.
package struct Finish: Sendable, Equatable {
    package var reason: FinishReason
    /// The stop token that ended the output. It is not among the output's tokens. GLM-4 tells a
    /// tool call from an answer by it (`<|observation|>` or `<|user|>`).
    package var stopToken: Int32?
    package var stopString: String?
    package var usage: Usage
    package init(
        reason: FinishReason, stopToken: Int32? = nil, stopString: String? = nil, usage: Usage
    ) {
        self.reason = reason
        self.stopToken = stopToken
        self.stopString = stopString
        self.usage = usage
    }
}

/// What has come out of one sequence since the consumer last looked.
package struct TokenBatch: Sendable, Equatable {
    /// Which of the request's sequences this is.
    package var choice = 0
    /// Prompt tokens with their log-probabilities; once, in the first batch, when asked for.
    package var prompt: [TokenEvent] = []
    package var tokens: [TokenEvent] = []
    /// Counts and times so far.
    package var usage = Usage()
    /// Set in the last batch.
    package var finish: Finish?
    package init() {}
    package var isEmpty: Bool { prompt.isEmpty && tokens.isEmpty && finish == nil }
}

/// Why an accepted request has no (complete) answer.
package enum GenerationError: Error, Equatable, CustomStringConvertible {
    /// 503: it waited in the queue for as long as it may.
    case queueTimeout(waited: Duration, limit: Duration)
    /// 504
    case deadlineExceeded(limit: Duration)
    /// 500: this request's logits were not numbers.
    case notANumber
    /// 422: the request's grammar could be followed no further.
    case grammar(GrammarError)
    /// 500: the step that held this request failed.
    case stepFailed(String)
    /// 503: the engine hung or died while it computed this request, or others beside it.
    case engineRestarted
    /// 503: the engine was told to stop before this request had finished.
    case shuttingDown
    /// The consumer's task was cancelled.
    case cancelled

    package var description: String {
        switch self {
        case .queueTimeout(let waited, let limit):
            "The request waited \(seconds(waited)) in the queue; the limit is \(seconds(limit)). "
                + "Try again later or raise the queue timeout."
        case .deadlineExceeded(let limit):
            "The request did not finish within its deadline of \(seconds(limit)). "
                + "Ask for fewer tokens or set a later deadline."
        case .notANumber:
            "The model's logits for this request are not numbers. The weights may be damaged; "
                + "try --compute f32."
        case .grammar(let error):
            "The answer could not be brought into the form asked for: \(error)."
        case .stepFailed(let reason):
            "Computing a step failed: \(reason)"
        case .engineRestarted:
            "The engine failed and was started anew; what it had begun is lost. Try again."
        case .shuttingDown:
            "The server is shutting down. Try again on another server."
        case .cancelled:
            "The request was cancelled."
        }
    }
}

/// "1.25 s", or "20 ms" where that says more.
func seconds(_ duration: Duration) -> String {
    let milliseconds = duration / .milliseconds(1)
    if milliseconds < 1_000 { return "\((milliseconds * 10).rounded() / 10) ms" }
    return "\((milliseconds / 10).rounded() / 100) s"
}
