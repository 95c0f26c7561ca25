package import AutoGLMDecoding
package import AutoGLMEngine

/// How an answer is made: what chats and plain completions have in common.
package struct AnswerOptions: Sendable {
    /// What the request says of sampling; the makers' and the operator's settings lie below it.
    package var sampling = SamplingOverrides()
    /// Texts that end the answer; they are looked for in what the client sees.
    package var stops: [String] = []
    package var stopTokens: [Int32] = []
    package var logitBias: [Int32: Float] = [:]
    /// Go on after the model's own end tokens.
    package var ignoreEOS = false
    /// Ends an answer that goes round in circles; nil does for chats that mind end tokens.
    package var guardsLoops: Bool?
    /// nil reports no log-probabilities, 0 those of the chosen tokens, n also the n best.
    package var topLogprobs: Int?
    /// Report the log-probabilities of the prompt's tokens as well.
    package var promptLogprobs = false
    /// What the answer must look like.
    package var form: OutputForm?
    package var choices = 1

    /// 0…9; higher goes first.
    package var priority = 0
    /// Prefix-cache blocks are shared only between requests of equal tenant.
    package var tenant = ""
    /// From the request's first byte to its last token.
    package var deadline: Duration?
    package var queueTimeout: Duration?
    package var timeline = RequestTimeline()
    /// Where to do what takes milliseconds, such as compiling a grammar; nil does it right here.
    package var slowWork: (any TaskExecutor)?

    package init() {}
}
