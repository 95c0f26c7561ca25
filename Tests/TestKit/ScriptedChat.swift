import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMText

/// A real model of the module Chat, with the real engine, around a ``ScriptedLM``.
package struct ScriptedChat: Sendable {
    /// Tools where there are any, contents, and the mark behind which the model speaks.
    package static let template =
        "{% for m in messages %}{% for t in m.tools or [] %}{{ t.function.name }};{% endfor %}"
        + "{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"

    package let model: ChatModel
    package let tap: ScriptedLM.Tap

    /// - Parameters:
    ///   - template: decides the family; the one given is GLM-4's. nil gives a model without one.
    ///   - hasTokenizer: without, it takes token ids only.
    ///   - change: KV blocks are of 2 tokens, so that short prompts have something to share.
    package init(
        _ script: Script = Script(), template: String? = Self.template, hasTokenizer: Bool = true,
        makers: SamplingOverrides = SamplingOverrides(),
        operators: SamplingOverrides = SamplingOverrides(),
        contextMax: Int = 4_096, blocks: Int = 8_192,
        engine change: (inout EngineOptions) -> Void = { _ in }
    ) throws {
        let tokenizer = try ByteVocabulary.tokenizer(
            extra: script.special, words: script.words)
        let text = try ModelText(
            tokenizer: hasTokenizer ? tokenizer : nil,
            templates: template.map { ["default": $0] } ?? [:], name: "scripted")
        let stops = [
            ByteVocabulary.observation, ByteVocabulary.user,
            ByteVocabulary.system, ByteVocabulary.endOfText,
        ]
        try self.init(
            script, text: text, vocabulary: tokenizer.vocabularyCount, stops: stops,
            makers: makers, operators: operators, contextMax: contextMax, blocks: blocks,
            engine: change)
    }

    /// Of a text of its own.
    /// - Parameter stops: tokens that end a turn.
    package init(
        _ script: Script, text: ModelText, vocabulary: Int, stops: [TokenID],
        makers: SamplingOverrides = SamplingOverrides(),
        operators: SamplingOverrides = SamplingOverrides(),
        contextMax: Int = 4_096, blocks: Int = 8_192,
        engine change: (inout EngineOptions) -> Void = { _ in }
    ) throws {
        var options = EngineOptions()
        options.blockTokens = 2
        change(&options)
        let tap = ScriptedLM.Tap()
        self.tap = tap
        let lm = ScriptedLM(
            script, vocabulary: vocabulary, blockTokens: options.blockTokens, tap: tap)
        lm.allocateCache(blocks: blocks)
        let engine = try Engine(
            lm,
            shape: EngineShape(
                rowWidth: ScriptedLM.rowWidth(vocabulary), vocabulary: vocabulary,
                contextMax: contextMax, blocks: blocks, blockTokens: options.blockTokens,
                stopTokens: stops),
            options: options)
        let facts = ModelFacts(
            name: "scripted", contextMax: contextMax, vocabulary: vocabulary,
            fingerprint: "fp_test", created: 1_700_000_000)
        model = ChatModel(
            facts: facts, engine: engine, text: text, makers: makers, operators: operators)
    }

    package var status: EngineStatus { model.engine.status }
    package var prompts: [[TokenID]] { tap.prompts }
}
