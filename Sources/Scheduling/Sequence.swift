/// The scheduler's name for one sequence; never made by a client.
package struct SequenceID: Hashable, Sendable, Comparable {
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
    package static func < (a: SequenceID, b: SequenceID) -> Bool { a.value < b.value }
}

/// What the scheduler needs to know of a request. Times are since the engine's start.
package struct SequenceRequest: Sendable {
    package var id: SequenceID
    package var prompt: [Int32]
    /// Output tokens at most; with the prompt they fit the context and the pool.
    package var maxTokens: Int
    /// 0…9, higher first.
    package var priority: Int
    package var tenant: String
    package var arrival: Duration
    /// When it must have started.
    package var startBy: Duration?
    /// When it must have finished.
    package var finishBy: Duration?
    /// Logits are wanted for every prompt token, so nothing comes out of the prefix cache.
    package var wantsPromptLogits: Bool

    package init(
        id: SequenceID, prompt: [Int32], maxTokens: Int, priority: Int = 0, tenant: String = "",
        arrival: Duration = .zero, startBy: Duration? = nil, finishBy: Duration? = nil,
        wantsPromptLogits: Bool = false
    ) {
        self.id = id
        self.prompt = prompt
        self.maxTokens = maxTokens
        self.priority = priority
        self.tenant = tenant
        self.arrival = arrival
        self.startBy = startBy
        self.finishBy = finishBy
        self.wantsPromptLogits = wantsPromptLogits
    }
}

/// One sequence on its way: tokens known, tokens computed, blocks held.
struct SequenceState {
    let request: SequenceRequest
    /// Static order of service: arrival, moved ahead by priority. A higher priority overtakes
    /// only what arrived less than `priority × ageing` before, so nothing waits forever.
    let rank: Rank
    /// Prompt and output.
    var tokens: [Int32]
    /// Tokens whose keys and values lie in `blocks`.
    var computed = 0
    var blocks: [BlockID] = []
    /// Leading blocks that are registered, and the number of the history they hold.
    var registeredBlocks = 0
    var content: BlockPool.ContentID = 0
    /// Prompt tokens that came out of the prefix cache when it first started.
    var cachedTokens = 0
    var hasStarted = false
    /// Prompt positions whose logits have been handed out.
    var promptLogitsGiven = 0

    var outputCount: Int { tokens.count - request.prompt.count }
    var pending: Int { tokens.count - computed }
}

struct Rank: Comparable {
    let time: Duration
    let id: SequenceID

    init(_ request: SequenceRequest, ageing: Duration) {
        time = request.arrival - ageing * request.priority
        id = request.id
    }

    static func < (a: Rank, b: Rank) -> Bool {
        a.time != b.time ? a.time < b.time : a.id < b.id
    }
}

package enum SchedulerCommand: Sendable {
    case submit(SequenceRequest)
    /// Frees the sequence's blocks at once; unknown ids are ignored.
    case abort(SequenceID)
    /// Ends everything that waits or runs.
    case abortAll
}

/// What is to be computed in one step.
package struct StepPlan: Sendable {
    package struct Entry: Sendable {
        package let id: SequenceID
        /// Positions to compute; their tokens are known, the context before is in blocks.
        package var range: Range<Int>
        /// Positions from here to the end of `range` need logits. The last of them gives a new
        /// token if `samples`.
        package var firstLogits: Int
        /// `range` reaches the last known token, so a new one is to be sampled.
        package var samples: Bool
        /// A running sequence's next token, not part of a prompt.
        package var isDecode: Bool
        var slot: Int
    }
    package internal(set) var entries: [Entry] = []
    package internal(set) var tokenCount = 0
    package var isEmpty: Bool { entries.isEmpty }
}

/// What came of one entry of a plan.
package enum StepResult: Sendable, Equatable {
    /// Keys and values are written; no token was due.
    case computed
    case token(Int32)
    /// A token after which the output is complete.
    case last(Int32)
    /// A stop token was sampled: the output ends before it.
    case stop
    /// This sequence cannot go on; what it computed is not trusted.
    case failed
}

/// News of one sequence. Each submitted sequence gets exactly one ``Delivery/Event`` that ends it.
package struct Delivery: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        /// Left the queue; this many prompt tokens were cached.
        case started(cachedTokens: Int)
        /// Its new token, and whether that was the last one: as many as allowed, or complete.
        case token(Int32, isLast: Bool)
        case stopped
        case failed
        case queueTimeout
        case deadlineExceeded
        case aborted
    }
    package let id: SequenceID
    package let event: Event

    package var isEnd: Bool {
        switch event {
        case .started, .token(_, isLast: false): false
        case .token(_, isLast: true), .stopped, .failed, .queueTimeout, .deadlineExceeded,
            .aborted:
            true
        }
    }
}
