package import AutoGLMJSON
package import AutoGLMJinja
package import AutoGLMText
import FoundationEssentials

/// All that is known of a model's text: its tokenizer, its chat templates, its family. Server,
/// command line and library render and encode through this one value.
package struct ModelText: Sendable {
    /// nil for a model that can only be given token ids.
    package let tokenizer: Tokenizer?
    let family: any Family.Type
    /// For `show`, logs and tests.
    package var familyName: String { family.name }
    let evidence: FamilyEvidence
    /// The one for conversations, and the one for conversations with tools where that differs.
    private let plain: StyledTemplate?
    private let withTools: StyledTemplate?
    /// For calls that the model's own templates cannot show.
    private let ownOfFamily: ChatTemplate?
    /// What messages call the model.
    private let name: String

    private struct StyledTemplate {
        let template: ChatTemplate
        let style: TemplateStyle
    }

    /// - Parameters:
    ///   - templates: sources by name; `default` and `tool_use` count, or the only one there is.
    ///   - override: a source that takes the place of all of them.
    /// - Throws: `TemplateError`.
    package init(
        tokenizer: Tokenizer?, templates: [String: String], override: String? = nil, name: String
    ) throws {
        self.tokenizer = tokenizer
        self.name = name
        let given = override.map { ["default": $0] } ?? templates
        evidence = FamilyEvidence(
            templates: given.values.sorted(), addedTokens: tokenizer?.addedTokens ?? [])
        let evidence = evidence
        let family = families.first { $0.recognises(evidence) } ?? Plain.self
        self.family = family
        let variables = Self.specialVariables(tokenizer)
        func styled(_ source: String, _ name: String) throws -> StyledTemplate {
            let template = try ChatTemplate(source: source, name: name)
            return StyledTemplate(
                template: template, style: TemplateStyle(template, variables: variables))
        }
        ownOfFamily = try family.template.map { try ChatTemplate(source: $0, name: family.name) }
        let first = given["default"] ?? given.sorted { $0.key < $1.key }.first?.value
        plain = try (first ?? family.template).map { try styled($0, "chat_template") }
        withTools = try given["tool_use"].map { try styled($0, "tool_use") } ?? plain
    }

    package var hasTemplate: Bool { plain != nil }

    /// The variables of a template that hold the texts of special tokens.
    package static func specialVariables(_ tokenizer: Tokenizer?) -> [String: JSONValue] {
        guard let tokenizer else { return [:] }
        let specials = [
            ("bos_token", tokenizer.bosID), ("eos_token", tokenizer.eosID),
            ("unk_token", tokenizer.unknownID), ("pad_token", tokenizer.padID),
        ]
        var variables: [String: JSONValue] = [:]
        for (key, id) in specials {
            guard let id else { continue }
            variables[key] = .string(String(decoding: tokenizer.tokenBytes(id), as: UTF8.self))
        }
        return variables
    }

    /// Gives up memory that only makes later calls faster.
    package func shrinkCaches() { tokenizer?.shrinkCaches() }

    // MARK: Rendering

    /// A conversation as the model's template writes it.
    /// - Parameter now: for templates that print the date; nil is now, in UTC.
    /// - Throws: ``ChatError``, `TemplateError`.
    package func render(
        _ conversation: Conversation, now: TemplateDate? = nil
    ) throws -> RenderedPrompt {
        let tools = conversation.toolsOffered
        guard let chosen = tools.isEmpty ? plain : withTools else {
            throw ChatError.missingTemplate(model: name)
        }
        try checkTools(tools)
        var template = chosen.template
        var messages = named(conversation.messages)
        let hasCalls = messages.contains { $0["tool_calls"] != nil }
        let losesNames = hasCalls && chosen.style.calls == .spelled && !chosen.style.showsMetadata
        if losesNames, let own = ownOfFamily { template = own }
        messages = chosen.style.divided(messages).flatMap { arranged($0, chosen.style) }
        if losesNames, ownOfFamily == nil { messages = messages.map(Self.withoutMetadata) }
        var variables = variables(of: conversation, template)
        if !tools.isEmpty, !chosen.style.showsTools(of: messages) {
            messages = family.place(tools, in: messages, evidence)
        } else if let list = chosen.style.variable(tools) {
            variables["tools"] = list
        }
        variables["messages"] = .array(messages)
        let date = now ?? TemplateDate(secondsSince1970: Int(Date().timeIntervalSince1970))
        return try template.render(variables, now: date)
    }

    private func variables(
        of conversation: Conversation, _ template: ChatTemplate
    ) -> [String: JSONValue] {
        var variables = Self.specialVariables(tokenizer)
        variables["add_generation_prompt"] = .bool(conversation.addsGenerationPrompt)
        if let thinks = conversation.thinks {
            for name in ["enable_thinking", "thinking"] where template.mentions(name) {
                variables[name] = .bool(thinks)
            }
        }
        return variables.merging(conversation.variables) { $1 }
    }

    /// A message as template and family want it. Content null is an empty text, as every other
    /// server gives it: templates print null as "None" or fail on it.
    private func arranged(_ message: JSONValue, _ style: TemplateStyle) -> [JSONValue] {
        var message = message
        if message["content"]?.isNull ?? true { message = message.setting("content", "") }
        if let list = message["tool_calls"]?.arrayValue {
            let calls = list.map { call in
                guard let id = call["id"]?.stringValue else { return call }
                return call.setting("id", .string(family.callID(id)))
            }
            message = message.setting("tool_calls", .array(calls))
        }
        if let id = message["tool_call_id"]?.stringValue {
            message = message.setting("tool_call_id", .string(family.callID(id)))
        }
        let turns = style.calls == .spelled ? family.spell(message) : [style.arrange(message)]
        if style.showsResults { return turns }
        // A template that shows no results is told of them as the user's words.
        return turns.map { $0["role"] == "tool" ? $0.setting("role", "user") : $0 }
    }

    /// The name of a call in the content, for templates that have no other place for it.
    private static func withoutMetadata(_ message: JSONValue) -> JSONValue {
        guard let name = message["metadata"]?.stringValue else { return message }
        return message.setting("metadata", nil)
            .setting("content", .string(name + "\n" + message.content))
    }

    /// Results with the name of the tool they are of, which some templates print. A list of no
    /// calls is left out: some templates take a turn with one for a call.
    private func named(_ messages: [JSONValue]) -> [JSONValue] {
        var names: [String: JSONValue] = [:]
        return messages.map { message in
            if let list = message["tool_calls"], list.arrayValue?.isEmpty ?? true {
                return message.setting("tool_calls", nil)
            }
            for call in message["tool_calls"]?.arrayValue ?? [] {
                guard let id = call["id"]?.stringValue else { continue }
                names[id] = call["function"]?["name"]
            }
            guard let id = message["tool_call_id"]?.stringValue, message["name"] == nil,
                let name = names[id]
            else { return message }
            return message.setting("name", name)
        }
    }

    private func checkTools(_ tools: [JSONValue]) throws(ChatError) {
        for (index, tool) in tools.enumerated() where tool["function"] == nil {
            let type = tool["type"]?.stringValue ?? "function"
            guard tool["name"] != nil || family.builtInTools[type] != nil else {
                throw .unknownTool(
                    type: type, index: index, known: family.builtInTools.keys.sorted())
            }
        }
    }

    // MARK: Tokens

    var textTokenizer: Tokenizer {
        get throws(ChatError) {
            guard let tokenizer else { throw .missingTokenizer(model: name) }
            return tokenizer
        }
    }

    /// The tokens of a conversation. User text never becomes a special token.
    package func prompt(
        _ conversation: Conversation, now: TemplateDate? = nil
    ) throws -> [TokenID] {
        let tokenizer = try textTokenizer
        return tokenizer.encode(segments: try render(conversation, now: now).segments)
    }

    /// Bare text to tokens.
    /// - Parameter parsesSpecial: special tokens written in the text count as such.
    package func encode(
        _ text: String, addSpecial: Bool, parsesSpecial: Bool = false
    ) throws(ChatError) -> [TokenID] {
        try textTokenizer.encode(text, allowSpecial: parsesSpecial, addSpecial: addSpecial)
    }

    package func decode(_ tokens: [TokenID]) throws(ChatError) -> String {
        try textTokenizer.decode(tokens, skipSpecial: false)
    }

    /// Ids that end a turn: what the configuration says, and what the family's turns end with; some
    /// configurations leave out the token that ends a call.
    func stopTokens(configured: [Int], vocabulary: Int) -> [TokenID] {
        var tokens = configured.map { TokenID($0) }
        if let tokenizer {
            if let end = tokenizer.eosID { tokens.append(end) }
            for ending in family.allTurnEnds {
                // Only where the text is one token of its own, not ordinary text.
                if let id = tokenizer.id(of: ending), tokenizer.isSpecial(id) { tokens.append(id) }
            }
        }
        return Set(tokens).filter { $0 >= 0 && Int($0) < vocabulary }.sorted()
    }
}
