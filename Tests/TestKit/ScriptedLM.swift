import AutoGLMCompute
import AutoGLMModels
import AutoGLMText
import Foundation
import Synchronization

/// What a ``ScriptedLM`` says, and how it misbehaves.
package struct Script: Sendable {
    /// Said one token a byte, unless ``tokens`` says it otherwise.
    package var answer: String {
        get { String(decoding: tokens.map { UInt8(clamping: $0) }, as: UTF8.self) }
        set { tokens = Array(newValue.utf8).map { TokenID($0) } }
    }
    /// The answer as tokens, for special ones and ``words``.
    package var tokens: [TokenID]
    /// Follows the answer; nil says the answer again and again.
    package var stopToken: TokenID? = ByteVocabulary.observation
    /// Further special tokens, from ``ByteVocabulary/firstExtra`` on.
    package var special: [String] = []
    /// Further pieces of the vocabulary, behind those; no text is encoded to them.
    package var words: [String] = []
    /// Time that a step takes.
    package var delay: Duration = .zero
    /// A sequence cannot be computed any more once it has said so many tokens.
    package var failAfter: (tokens: Int, error: BackendError)?
    /// A step that computes this token waits for the gate.
    package var hang: (token: TokenID, gate: StepGate)?
    /// Steps of more than one sequence fail as a whole.
    package var refusesBatches = false
    /// Logit of the token that is due; all others have 0, so its probability is
    /// eᵐ / (eᵐ + vocabulary - 1).
    package var margin: Float = 50

    package init(_ answer: String = "Hello, world!") {
        tokens = Array(answer.utf8).map { TokenID($0) }
    }

    /// A script of a few words, one token each.
    package init(words: [String]) {
        self.words = words
        tokens = words.indices.map { ByteVocabulary.firstExtra + TokenID($0) }
    }

    /// A script in pieces: the texts of special tokens become those, all else bytes. A special
    /// token at the end is the one that ends the turn.
    package init(says pieces: [String], special: [String] = []) {
        self.special = special.filter { !ByteVocabulary.special.contains($0) }
        tokens = []
        for piece in pieces {
            if let id = ByteVocabulary.id(of: piece, extra: self.special) {
                tokens.append(id)
            } else {
                tokens += Array(piece.utf8).map { TokenID($0) }
            }
        }
        if let last = tokens.last, last > 255 {
            stopToken = last
            tokens.removeLast()
        }
    }
}

/// A vocabulary of bytes: ids 0…255, then special tokens, then words.
package enum ByteVocabulary {
    package static let observation: TokenID = 256
    package static let assistant: TokenID = 257
    package static let user: TokenID = 258
    package static let system: TokenID = 259
    package static let endOfText: TokenID = 260
    package static let think: TokenID = 261
    package static let thinkEnd: TokenID = 262
    package static let toolCall: TokenID = 263
    package static let toolCallEnd: TokenID = 264
    /// A special token that no family knows.
    package static let odd: TokenID = 265
    package static let firstExtra: TokenID = 267

    /// From 256 on.
    static let special = [
        "<|observation|>", "<|assistant|>", "<|user|>", "<|system|>", "<|endoftext|>", "<think>",
        "</think>", "<tool_call>", "</tool_call>", "<|odd|>",
    ]

    static func id(of text: String, extra: [String]) -> TokenID? {
        if let index = special.firstIndex(of: text) { return 256 + TokenID(index) }
        return extra.firstIndex(of: text).map { firstExtra + TokenID($0) }
    }

    /// - Parameters:
    ///   - extra: more special tokens.
    ///   - words: pieces beyond those, which no text is encoded to.
    package static func tokenizer(
        extra: [String] = [], words: [String] = []
    ) throws -> Tokenizer {
        let zero = ByteVocabulary.shown([0])
        let tokens =
            (0...255).map { shown([UInt8($0)]) } + special
            // One merge there must be; of two bytes that no text has.
            + [zero + zero] + extra + words.map { shown(Array($0.utf8)) }
        let types =
            Array(repeating: 1, count: 256) + special.map { _ in 3 } + [1] + extra.map { _ in 3 }
            + words.map { _ in 1 }
        return try Tokenizer(
            gguf: GGUFVocabulary(
                model: "gpt2", tokens: tokens.map { Array($0.utf8) }, tokenTypes: types,
                merges: [Array("\(zero) \(zero)".utf8)], eosID: endOfText),
            file: "scripted")
    }

    /// Bytes in the letters of byte-level vocabularies.
    package static func shown(_ bytes: [UInt8]) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes { text.append(letters[Int(byte)]) }
        return String(text)
    }

    private static let letters: [Unicode.Scalar] = {
        var next: UInt32 = 256
        return (UInt32(0)...255).map { byte in
            switch byte {
            case 33...126, 161...172, 174...255: return Unicode.Scalar(byte)!
            default:
                defer { next += 1 }
                return Unicode.Scalar(next)!
            }
        }
    }()
}

