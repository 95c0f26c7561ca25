import AutoGLMText

/// Notices an answer that goes round in circles: the same run of at most 128 tokens, again and
/// again over 384 tokens or more. Small models fall into such loops and would fill the context.
///
/// For every period it counts how many tokens in a row equalled the one a period before; 128
/// comparisons a token, on neighbouring memory.
struct LoopGuard: Sendable {
    static let periodMax = 128
    static let tokensMin = 384

    /// The last 128 tokens; `position` is where the next one goes.
    private var recent = [TokenID](repeating: -1, count: periodMax)
    private var position = 0
    /// Index p - 1: how many of the last tokens equalled the one p before.
    private var runs = [Int32](repeating: 0, count: periodMax)

    /// - Returns: whether the output up to this token is a loop.
    mutating func push(_ token: TokenID) -> Bool {
        var isLoop = false
        for period in 1...Self.periodMax {
            let before = recent[(position - period) & (Self.periodMax - 1)]
            let run = before == token ? runs[period - 1] + 1 : 0
            runs[period - 1] = run
            // The first round has nothing to equal and counts as well.
            if Int(run) + period >= Self.tokensMin { isLoop = true }
        }
        recent[position] = token
        position = (position + 1) & (Self.periodMax - 1)
        return isLoop
    }
}
