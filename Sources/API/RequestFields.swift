import AutoGLMJSON

/// What becomes of a field of a request's body.
///
/// Every field of OpenAI's API and of what clients of vLLM, SGLang and llama-server commonly send
/// stands here, by endpoint. A field that constrains, forces or changes an answer is honoured or
/// refused by its name, never dropped; what changes nothing is read over; a field that no one knows
/// is ignored, as every server of this API does.
package enum FieldTreatment: Sendable, Equatable {
    case read
    /// Refused with 400 unless it says nothing (null, or one of `harmless`); the text says what to
    /// do instead.
    case refused(String)
    /// Changes no answer: identity, storage, billing.
    case harmless(String)
}

package struct RequestField: Sendable {
    package let name: String
    package let treatment: FieldTreatment

    init(_ name: String, _ treatment: FieldTreatment) {
        self.name = name
        self.treatment = treatment
    }
}

package enum RequestFields {
    package static let chat: [RequestField] =
        shared
        + [
            "messages", "tools", "tool_choice", "parallel_tool_calls", "max_completion_tokens",
            "top_logprobs", "logprobs", "chat_template_kwargs", "reasoning_effort", "thinking",
            "enable_thinking", "add_generation_prompt",
        ].map { RequestField($0, .read) }
        + [
            RequestField("functions", .refused("It is obsolete; use 'tools'.")),
            RequestField("function_call", .refused("It is obsolete; use 'tool_choice'.")),
            RequestField("audio", .refused("This server makes text only.")),
            RequestField("web_search_options", .refused("This server touches no network.")),
            RequestField(
                "chat_template", .refused("A template is code; start the server with one.")),
            RequestField(
                "continue_final_message", .refused("Use /v1/completions to continue a text.")),
            RequestField("documents", .refused("Put them into a message.")),
            RequestField("mm_processor_kwargs", .refused("This server reads text only.")),
            RequestField("reasoning_budget", .refused(notYet)),
            RequestField("thinking_budget", .refused(notYet)),
        ]

    package static let completion: [RequestField] =
        shared
        + ["prompt", "echo", "logprobs", "best_of", "suffix", "parse_special",
            "add_special_tokens",
        ].map { RequestField($0, .read) }
        + [
            RequestField("prompt_embeds", .refused("Send a text or token ids.")),
            RequestField("prompt_logprobs", .refused("Use 'echo' with 'logprobs'.")),
        ]

    private static let notYet = "This server cannot do that yet."

    /// Of every endpoint that makes text.
    private static let shared: [RequestField] =
        [
            "model", "stream", "stream_options", "stop", "stop_token_ids", "logit_bias", "n",
            "ignore_eos", "priority", "loop_guard", "modalities",
            "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty",
            "presence_penalty", "seed", "max_tokens", "min_tokens",
        ].map { RequestField($0, .read) }
        + OutputFormReader.fields.map { RequestField($0, .read) }
        + constraints + samplers + harmless

    private static let constraints: [RequestField] =
        [
            RequestField(
                "guided_whitespace_pattern", .refused("White space is laid out by the server.")),
            RequestField("structural_tag", .refused("Offer tools, or send a 'grammar'.")),
            RequestField("grammar_lazy", .refused("Offer tools; their calls are typed.")),
            RequestField("bad_words", .refused("Use 'logit_bias' with token ids.")),
            RequestField("allowed_token_ids", .refused("Use 'logit_bias' with token ids.")),
            RequestField("logits_processors", .refused("Code is not accepted from requests.")),
            RequestField("custom_logit_processor", .refused("Code is not accepted from requests.")),
            RequestField("vllm_xargs", .refused(notYet)),
            RequestField("stop_regex", .refused("Use 'stop' with fixed texts.")),
        ]

    /// Samplers of others.
    private static let samplers: [RequestField] =
        [
            "typical_p", "top_a", "tfs_z", "top_n_sigma", "xtc_probability", "xtc_threshold",
            "mirostat", "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base",
            "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers",
            "dynatemp_range", "dynatemp_exponent", "samplers", "sampling_seed",
        ].map { RequestField($0, .refused("This server has no such sampler.")) }
        + [
            RequestField("repeat_penalty", .refused("Use 'repetition_penalty'.")),
            RequestField(
                "repeat_last_n", .refused("'repetition_penalty' looks at the whole text.")),
            RequestField("n_predict", .refused("Use 'max_tokens'.")),
            RequestField("max_new_tokens", .refused("Use 'max_tokens'.")),
            RequestField("length_penalty", .refused("There is no beam search.")),
            RequestField("use_beam_search", .refused("There is no beam search.")),
            RequestField("early_stopping", .refused("There is no beam search.")),
            RequestField("include_stop_str_in_output", .refused(notYet)),
            RequestField("no_stop_trim", .refused(notYet)),
            RequestField("skip_special_tokens", .refused("They are always left out.")),
            RequestField("truncate_prompt_tokens", .refused("Shorten the prompt yourself.")),
            RequestField("prediction", .refused(notYet)),
            RequestField("lora_path", .refused("This server has no adapters.")),
            RequestField("lora", .refused("This server has no adapters.")),
            RequestField("return_tokens_as_token_ids", .refused(notYet)),
            RequestField("return_token_ids", .refused(notYet)),
            RequestField("n_probs", .refused("Use 'logprobs'.")),
            RequestField("verbosity", .refused("Say it in the prompt.")),
            RequestField("moderation", .refused("This server does not moderate.")),
        ]

    private static let harmless: [RequestField] =
        [
            "user", "safety_identifier", "metadata", "service_tier", "prompt_cache_key",
            "prompt_cache_retention", "prompt_cache_options",
        ].map { RequestField($0, .harmless("Who asks, for what, and at what price.")) }
        + [
            RequestField(
                "guided_decoding_backend", .harmless("There is one, and it is exact.")),
            RequestField("store", .harmless("Nothing is stored, whatever it says.")),
            RequestField("cache_prompt", .harmless("Prompts are always cached; no bit changes.")),
            RequestField("cache_salt", .harmless("Caches are separate by key.")),
            RequestField("request_id", .harmless("Send the header x-request-id.")),
            RequestField("rid", .harmless("Send the header x-request-id.")),
            RequestField("spaces_between_special_tokens", .harmless("They are left out.")),
            RequestField("include_reasoning", .harmless("It is a field of its own.")),
            RequestField("separate_reasoning", .harmless("It is a field of its own.")),
            RequestField("stream_reasoning", .harmless("It is a field of its own.")),
            RequestField("timings_per_token", .harmless("Nothing of the answer changes.")),
            RequestField("return_progress", .harmless("Nothing of the answer changes.")),
            RequestField("id_slot", .harmless("There are no slots to choose.")),
        ]

    /// Values of refused fields that ask for nothing: what clients send because their library has a
    /// default.
    private static let saysNothing: [String: [String]] = [
        "skip_special_tokens": ["true"], "use_beam_search": ["false"],
        "length_penalty": ["1", "1.0"],
        "early_stopping": ["false"], "include_stop_str_in_output": ["false"],
        "no_stop_trim": ["false"], "typical_p": ["1", "1.0"], "top_a": ["0", "0.0"],
        "tfs_z": ["1", "1.0"], "mirostat": ["0"], "xtc_probability": ["0", "0.0"],
        "dry_multiplier": ["0", "0.0"], "dynatemp_range": ["0", "0.0"],
        "top_n_sigma": ["-1", "-1.0"], "repeat_penalty": ["1", "1.0"], "n_probs": ["0"],
        "continue_final_message": ["false"], "functions": ["[]"], "documents": ["[]"],
        "bad_words": ["[]"], "lora": ["[]"], "return_tokens_as_token_ids": ["false"],
        "return_token_ids": ["false"], "verbosity": ["\"medium\""], "grammar_lazy": ["false"],
        "thinking_budget": ["-1"], "reasoning_budget": ["-1"],
    ]

    /// Refuses the fields of a body that would change the answer and cannot be honoured.
    static func check(_ fields: [RequestField], _ reader: FieldReader) throws(APIError) {
        for field in fields {
            guard case .refused(let advice) = field.treatment, let value = reader[field.name]
            else { continue }
            let text = value.serialized(.compact)
            if text == "\"\"" || saysNothing[field.name]?.contains(text) ?? false { continue }
            throw .unsupported(field.name, "'\(field.name)' is not supported. \(advice)")
        }
    }
}
