import AutoGLMDecoding
import AutoGLMJSON
import AutoGLMText

/// What a turn may look like, as a grammar: thinking, then an answer in a form, or calls as the
/// family writes them, or free text in which calls are typed.
///
/// What the grammar allows, the family's parser reads as content of that form, or as calls with
/// arguments that satisfy their tools' schemas.
struct TurnForm {
    /// A grammar's source and how the turn goes on behind it.
    struct Plan {
        var source: GrammarSource
        var goesOn = false
        /// The request field that is to blame when it does not compile, unless a tool is.
        var field: String
    }

    private let family: any Family.Type
    private let frame: CallFrame?
    private let conversation: Conversation
    private let turn: ChatModel.Turn
    /// Marks of the family that are special tokens.
    private let marks: [String: TokenID]

    init(_ text: ModelText, _ tokenizer: Tokenizer, _ conversation: Conversation,
        _ turn: ChatModel.Turn
    ) {
        family = text.family
        frame = text.family.callFrame(text.evidence)
        self.conversation = conversation
        self.turn = turn
        let (grammar, tags) = (family.grammar, family.thinking)
        let texts = [grammar.open, grammar.close, grammar.segment] + grammar.dropped
            + grammar.inner + [family.callEnd ?? "", tags.open, tags.close].map { Array($0.utf8) }
        marks = Set(texts).reduce(into: [:]) { marks, bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            guard !text.isEmpty, let token = tokenizer.id(of: text), tokenizer.isSpecial(token)
            else { return }
            marks[text] = token
        }
    }

    /// - Returns: nil where the turn may be any text.
    /// - Throws: ``ChatError`` where the family's calls cannot be held to what is asked.
    func plan(_ form: OutputForm?) throws(ChatError) -> Plan? {
        let tools = conversation.toolsAllowed
        if turn.isForced { return try forced(tools) }
        let isOpen = tools.isEmpty || conversation.toolChoice == .auto
            && form == nil && !tools.contains(where: Self.isStrict)
        guard isOpen else { return try mixed(form, tools) }
        guard let form else { return nil }
        let thought = self.thought
        guard !thought.isEmpty else { return Plan(source: form.source, field: form.field) }
        return Plan(
            source: .expression(.sequence(thought + [.form(form.source)])), field: form.field)
    }

    // MARK: Calls that must be made

    private func forced(_ tools: [JSONValue]) throws(ChatError) -> Plan {
        guard let frame else { throw .unforceable(family: family.name) }
        let field = "tool_choice"
        guard frame.isKnown else {
            if let tool = tools.first(where: Self.isStrict) {
                throw .unenforceable(family: family.name, tool: Self.name(tool))
            }
            let names = tools.map { GrammarExpression.literal(Self.name($0)) }
            let start = own(frame.lead + frame.before) + [.choice(names)] + own(frame.after)
            return Plan(source: .expression(.sequence(start)), goesOn: true, field: field)
        }
        if !turn.prefix.isEmpty, let tool = tools.first {
            let rest = arguments(of: tool, isTyped: true, frame) + own(frame.close)
            let parts = rest + further(tools, isTyped: true, frame) + own(frame.tail)
            return Plan(source: .expression(.sequence(parts)), field: field)
        }
        let parts = own(frame.lead) + calls(tools, isTyped: true, frame)
        return Plan(source: .expression(.sequence(parts)), field: field)
    }

    // MARK: Calls that may be made

    private func mixed(_ form: OutputForm?, _ tools: [JSONValue]) throws(ChatError) -> Plan {
        guard let frame, frame.isKnown else {
            throw .unenforceable(
                family: family.name, tool: Self.name(tools.first { Self.isStrict($0) } ?? tools[0]))
        }
        let calls = GrammarExpression.sequence(self.calls(tools, isTyped: false, frame))
        let lead = own(frame.lead)
        if let form {
            let space = isLine ? [] : [GrammarExpression.regex("[ \\n]{0,2}")]
            let answer = GrammarExpression.choice([
                .form(form.source), .sequence(space + lead + [calls]),
            ])
            return Plan(source: .expression(.sequence(thought + [answer])), field: form.field)
        }
        return Plan(
            source: .expression(.sequence(thought + text(around: calls, tools, frame))),
            field: "tools")
    }

    private var isLine: Bool {
        if case .line? = family.grammar.body { true } else { false }
    }

