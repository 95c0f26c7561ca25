import AutoGLMJSON

/// The small parts of tokenizer.json. Anything not implemented is an error that names it:
/// silently wrong ids would be worse.
struct TokenizerJSONComponents {
    let file: String

    struct Split {
        var normalizers: [Normalizer] = []
        var stages: [PreTokenizer.Stage] = []
        var isByteLevel = false
    }

    struct Decoder {
        var isByteLevel = false
        var showsSpaces = false
        var leadingSpacesDropped = 0
    }

    private func malformed(_ field: String, _ reason: String) -> TokenizerError {
        .malformed(file: file, field: field, reason: reason)
    }

    private func unsupported(_ field: String, _ value: String) -> TokenizerError {
        .unsupported(file: file, field: field, value: value)
    }

    private func type(of value: JSONValue, _ field: String) throws(TokenizerError) -> String {
        guard let type = value["type"]?.stringValue else {
            throw malformed("\(field).type", "expected a string")
        }
        return type
    }

    private func elements(
        _ value: JSONValue, _ key: String, _ field: String
    ) throws(TokenizerError) -> [JSONValue] {
        guard let elements = value[key]?.arrayValue else {
            throw malformed("\(field).\(key)", "expected an array")
        }
        return elements
    }

    private func string(
        _ value: JSONValue, _ key: String, _ field: String
    ) throws(TokenizerError) -> [UInt8] {
        guard let text = value[key]?.stringValue else {
            throw malformed("\(field).\(key)", "expected a string")
        }
        return Array(text.utf8)
    }

    // MARK: Normalizers

    func normalizers(
        _ value: JSONValue, _ field: String = "normalizer"
    ) throws(TokenizerError) -> [Normalizer] {
        if value.isNull { return [] }
        switch try type(of: value, field) {
        case "Sequence":
            var steps: [Normalizer] = []
            for (index, element) in try elements(value, "normalizers", field).enumerated() {
                steps += try normalizers(element, "\(field).normalizers[\(index)]")
            }
            return steps
        case "NFC": return [.form(.nfc)]
        case "NFD": return [.form(.nfd)]
        case "NFKC": return [.form(.nfkc)]
        case "NFKD": return [.form(.nfkd)]
        case "Lowercase": return [.lowercase]
        case "StripAccents": return [.stripAccents]
        case "Strip":
            return [
                .strip(
                    left: value["strip_left"]?.boolValue ?? true,
                    right: value["strip_right"]?.boolValue ?? true)
            ]
        case "Prepend": return [.prepend(try string(value, "prepend", field))]
        case "Replace": return [try replacement(value, field)]
        case "Precompiled":
            let text = try string(value, "precompiled_charsmap", field)
            guard let blob = Base64.decode(text[...]), let map = Charsmap(blob) else {
                throw malformed("\(field).precompiled_charsmap", "not a character map in base64")
            }
            return [.charsmap(map)]
        case let other: throw unsupported("\(field).type", other)
        }
    }

    private func replacement(
        _ value: JSONValue, _ field: String
    ) throws(TokenizerError) -> Normalizer {
        let content = try string(value, "content", field)
        if let pattern = value["pattern"]?["String"]?.stringValue {
            return .replace(Array(pattern.utf8), with: content)
        }
        guard let regex = value["pattern"]?["Regex"]?.stringValue else {
            throw malformed("\(field).pattern", "expected String or Regex")
        }
        switch regex {
        case " {2,}": return .collapseSpaces(with: content)
        case " ": return .replace([0x20], with: content)
        default: throw unsupported("\(field).pattern.Regex", regex)
        }
    }

    // MARK: Pre-tokenizers

    func preTokenizer(_ value: JSONValue) throws(TokenizerError) -> Split {
        var split = Split()
        if !value.isNull { try append(value, "pre_tokenizer", to: &split) }
        return split
    }

    private func append(
        _ value: JSONValue, _ field: String, to split: inout Split
    ) throws(TokenizerError) {
        switch try type(of: value, field) {
        case "Sequence":
            for (index, element) in try elements(value, "pretokenizers", field).enumerated() {
                try append(element, "\(field).pretokenizers[\(index)]", to: &split)
            }
        case "ByteLevel":
            split.isByteLevel = true
            if value["add_prefix_space"]?.boolValue ?? true {
                if split.stages.isEmpty {
                    split.normalizers.append(.prefixSpace)
                } else {
                    split.stages.append(.rewrite(space: [0x20], prefix: [0x20]))
                }
            }
            if value["use_regex"]?.boolValue ?? true { split.stages.append(.pattern(.gpt2)) }
        case "Split": split.stages.append(try splitStage(value, field))
        case "Digits":
            let individual = value["individual_digits"]?.boolValue ?? false
            split.stages.append(.pattern(.digits(max: individual ? 1 : .max)))
        case "Punctuation":
            let name = value["behavior"]?.stringValue ?? "Isolated"
            guard let behavior = PreTokenizer.SplitBehavior(rawValue: name) else {
                throw unsupported("\(field).behavior", name)
            }
            split.stages.append(.punctuation(behavior))
        case "WhitespaceSplit": split.stages.append(.whitespaceSplit)
        case "Metaspace": try appendMetaspace(value, field, to: &split)
        case let other: throw unsupported("\(field).type", other)
        }
    }

