import AutoGLMJSON

/// What can be wrong with a vocabulary of any format, and is mended so that the model can be used
/// all the same. Each kind is told of once, with the first place and how many there are.
struct VocabularyCheck {
    let file: String
    private(set) var remarks: [String] = []

    init(file: String) { self.file = file }

    private mutating func note(_ field: String, _ text: String, count: Int) {
        let more = count > 1 ? " (\(count) in all)" : ""
        remarks.append("\(excerpt(file)), \(field): \(text)\(more)")
    }

    /// - Parameter field: what the list of pieces is called.
    mutating func repetitions(_ pieces: PieceTable, _ field: String) {
        guard let (count, earlier, later) = pieces.repeated else { return }
        let piece = excerpt(bytes: pieces.bytes(of: TokenID(later)))
        note(
            "\(field)[\(later)]",
            "\"\(piece)\" is also token \(earlier), which is the one that text becomes",
            count: count)
    }

    /// A byte-level vocabulary has a piece for each byte, so that it can read any text.
    mutating func bytes(_ ids: [TokenID], _ field: String) {
        guard let first = ids.firstIndex(of: -1) else { return }
        note(
            field, "no piece for the byte \(first), so text loses it",
            count: ids.count { $0 < 0 })
    }

    /// `<0x00>` … `<0xFF>` serve together or not at all.
    mutating func fallbackBytes(_ ids: [TokenID], _ field: String) {
        guard !ids.isEmpty, let first = ids.firstIndex(of: -1) else { return }
        note(
            field, "no token for the byte \(first), so bytes do not stand in for unknown "
                + "characters", count: ids.count { $0 < 0 })
    }

    mutating func merges(_ merger: MergeReader, _ field: String) {
        guard let unknown = merger.firstUnknown else { return }
        note(
            "\(field)[\(unknown.rank)]",
            "\"\(excerpt(bytes: unknown.text))\" is of or makes a piece that the vocabulary does "
                + "not have, and is passed over", count: merger.unknownCount)
    }

    /// A token that is added twice under other texts, of which the first counts.
    mutating func added(_ tokens: [AddedToken], _ field: String) {
        var seen: [TokenID: [UInt8]] = [:]
        var first: (index: Int, id: TokenID)?
        var count = 0
        for (index, token) in tokens.enumerated() {
            guard let earlier = seen.updateValue(token.content, forKey: token.id),
                earlier != token.content
            else { continue }
            first = first ?? (index, token.id)
            count += 1
        }
        guard let first else { return }
        note(
            "\(field)[\(first.index)]",
            "\"\(excerpt(bytes: tokens[first.index].content))\" has the id \(first.id) of an "
                + "earlier token, which keeps it", count: count)
    }

    /// A token that ends or begins a text but counts as plain: users could write it.
    mutating func plainSpecial(_ id: TokenID, _ field: String, _ piece: [UInt8]) {
        note(
            field, "token \(id) (\"\(excerpt(bytes: piece))\") is marked as plain text; it is "
                + "taken for a control token", count: 1)
    }

    /// Tokens without a type.
    mutating func untyped(_ ids: [Int], _ field: String) {
        guard let first = ids.first else { return }
        note("\(field)[\(first)]", "0 is no type; taken for plain text", count: ids.count)
    }
}