    /// Free text in which calls may stand wherever the parser looks for them.
    private func text(
        around calls: GrammarExpression, _ tools: [JSONValue], _ frame: CallFrame
    ) -> [GrammarExpression] {
        var marks = [family.grammar.open, family.grammar.segment]
        if turn.thinks { marks.append(Array(family.thinking.open.utf8)) }
        let hasMarkedLead = !frame.lead.utf8.allSatisfy(\.isJSONSpace)
        if hasMarkedLead { marks.append(Array(frame.lead.utf8)) }
        var patterns = marks.filter { !$0.isEmpty }.map {
            Self.quoted(String(decoding: $0, as: UTF8.self))
        }
        switch family.grammar.body {
        case .line:
            let names = conversation.toolsOffered.map { Self.quoted(Self.name($0)) }
            patterns.append("^[ \\t\\r\\n]*(\(names.joined(separator: "|")))[ \\t\\r]*(\\n|$)")
            let text = GrammarExpression.textWithout(pattern: patterns.joined(separator: "|"))
            let segment = own(String(decoding: family.grammar.segment, as: UTF8.self))
            // Text and calls are segments of one turn; the last call ends it.
            return [
                .repetition(.sequence([text] + segment), least: 0, most: nil),
                .choice([text, calls]),
            ]
        case .bareJSON:
            patterns.append("^[ \\t\\r\\n;]*\\{")
            return [.choice([
                .textWithout(pattern: patterns.joined(separator: "|")), calls,
            ])]
        default:
            let text = GrammarExpression.textWithout(pattern: patterns.joined(separator: "|"))
            let group = (hasMarkedLead ? own(frame.lead) : []) + [calls]
            return [
                .repetition(
                    .sequence([text] + group), least: 0, most: turn.allowsMoreCalls ? nil : 1),
                text,
            ]
        }
    }

    /// One call or more, with what stands behind the last.
    private func calls(
        _ tools: [JSONValue], isTyped: Bool, _ frame: CallFrame
    ) -> [GrammarExpression] {
        [call(tools, isTyped: isTyped, frame)] + further(tools, isTyped: isTyped, frame)
            + own(frame.tail)
    }

    private func further(
        _ tools: [JSONValue], isTyped: Bool, _ frame: CallFrame
    ) -> [GrammarExpression] {
        guard turn.allowsMoreCalls, let between = frame.between else { return [] }
        let next = own(between) + [call(tools, isTyped: isTyped, frame)]
        return [.repetition(.sequence(next), least: 0, most: nil)]
    }

    private func call(
        _ tools: [JSONValue], isTyped: Bool, _ frame: CallFrame
    ) -> GrammarExpression {
        .choice(tools.map { tool in
            let behind = arguments(of: tool, isTyped: isTyped || Self.isStrict(tool), frame)
            return .sequence(
                own(frame.before) + [.literal(Self.name(tool))] + own(frame.after) + behind
                    + own(frame.close))
        })
    }

    // MARK: Arguments

    private func arguments(
        of tool: JSONValue, isTyped: Bool, _ frame: CallFrame
    ) -> [GrammarExpression] {
        let name = Self.name(tool)
        if tool["function"] == nil, family.builtInTools[name] != nil {
            // What a built-in tool takes is text; one that begins as JSON would be read as that.
            let segment = String(decoding: family.grammar.segment, as: UTF8.self)
            return [.regex("[^\\s<{]"), .textWithout(pattern: Self.quoted(segment))]
        }
        let schema = isTyped ? Self.parameters(of: tool) : ["type": "object"]
        switch frame.arguments {
        case .members(var style):
            style.tokens = marks
            return [.members(schema, style)]
        case .json, .unknown:
            return [.form(.schema(schema, keepsKeyOrder: Self.isStrict(tool)))]
        }
    }

    /// The schema of a tool's arguments, which are an object whatever else it says.
    static func parameters(of tool: JSONValue) -> JSONValue {
        guard let schema = (tool["function"] ?? tool)["parameters"], schema.objectValue != nil
        else { return ["type": "object", "additionalProperties": false] }
        return schema.setting("type", "object")
    }

    static func isStrict(_ tool: JSONValue) -> Bool {
        (tool["function"] ?? tool)["strict"]?.boolValue == true
    }

    private static func name(_ tool: JSONValue) -> String { ToolSchemas.name(of: tool) ?? "" }

    // MARK: Thinking and marks

    /// What a model thinks before it answers; nothing where it does not.
    private var thought: [GrammarExpression] {
        guard turn.isThinking || turn.mayThink else { return [] }
        let tags = family.thinking
        var ends = [Self.quoted(tags.close)]
        if family.grammar.callEndsReasoning {
            ends.append(Self.quoted(String(decoding: family.grammar.open, as: UTF8.self)))
        }
        let inside = [.textWithout(pattern: ends.joined(separator: "|"))] + own(tags.close)
            + [GrammarExpression.regex("\\n{0,2}")]
        if turn.isThinking { return inside }
        return [.repetition(.sequence(own(tags.open) + inside), least: 0, most: 1)]
    }

    /// Text of the family's own, in which marks that are tokens of their own are those.
    private func own(_ text: String) -> [GrammarExpression] {
        GrammarExpression.pieces(
            of: text, tokens: marks, linesAreOptional: frame?.linesAreOptional ?? false)
    }

    /// A text as a regular expression.
    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            if "\\.+*?()|[]{}^$".contains(character) { result.append("\\") }
            result.append(character)
        }
    }
}
