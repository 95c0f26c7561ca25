import AutoGLMChat
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMJinja
import AutoGLMModels
import AutoGLMText
import Foundation

/// A text to measure a model on, as the sequences of tokens it is read as.
///
/// A file is plain UTF-8, or JSON lines (when it ends in `.jsonl`, or starts with `{` or `[`): each
/// a conversation (`{"messages": …}`, with `tools` where there are some, or the bare list of
/// messages), a text (`{"text": …}` or a string), or token ids (`{"ids": …}` or a list).
struct TokenSequences {
    /// Where they come from, for messages.
    let name: String
    private(set) var sequences: [[Int32]] = []

    var count: Int { sequences.reduce(0) { $0 + $1.count } }

    /// - Parameters:
    ///   - model: path of the model whose tokenizer and template read the text.
    ///   - limit: tokens taken at most.
    ///   - length: tokens of one sequence at most; what is longer is cut into several.
    init(file: String, model: String, limit: Int, length: Int) throws {
        guard let handle = FileHandle(forReadingAtPath: file) else {
            throw CommandError("cannot read \(file)")
        }
        defer { try? handle.close() }
        // More than this is never needed: no tokenizer has words of 64 bytes on average.
        var data = try handle.read(upToCount: limit * 64 + (1 << 20)) ?? Data()
        if data.starts(with: [0xEF, 0xBB, 0xBF]) { data = data.dropFirst(3) }
        let wasCut = data.count > limit * 64
        var content = String(data: data, encoding: .utf8)
        // The cut may have gone through a character.
        for _ in 0..<3 where content == nil && wasCut {
            data = data.dropLast()
            content = String(data: data, encoding: .utf8)
        }
        guard let content else { throw CommandError("\(file) is not UTF-8 text") }
        name = file
        let reader = try Reader(model)
        let first = content.first { !$0.isWhitespace }
        guard file.hasSuffix(".jsonl") || first == "{" || first == "[" else {
            add(try reader.text(content), limit, length)
            return
        }
        var lines = content.split(whereSeparator: \.isNewline)
        if wasCut { lines.removeLast() }
        for (index, line) in lines.enumerated() where count < limit {
            do {
                let value = try JSONValue.parse(Array(line.utf8))
                add(try reader.document(value), limit, length)
            } catch {
                throw CommandError("\(file), line \(index + 1): \(error)")
            }
        }
    }

    /// A few hundred words of this program's own.
    /// - Returns: nil for a model without a tokenizer.
    init?(builtInFor model: String, limit: Int, length: Int) throws {
        guard let tokenizer = try ModelText(path: model).tokenizer else { return nil }
        name = "the built-in text"
        add(tokenizer.encode(Self.builtIn, addSpecial: true), limit, length)
    }

    private mutating func add(_ tokens: [Int32], _ limit: Int, _ length: Int) {
        let tokens = tokens.prefix(limit - count)
        for start in stride(from: 0, to: tokens.count, by: length) {
            let piece = tokens[start..<min(start + length, tokens.count)]
            // One token alone predicts nothing.
            if piece.count > 1 { sequences.append(Array(piece)) }
        }
    }

    /// Mean negative log-likelihood over all sequences, each read from its start.
    func meanNLL(_ model: any CausalLM) throws -> Double {
        var sum = 0.0
        var scoredCount = 0
        for tokens in sequences {
            for token in tokens where token < 0 || Int(token) >= model.info.vocabulary {
                throw CommandError(
                    "\(name): token id \(token) is not in the vocabulary of "
                        + "\(model.info.vocabulary) tokens")
            }
            var scored = ScoredText(tokens: tokens)
            try unsafe scored.run(model) { _ in }
            sum -= scored.logprobs.reduce(0, +)
            scoredCount += scored.logprobs.count
        }
        return scoredCount == 0 ? 0 : sum / Double(scoredCount)
    }

    /// Makes tokens of one document.
    private struct Reader {
        let model: String
        let text: ModelText

        init(_ model: String) throws {
            self.model = model
            text = try ModelText(path: model)
        }

        func text(_ content: String) throws -> [Int32] {
            try text.encode(content, addSpecial: true)
        }

        func document(_ value: JSONValue) throws -> [Int32] {
            if let content = value.stringValue ?? value["text"]?.stringValue {
                return try text(content)
            }
            let list = value["ids"]?.arrayValue ?? value.arrayValue
            if let list, let first = list.first, first["role"] == nil {
                return try list.map { item in
                    guard let id = item.intValue, let token = Int32(exactly: id) else {
                        throw CommandError("token ids must be whole numbers")
                    }
                    return token
                }
            }
            guard let messages = value["messages"]?.arrayValue ?? value.arrayValue,
                !messages.isEmpty
            else { throw CommandError("expected messages, text or ids") }
            var conversation = Conversation(
                messages: messages, tools: value["tools"]?.arrayValue ?? [])
            conversation.addsGenerationPrompt = false
            // A fixed day, so that the numbers do not depend on when they were taken.
            return try text.prompt(
                conversation, now: TemplateDate(secondsSince1970: 1_700_000_000))
        }
    }

    private static let builtIn = """
        The harbour was quiet when the first boats came in. Fishermen carried their baskets up the \
        stone steps, counted what the night had given them, and argued about the price of salt. \
        Nobody noticed the old woman at the end of the quay until she began to sing. Her song was \
        short and had no rhyme, but the gulls stopped circling, and for a moment everything in the \
        bay seemed to listen.

        A computer stores numbers as patterns of bits. When fewer bits are used for each number, \
        more of them fit into the same memory and they can be read faster, but every one of them \
        becomes a little less exact. The question is always the same: how much can be left out \
        before the answer changes? To find out, measure the answer before and after, on a text \
        that resembles the work to be done.

        Customer: I ordered two lamps on Monday and only one has arrived. Can you tell me where \
        the other one is? Agent: I am sorry about that. Both lamps left our warehouse on Tuesday, \
        in separate parcels. The second one should reach you tomorrow before noon. If it does not, \
        write to us and we will send a replacement at no cost.

        早上七点，城里的面包店已经亮起了灯。老板把第一炉面包端出来，香味顺着小巷飘得很远。\
        排队的人不多，却都是熟面孔：上学的孩子、晨练的老人，还有刚下夜班的护士。大家一边等，\
        一边聊着天气和昨天的新闻。

        您好，请问我的订单什么时候能到？您好，您的包裹昨天下午已经发出，预计明天送达。如果明天\
        晚上六点以前还没有收到，请把订单号告诉我们，我们会马上为您查询，并在必要时重新寄送一份。
        """
}
