import AutoGLMDecoding

/// How a family writes its calls, as far as a grammar has to know. The parser that reads them
/// stands beside it in the family's file; tests hold the two together.
struct CallFrame: Sendable {
    enum Arguments: Sendable {
        case json
        case members(MemberStyle)
        /// Not known here: a name can be forced, what follows cannot.
        case unknown
    }

    /// What the calls of a turn begin with.
    var lead = ""
    /// Around the name of the tool.
    let before: String
    let after: String
    let arguments: Arguments
    /// Behind the arguments.
    var close = ""
    /// Between two calls; nil where a turn has one at most.
    var between: String?
    /// Behind the last call.
    var tail = ""

    init(_ before: String, _ after: String, _ arguments: Arguments = .json) {
        self.before = before
        self.after = after
        self.arguments = arguments
    }

    /// A call up to its arguments.
    func prefix(_ tool: String) -> String { lead + before + tool + after }

    /// Whether line breaks around marks may be left out.
    var linesAreOptional: Bool {
        if case .members(let style) = arguments { style.linesAreOptional } else { false }
    }

    var isKnown: Bool {
        if case .unknown = arguments { false } else { true }
    }

    func lead(_ text: String) -> CallFrame { changed { $0.lead = text } }
    func close(_ text: String) -> CallFrame { changed { $0.close = text } }
    func between(_ text: String) -> CallFrame { changed { $0.between = text } }
    func tail(_ text: String) -> CallFrame { changed { $0.tail = text } }

    private func changed(_ change: (inout CallFrame) -> Void) -> CallFrame {
        var frame = self
        change(&frame)
        return frame
    }
}
