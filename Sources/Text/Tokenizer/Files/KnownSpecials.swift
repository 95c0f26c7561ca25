/// Special tokens of models whose tokenizer file does not carry them.
enum KnownSpecials {
    static let glm4 = [
        "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>",
        "<|user|>", "<|assistant|>", "<|observation|>", "<|begin_of_image|>",
        "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>",
    ]

    static let chatGLM3 = [
        "[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>",
        "<|observation|>",
    ]

    /// Llama 3.1's names for the 256 ids behind its ranks.
    static let llama3: [String] = {
        var names = [
            "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
            "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>",
            "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
            "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
        ]
        names += (3..<248).map { "<|reserved_special_token_\($0)|>" }
        return names
    }()

    static let qwen = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

    static func tokens(_ names: [String], from first: Int) -> [AddedToken] {
        names.enumerated().map { index, name in
            AddedToken(
                id: TokenID(first + index), content: Array(name.utf8), isSpecial: true,
                followsToken: name == "sop" || name == "eop")
        }
    }
}