    private func splitStage(
        _ value: JSONValue, _ field: String
    ) throws(TokenizerError) -> PreTokenizer.Stage {
        let name = value["behavior"]?.stringValue ?? ""
        guard let behavior = PreTokenizer.SplitBehavior(rawValue: name) else {
            throw unsupported("\(field).behavior", name)
        }
        let inverted = value["invert"]?.boolValue ?? false
        if let literal = value["pattern"]?["String"]?.stringValue {
            if inverted { throw unsupported("\(field).invert", "true with a String pattern") }
            return .literal(Array(literal.utf8), behavior)
        }
        guard let regex = value["pattern"]?["Regex"]?.stringValue else {
            throw malformed("\(field).pattern", "expected String or Regex")
        }
        guard let pattern = SplitPattern(regex: regex) else {
            throw unsupported("\(field).pattern.Regex", regex)
        }
        // Keeping the matches and dropping the nothing between them is isolating them.
        let isolates =
            (behavior == .isolated && !inverted)
            || (behavior == .removed && inverted && pattern.coversEverything)
        guard isolates else {
            throw unsupported("\(field).behavior", "\(name) with a Regex pattern")
        }
        return .pattern(pattern)
    }

    private func appendMetaspace(
        _ value: JSONValue, _ field: String, to split: inout Split
    ) throws(TokenizerError) {
        let symbol =
            value["replacement"] == nil
            ? SentencePieceNormalizer.spaceSymbol : try string(value, "replacement", field)
        let legacy = value["add_prefix_space"]?.boolValue ?? true ? "always" : "never"
        let name = value["prepend_scheme"]?.stringValue ?? legacy
        let scheme: Normalizer.PrefixScheme
        switch name {
        case "always": scheme = .always
        case "first": scheme = .first
        case "never": scheme = .never
        default: throw unsupported("\(field).prepend_scheme", name)
        }
        if split.stages.isEmpty {
            split.normalizers.append(.metaspace(replacement: symbol, prefix: scheme))
        } else if scheme != .first {
            split.stages.append(.rewrite(space: symbol, prefix: scheme == .always ? symbol : []))
        } else {
            throw unsupported("\(field).prepend_scheme", "first behind another pre-tokenizer")
        }
        if value["split"]?.boolValue ?? true {
            split.stages.append(.literal(symbol, .mergedWithNext))
        }
    }

    // MARK: Decoder

    func decoder(_ value: JSONValue) throws(TokenizerError) -> Decoder {
        var decoder = Decoder()
        if !value.isNull { try append(value, "decoder", to: &decoder) }
        return decoder
    }

    private func append(
        _ value: JSONValue, _ field: String, to decoder: inout Decoder
    ) throws(TokenizerError) {
        switch try type(of: value, field) {
        case "Sequence":
            for (index, element) in try elements(value, "decoders", field).enumerated() {
                try append(element, "\(field).decoders[\(index)]", to: &decoder)
            }
        case "ByteLevel": decoder.isByteLevel = true
        case "ByteFallback", "Fuse": break
        case "Metaspace":
            decoder.showsSpaces = true
            let scheme = value["prepend_scheme"]?.stringValue
            let legacy = value["add_prefix_space"]?.boolValue ?? true
            if scheme.map({ $0 != "never" }) ?? legacy { decoder.leadingSpacesDropped = 1 }
        case "Replace":
            guard value["pattern"]?["String"]?.stringValue == "\u{2581}",
                value["content"]?.stringValue == " "
            else { throw unsupported(field, "a Replace other than U+2581 by a space") }
            decoder.showsSpaces = true
        case "Strip":
            let stop = value["stop"]?.intValue ?? 0
            let start = value["start"]?.intValue ?? 0
            guard value["content"]?.stringValue == " ", stop == 0, (0...16).contains(start) else {
                throw unsupported(field, "a Strip other than of leading spaces")
            }
            decoder.leadingSpacesDropped = Int(start)
        case let other: throw unsupported("\(field).type", other)
        }
    }

    // MARK: Post-processor

    /// The special tokens that a single text gets before and behind it.
    func postProcessor(
        _ value: JSONValue, _ field: String = "post_processor"
    ) throws(TokenizerError) -> (prefix: [TokenID], suffix: [TokenID]) {
        var result: (prefix: [TokenID], suffix: [TokenID]) = ([], [])
        if value.isNull { return result }
        switch try type(of: value, field) {
        case "ByteLevel": break
        case "Sequence":
            for (index, element) in try elements(value, "processors", field).enumerated() {
                let inner = try postProcessor(element, "\(field).processors[\(index)]")
                result.prefix = inner.prefix + result.prefix
                result.suffix += inner.suffix
            }
        case "TemplateProcessing":
            var afterText = false
            for (index, item) in try elements(value, "single", field).enumerated() {
                if item["Sequence"] != nil {
                    afterText = true
                    continue
                }
                guard let name = item["SpecialToken"]?["id"]?.stringValue,
                    let ids = value["special_tokens"]?[name]?["ids"]?.arrayValue
                else {
                    throw malformed("\(field).single[\(index)]", "names no special token")
                }
                let tokens = ids.compactMap { $0.intValue.flatMap { TokenID(exactly: $0) } }
                guard tokens.count == ids.count else {
                    throw malformed(
                        "\(field).special_tokens.\(name).ids", "expected a list of token ids")
                }
                if afterText { result.suffix += tokens } else { result.prefix += tokens }
            }
        case "BertProcessing", "RobertaProcessing":
            result.prefix = [try pairID(value, "cls", field)]
            result.suffix = [try pairID(value, "sep", field)]
        case let other: throw unsupported("\(field).type", other)
        }
        return result
    }

    private func pairID(
        _ value: JSONValue, _ key: String, _ field: String
    ) throws(TokenizerError) -> TokenID {
        guard let id = value[key]?[1]?.intValue.flatMap({ TokenID(exactly: $0) }) else {
            throw malformed("\(field).\(key)", "expected [text, id]")
        }
        return id
    }
}
