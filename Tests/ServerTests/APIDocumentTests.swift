import AutoGLMAPI
import AutoGLMDecoding
import Foundation
import TestKit
import Testing

/// docs/api.md shows the tables that requests are decoded by. When this fails, the file it names
/// holds what the document should be.
@Suite struct APIDocumentTests {
    @Test func theDocumentShowsTheTables() throws {
        let path = SharedData.repository.appendingPathComponent("docs/api.md")
        let present = (try? String(contentsOf: path, encoding: .utf8)) ?? ""
        let expected = Self.document
        guard present != expected else { return }
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent("api.md")
        try expected.write(to: copy, atomically: true, encoding: .utf8)
        Issue.record("docs/api.md differs from the tables; \(copy.path) is what they say")
    }

    private static var document: String {
        """
        # Requests

        Every field of a request's body, from the tables that decode it. A field that is not listed is
        ignored; one that would change the answer and cannot be honoured is refused with 400 and its
        name in `param`, unless its value asks for nothing (null, an empty text, a default).

        ## Sampling parameters

        In `/v1/chat/completions`, `/v1/completions`, generation_config.json (where marked), as flags
        of `serve`, `run` and `chat` (`--top-p`), in the YAML file, and for `/set` in a chat. The
        request's value counts, then the operator's, then the makers', then the default.

        | Name | Value | Default | Meaning |
        |---|---|---|---|
        \(samplingRows)

        `*`: a model's generation_config.json may set it; `do_sample: false` there means temperature 0.

        ## /v1/chat/completions

        Honoured: \(names(RequestFields.chat)).

        Refused:

        \(refusals(RequestFields.chat))

        Read over, since they change no answer: \(harmless(RequestFields.chat)).

        ## /v1/completions

        Honoured: \(names(RequestFields.completion)).

        Refused beside those of chats:

        \(refusals(RequestFields.completion, but: RequestFields.chat))

        `parse_special` (true unless given) reads special tokens written in a text prompt as such: who
        uses this endpoint has rendered the prompt, marks and all. In chats, text stays text.

        ## /v1/tokenize

        `prompt` (or `text`, `content`) with `add_special_tokens` and `parse_special`, both false unless
        given; or `messages` with the fields of a chat that decide its prompt.

        """
    }

    private static var samplingRows: String {
        let defaults = SamplingParameters()
        return SamplingParameters.fields.map { field in
            let value =
                switch field.value(in: defaults) {
                case .number(let number)?: number == number.rounded() ? "\(Int(number))" : "\(number)"
                case .integer(let number)?: "\(number)"
                case nil: "none"
                }
            let names = ([field.name] + field.aliases).map { "`\($0)`" }.joined(separator: ", ")
            return "| \(names)\(field.isMakers ? " *" : "") | \(field.limit) | \(value) | "
                + "\(field.meaning) |"
        }.joined(separator: "\n")
    }

    private static func names(_ fields: [RequestField]) -> String {
        fields.filter { $0.treatment == .read }.map { "`\($0.name)`" }.sorted()
            .joined(separator: ", ")
    }

    private static func refusals(_ fields: [RequestField], but others: [RequestField] = []) -> String {
        let known = Set(others.map(\.name))
        return fields.compactMap { field -> String? in
            guard case .refused(let advice) = field.treatment, !known.contains(field.name) else {
                return nil
            }
            return "- `\(field.name)`: \(advice)"
        }.sorted().joined(separator: "\n")
    }

    private static func harmless(_ fields: [RequestField]) -> String {
        fields.filter { if case .harmless = $0.treatment { true } else { false } }
            .map { "`\($0.name)`" }.sorted().joined(separator: ", ")
    }

    /// Every field of OpenAI's own description stands in the table.
    @Test(.enabled(if: SharedData.url("api/openai-openapi.yaml") != nil))
    func openAIsFieldsAreAllKnown() throws {
        let chat = Set(RequestFields.chat.map(\.name))
        let completion = Set(RequestFields.completion.map(\.name))
        for name in [
            "metadata", "top_logprobs", "temperature", "top_p", "user", "safety_identifier",
            "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "messages",
            "model", "service_tier", "modalities", "verbosity", "reasoning_effort",
            "max_completion_tokens", "frequency_penalty", "presence_penalty", "web_search_options",
            "response_format", "audio", "store", "moderation", "stream", "stop", "logit_bias",
            "logprobs", "max_tokens", "n", "prediction", "seed", "stream_options", "tools",
            "tool_choice", "parallel_tool_calls", "function_call", "functions",
        ] {
            #expect(chat.contains(name), "\(name)")
        }
        for name in [
            "model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs",
            "max_tokens", "n", "presence_penalty", "seed", "stop", "stream", "stream_options",
            "suffix", "temperature", "top_p", "user",
        ] {
            #expect(completion.contains(name), "\(name)")
        }
        // A name stands once: what a field is must not depend on which row is found first.
        for fields in [RequestFields.chat, RequestFields.completion] {
            let names = fields.map(\.name)
            #expect(Set(names).count == names.count)
        }
    }
}