/// A model whose words are written down: after the last `<|assistant|>` of a sequence it says its
/// script. A text that begins like the script is continued; one that goes another way starts it
/// anew.
///
/// What it knows of a sequence it reads from the KV blocks of the sequence, so a row that is given
/// a wrong, stale or unwritten block fails.
package final class ScriptedLM: CausalLM {
    /// What tests see of it, from any thread.
    package final class Tap: Sendable {
        private struct State {
            var prompts: [[TokenID]] = []
            var steps = 0
            var sequencesMax = 0
        }

        private let state = Mutex(State())

        package init() {}

        /// The whole token sequence of every prefill that ended, in order. One that left a single
        /// row to compute looks like a decode and is not among them.
        package var prompts: [[TokenID]] { state.withLock { $0.prompts } }
        package var steps: Int { state.withLock { $0.steps } }
        /// Sequences in one step at most, so far.
        package var sequencesMax: Int { state.withLock { $0.sequencesMax } }

        fileprivate func note(_ prompts: [[TokenID]], sequences: Int) {
            state.withLock { state in
                state.prompts += prompts
                state.steps += 1
                state.sequencesMax = max(state.sequencesMax, sequences)
            }
        }
    }

    private struct Slot {
        var token: TokenID = -1
        var position: Int32 = -1
        /// Tokens of the script said up to here.
        var said: Int32 = 0
    }

    private let script: Script
    private let blockTokens: Int
    private let rowWidth: Int
    private let tap: Tap
    private var memory: [Slot] = []

    /// - Parameter vocabulary: rows of the logits beyond it are padding and have the highest ones.
    package init(_ script: Script, vocabulary: Int, blockTokens: Int, tap: Tap) {
        self.script = script
        self.blockTokens = blockTokens
        self.vocabulary = vocabulary
        rowWidth = Self.rowWidth(vocabulary)
        self.tap = tap
    }

    private let vocabulary: Int

    package static func rowWidth(_ vocabulary: Int) -> Int { vocabulary + 16 }

    package var info: ModelInfo { preconditionFailure("the engine does not ask") }

    package func allocateCache(blocks: Int) {
        memory = Array(repeating: Slot(), count: blocks * blockTokens)
    }

    package func eraseBlocks(_ blocks: [Int32]) {
        for block in blocks {
            for offset in 0..<blockTokens {
                memory[Int(block) * blockTokens + offset] = Slot()
            }
        }
    }

    package func copyBlocks(_ pairs: [(from: Int32, to: Int32)]) {
        for pair in pairs {
            for offset in 0..<blockTokens {
                memory[Int(pair.to) * blockTokens + offset] =
                    memory[Int(pair.from) * blockTokens + offset]
            }
        }
    }

    package func logits(
        _ batch: borrowing StepBatch, into logits: UnsafeMutableBufferPointer<Float>
    ) throws(BackendError) {
        if script.delay > .zero { Thread.sleep(forTimeInterval: script.delay / .seconds(1)) }
        if let hang = script.hang, batch.tokens.contains(hang.token) { hang.gate.pass() }
        if script.refusesBatches, batch.sequences.count > 1 {
            throw .outOfMemory(requestedBytes: 1)
        }
        var said: [Int32] = []
        var prompts: [[TokenID]] = []
        for sequence in batch.sequences {
            let rows = Int(sequence.firstRow)..<Int(sequence.firstRow + sequence.rowCount)
            for row in rows { said.append(try compute(row, batch, sequence)) }
            if rows.count > 1, batch.outputRows.contains(Int32(rows.upperBound - 1)) {
                prompts.append(history(upTo: Int(batch.positions[rows.upperBound - 1]), batch, sequence))
            }
        }
        tap.note(prompts, sequences: batch.sequences.count)
        for (index, row) in batch.outputRows.enumerated() {
            let base = index * rowWidth
            for column in 0..<rowWidth { logits[base + column] = column < vocabulary ? 0 : 100 }
            if let token = try next(Int(said[Int(row)])) { logits[base + Int(token)] = script.margin }
        }
    }

    package var spare: (any ModelSpare)? {
        guard let gate = script.hang?.gate else { return nil }
        return Spare(
            script: script, vocabulary: vocabulary, blockTokens: blockTokens, tap: tap, pulse: gate)
    }

    private struct Spare: ModelSpare {
        let script: Script
        let vocabulary: Int
        let blockTokens: Int
        let tap: Tap
        let pulse: any StepPulse

        func model(blocks: Int) throws(BackendError) -> any CausalLM {
            let model = ScriptedLM(
                script, vocabulary: vocabulary, blockTokens: blockTokens, tap: tap)
            model.allocateCache(blocks: blocks)
            return model
        }

        func discardCache() {}
    }

    private func compute(
        _ row: Int, _ batch: borrowing StepBatch, _ sequence: StepBatch.SequenceRows
    ) throws(BackendError) -> Int32 {
        let position = Int(batch.positions[row])
        let token = batch.tokens[row]
        var said: Int32 = 0
        if position > 0 {
            let before = memory[slot(position - 1, batch, sequence)]
            guard before.position == Int32(position - 1) else {
                throw .device("position \(position) follows a block of \(before.position)")
            }
            said = before.said
        }
        if token == ByteVocabulary.assistant {
            said = 0
        } else if script.tokens.isEmpty {
            said = 0
        } else if script.tokens[Int(said) % script.tokens.count] == token {
            said += 1
        } else {
            said = script.tokens[0] == token ? 1 : 0
        }
        memory[slot(position, batch, sequence)] = Slot(
            token: token, position: Int32(position), said: said)
        return said
    }

    /// The token that is due after so many of the script; nil where none is more likely.
    private func next(_ said: Int) throws(BackendError) -> TokenID? {
        if let failure = script.failAfter, said >= failure.tokens { throw failure.error }
        if said < script.tokens.count { return script.tokens[said] }
        guard let stop = script.stopToken else {
            return script.tokens.isEmpty ? nil : script.tokens[said % script.tokens.count]
        }
        return stop
    }

    private func history(
        upTo position: Int, _ batch: borrowing StepBatch, _ sequence: StepBatch.SequenceRows
    ) -> [TokenID] {
        var tokens: [TokenID] = []
        for place in 0...position { tokens.append(memory[slot(place, batch, sequence)].token) }
        return tokens
    }

    private func slot(
        _ position: Int, _ batch: borrowing StepBatch, _ sequence: StepBatch.SequenceRows
    ) -> Int {
        let block = batch.blockTables[Int(sequence.blockTableOffset) + position / blockTokens]
        return Int(block) * blockTokens + position % blockTokens
    }
}
