/// The split patterns of the model families, each a hand-written scanner in `SplitScanner`.
///
/// tokenizer.json carries them as regular expressions; they are recognised by their exact text,
/// because a regex engine would be slower and its dialect never quite the one of training.
enum SplitPattern: Sendable, Equatable {
    /// GPT-2: contractions, letters, digits, others, each with an optional space before.
    case gpt2
    /// cl100k and its family (GLM-4, Llama-3, Qwen2 …).
    case cl100k(digitsMax: Int, joinsMarks: Bool)
    /// o200k and Tekken: words also split before a capital.
    case o200k(digitsMax: Int, contractions: Bool)
    /// Words of SentencePiece text: each begins with its run of U+2581.
    case visibleSpaces
    /// The families below match only parts of the text; what lies between is a piece too.
    case newline
    case spaceLetters
    case spacePunctuation
    case spaceCasedLetters
    case spaceASCIIPunctuation
    case trailingWhitespace
    case eastAsian
    case digits(max: Int)

    private static let contractions = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#
    private static let tail = #"\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// The pattern whose regular expression is exactly `regex`; nil when it is none of ours.
    init?(regex: String) {
        let others = #" ?[^\s\p{L}\p{N}]+[\r\n]*"#
        let words = #"[^\r\n\p{L}\p{N}]?\p{L}+"#
        let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
        let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
        let cased = { (suffix: String) in
            #"[^\r\n\p{L}\p{N}]?"# + upper + "*" + lower + "+" + suffix + "|"
                + #"[^\r\n\p{L}\p{N}]?"# + upper + "+" + lower + "*" + suffix
        }
        let slashed = #" ?[^\s\p{L}\p{N}]+[\r\n/]*"#
        let gpt2Tail = #" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"#
        switch regex {
        case #"'s|'t|'re|'ve|'m|'ll|'d|"# + gpt2Tail + #"|\s+"#,
            #"'s|'t|'re|'ve|'m|'ll|'d|"# + gpt2Tail,
            #"'(?:[sdmt]|ll|ve|re)|"# + gpt2Tail + #"|\s+"#:
            self = .gpt2
        case "\(Self.contractions)|\(words)|\\p{N}{1,3}|\(others)|\(Self.tail)":
            self = .cl100k(digitsMax: 3, joinsMarks: false)
        case "\(Self.contractions)|\(words)|\\p{N}|\(others)|\(Self.tail)",
            "\(Self.contractions)|\(words)|\\p{N}{1}|\(others)|\(Self.tail)":
            self = .cl100k(digitsMax: 1, joinsMarks: false)
        case #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}|"#
            + #" ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#:
            self = .cl100k(digitsMax: 3, joinsMarks: false)
        case #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}|"#
            + #" ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#:
            self = .cl100k(digitsMax: 1, joinsMarks: false)
        case Self.contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"#
            + #" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"# + Self.tail:
            self = .cl100k(digitsMax: 1, joinsMarks: true)
        case cased(Self.contractions + "?") + #"|\p{N}{1,3}|"# + slashed + "|" + Self.tail:
            self = .o200k(digitsMax: 3, contractions: true)
        case cased("") + #"|\p{N}|"# + slashed + "|" + Self.tail:
            self = .o200k(digitsMax: 1, contractions: false)
        case "[\r\n]", #"[\r\n]"#: self = .newline
        case #"\s?\p{L}+"#: self = .spaceLetters
        case #"\s?\p{P}+"#: self = .spacePunctuation
        case #"\s+$"#: self = .trailingWhitespace
        case "[\u{4E00}-\u{9FA5}\u{0800}-\u{4E00}\u{AC00}-\u{D7FF}]+": self = .eastAsian
        case #"\p{N}{1,3}"#: self = .digits(max: 3)
        case #"\p{N}"#: self = .digits(max: 1)
        case #"\p{N}+"#: self = .digits(max: .max)
        default: return nil
        }
    }

    /// Whether every position of a text belongs to a match.
    var coversEverything: Bool {
        switch self {
        case .gpt2, .cl100k, .o200k, .visibleSpaces: true
        default: false
        }
    }
}
