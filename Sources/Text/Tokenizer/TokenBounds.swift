/// How few tokens a text can make, known without encoding it.
struct TokenBounds: Sendable {
    /// Bytes of text that one token stands for at most; nil where a token may stand for any number
    /// of them, or text may vanish.
    let bytesPerTokenMax: Int?

    init(_ parts: TokenizerParts) {
        let steps = parts.normalizers + parts.partNormalizers
        guard Self.keepsUnknown(parts.model), parts.stages.allSatisfy(Self.keepsText),
            parts.added.allSatisfy({ !$0.stripsLeft && !$0.stripsRight })
        else {
            bytesPerTokenMax = nil
            return
        }
        var shrinking = 1
        for step in steps {
            guard let factor = Self.shrinking(step) else {
                bytesPerTokenMax = nil
                return
            }
            shrinking *= factor
        }
        let pieces = parts.model.pieces
        let addedMax = parts.added.map(\.content.count).max() ?? 0
        bytesPerTokenMax = shrinking * max(pieces.lengthMax, addedMax, 4)
    }

    /// Whether every character of a text ends in a token, and unknown ones in one each.
    private static func keepsUnknown(_ model: TokenizerParts.Model) -> Bool {
        switch model {
        case .bpe(let model):
            let knowsBytes = model.byteIDs.count == 256 && !model.byteIDs.contains { $0 < 0 }
            return knowsBytes
                || (model.alphabet == .characters && model.unknownID != nil
                    && !model.fusesUnknown)
        case .unigram(let model):
            let knowsBytes = model.byteIDs.count == 256 && !model.byteIDs.contains { $0 < 0 }
            return knowsBytes || (model.unknownID != nil && !model.fusesUnknown)
        }
    }

    private static func keepsText(_ stage: PreTokenizer.Stage) -> Bool {
        switch stage {
        case .pattern, .rewrite: true
        case .whitespaceSplit: false
        case .literal(_, let behavior), .punctuation(let behavior): behavior != .removed
        }
    }

    /// How many times shorter a step may make a text; nil where there is no bound.
    private static func shrinking(_ step: Normalizer) -> Int? {
        switch step {
        // The most is a mathematical letter of four bytes that becomes an ASCII one.
        case .form, .lowercase: 4
        case .prepend, .metaspace, .prefixSpace: 1
        case .replace(let pattern, let replacement):
            replacement.isEmpty ? nil : (pattern.count + replacement.count - 1) / replacement.count
        case .sentencePiece(let normalizer):
            normalizer.removesExtraSpaces || normalizer.charsmap != nil ? nil : 1
        case .collapseSpaces, .strip, .stripAccents, .charsmap: nil
        }
    }
}
