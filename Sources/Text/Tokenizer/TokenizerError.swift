import AutoGLMJSON

/// Identifies one entry of a model's vocabulary.
public typealias TokenID = Int32

/// Why a tokenizer could not be loaded. Names the file and the field, never text of a prompt.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
    /// No tokenizer file in the directory.
    case missing(directory: String)
    case unreadable(file: String, reason: String)
    /// The file is not in the format its name promises.
    case malformed(file: String, field: String, reason: String)
    /// Well formed, but uses something this program does not implement.
    case unsupported(file: String, field: String, value: String)

    public var description: String {
        switch self {
        case .missing(let directory):
            "no tokenizer in \(excerpt(directory)): expected tokenizer.json, tokenizer.model, or "
                + "vocab.json with merges.txt; copy one of them from the model's repository"
        case .unreadable(let file, let reason):
            "cannot read tokenizer file \(excerpt(file)): \(excerpt(reason))"
        case .malformed(let file, let field, let reason):
            "malformed tokenizer file \(excerpt(file)), \(excerpt(field)): \(excerpt(reason)); "
                + "fetch the file again"
        case .unsupported(let file, let field, let value):
            "tokenizer file \(excerpt(file)), \(excerpt(field)): \(excerpt(value)) is not "
                + "supported; use a model whose tokenizer is BPE or unigram with a known split "
                + "pattern"
        }
    }
}
