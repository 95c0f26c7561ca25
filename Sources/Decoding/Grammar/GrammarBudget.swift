/// What one compilation may take, counted and not timed: the same grammar is refused on every
/// machine or on none.
package struct GrammarLimits: Sendable {
    package var sourceBytes = 512 << 10
    package var depth = 100
    /// Steps of the compiler; about 100 ns each.
    package var steps = 1_500_000
    package var schemas = 50_000
    /// Ways one value may be written in, after `anyOf` and the like are multiplied out.
    package var alternatives = 512
    package var minimumCount = 1_000_000
    /// States that a search of a regular expression may visit.
    package var searchStates = 4_000

    package init() {}
}

/// Counts steps down and asks, every slice of them, whether to go on.
struct GrammarBudget {
    let limits: GrammarLimits
    var stepsLeft: Int
    private var untilCheck = Self.slice
    private let isCancelled: () -> Bool
    /// About a millisecond.
    private static let slice = 10_000

    init(_ limits: GrammarLimits, isCancelled: @escaping () -> Bool) {
        self.limits = limits
        stepsLeft = limits.steps
        self.isCancelled = isCancelled
    }

    mutating func spend(_ steps: Int) throws(GrammarError) {
        stepsLeft -= steps
        untilCheck -= steps
        if stepsLeft < 0 { throw .tooLarge("more than \(limits.steps) steps of compilation") }
        if untilCheck < 0 {
            untilCheck = Self.slice
            if isCancelled() { throw .cancelled }
        }
    }
}
