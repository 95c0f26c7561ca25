import AutoGLMJSON

/// Reads vocab.json and merges.txt: byte-level BPE as GPT-2 and Qwen2 publish it.
struct VocabularyFiles {
    let vocabularyFile: String
    let vocabulary: [UInt8]
    let mergesFile: String
    let merges: [UInt8]

    func parts(_ settings: TokenizerSettings) throws(TokenizerError) -> TokenizerParts {
        let control = Set(settings.added.lazy.filter(\.isControl).map(\.id))
        let pieces = try readVocabulary(control)
        var check = VocabularyCheck(file: mergesFile)
        let table = try readMerges(pieces, &check)
        let bytes = TokenizerJSON.singleBytes(pieces)
        var parts = TokenizerParts(
            model: .bpe(
                BPEModel(
                    pieces: pieces, rule: .pairs(table), alphabet: .bytes, takesWholeWords: false,
                    byteIDs: bytes, unknownID: nil, fusesUnknown: false)))
        if settings.tokenizerClass?.hasPrefix("Qwen2") ?? false {
            parts.normalizers = [.form(.nfc)]
            parts.stages = [.pattern(.cl100k(digitsMax: 1, joinsMarks: false))]
        } else {
            parts.stages = [.pattern(.gpt2)]
        }
        if settings.addsPrefixSpace == true { parts.partNormalizers = [.prefixSpace] }
        var ofPieces = VocabularyCheck(file: vocabularyFile)
        ofPieces.repetitions(pieces, "pieces")
        ofPieces.bytes(bytes, "pieces")
        parts.remarks = ofPieces.remarks + check.remarks
        return parts
    }

    private func readVocabulary(_ control: Set<TokenID>) throws(TokenizerError) -> PieceTable {
        var pieces = PieceTable(capacity: vocabulary.count / 16)
        var bad: Int?
        do throws(JSONError) {
            var cursor = JSONCursor(vocabulary)
            try cursor.readMembersRaw { (cursor) throws(JSONError) in
                let piece = ByteAlphabet.decode(cursor.scratch)
                let id = Int(try cursor.readInt())
                let searchable = !control.contains(TokenID(truncatingIfNeeded: id))
                if !pieces.insert(piece, id: id, searchable: searchable) { bad = bad ?? id }
            }
            try cursor.expectEnd()
        } catch {
            throw TokenizerError.malformed(
                file: vocabularyFile, field: "document", reason: error.description)
        }
        if let bad {
            throw TokenizerError.malformed(
                file: vocabularyFile, field: "vocabulary",
                reason: "id \(bad) is out of range or used twice")
        }
        pieces.seal()
        return pieces
    }

    private func readMerges(
        _ pieces: PieceTable, _ check: inout VocabularyCheck
    ) throws(TokenizerError) -> PairTable {
        var table = PairTable(capacity: merges.count / 4 + 1)
        var merger = MergeReader(pieces: pieces, byteLevel: true)
        var rank = 0
        var line = 0
        for part in merges.split(separator: 0x0A, omittingEmptySubsequences: false) {
            line += 1
            let text = part.last == 0x0D ? part.dropLast() : part
            if text.isEmpty || (line == 1 && text.starts(with: Array("#version".utf8))) { continue }
            guard merger.take(line: Array(text)) else {
                throw TokenizerError.malformed(
                    file: mergesFile, field: "line \(line)", reason: "expected two pieces")
            }
            merger.insert(into: &table, rank: rank)
            rank += 1
        }
        check.merges(merger, "merges")
        return table
    }
}
