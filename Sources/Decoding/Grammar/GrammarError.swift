/// Why a grammar was refused, or why decoding under it cannot go on.
public enum GrammarError: Error, Equatable, CustomStringConvertible {
    /// Not a grammar at all.
    case invalid(reason: String, path: String? = nil)
    /// A grammar that cannot be followed exactly; it is refused rather than weakened.
    case unsupported(String, path: String? = nil)
    /// Compiling it, or following it, takes more than the budget.
    case tooLarge(String, path: String? = nil)
    /// Nothing satisfies it.
    case unsatisfiable(path: String? = nil)
    /// No token of the vocabulary goes on, and the text is not complete.
    case deadEnd
    case cancelled

    /// What clients see as `code`.
    public var code: String {
        switch self {
        case .invalid: "grammar_invalid"
        case .unsupported: "grammar_unsupported"
        case .tooLarge: "grammar_too_large"
        case .unsatisfiable: "grammar_unsatisfiable"
        case .deadEnd: "grammar_dead_end"
        case .cancelled: "grammar_cancelled"
        }
    }

    /// The JSON pointer of the part of a schema that is meant, as a URI fragment (`#/items`).
    public var path: String? {
        switch self {
        case .invalid(_, let path), .unsupported(_, let path), .tooLarge(_, let path),
            .unsatisfiable(let path):
            path
        case .deadEnd, .cancelled: nil
        }
    }

    /// The same error, at `path` unless it names a place of its own.
    package func at(_ path: String) -> GrammarError {
        switch self {
        case .invalid(let reason, nil): .invalid(reason: reason, path: path)
        case .unsupported(let thing, nil): .unsupported(thing, path: path)
        case .tooLarge(let thing, nil): .tooLarge(thing, path: path)
        case .unsatisfiable(nil): .unsatisfiable(path: path)
        default: self
        }
    }

    public var description: String {
        let place = path.map { " (at \($0))" } ?? ""
        switch self {
        case .invalid(let reason, _): return "\(reason)\(place)"
        case .unsupported(let thing, _): return "cannot be enforced exactly: \(thing)\(place)"
        case .tooLarge(let thing, _): return "over the grammar budget: \(thing)\(place)"
        case .unsatisfiable: return "nothing can satisfy the grammar\(place)"
        case .deadEnd: return "no token of the vocabulary continues the grammar"
        case .cancelled: return "the compilation was cancelled"
        }
    }
}
