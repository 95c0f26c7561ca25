import AutoGLMJSON

/// Reads tokenizer.json of the Hugging Face tokenizers library.
///
/// The vocabulary and the merges, nearly all of the file, go straight from the text into their
/// tables; only the small parts become `JSONValue`.
struct TokenizerJSON {
    let file: String
    private let bytes: [UInt8]
    /// Where the members of the document and of its `model` stand.
    private var ranges: [String: Range<Int>] = [:]
    private var modelRanges: [String: Range<Int>] = [:]

    init(file: String, bytes: [UInt8]) throws(TokenizerError) {
        self.file = file
        self.bytes = bytes
        var ranges: [String: Range<Int>] = [:]
        var modelRanges: [String: Range<Int>] = [:]
        do throws(JSONError) {
            var cursor = JSONCursor(bytes)
            try cursor.readMembers { (cursor, key) throws(JSONError) in
                guard key == "model" else {
                    ranges[key] = try cursor.skipValue()
                    return
                }
                try cursor.readMembers { (cursor, key) throws(JSONError) in
                    modelRanges[key] = try cursor.skipValue()
                }
            }
            try cursor.expectEnd()
        } catch {
            throw TokenizerError.malformed(
                file: file, field: "document", reason: error.description)
        }
        self.ranges = ranges
        self.modelRanges = modelRanges
    }

    func malformed(_ field: String, _ reason: String) -> TokenizerError {
        .malformed(file: file, field: field, reason: reason)
    }

    func unsupported(_ field: String, _ value: String) -> TokenizerError {
        .unsupported(file: file, field: field, value: value)
    }

    private func value(_ range: Range<Int>?, _ field: String) throws(TokenizerError) -> JSONValue {
        guard let range else { return .null }
        do throws(JSONError) {
            var cursor = JSONCursor(bytes, range: range)
            return try cursor.readValue()
        } catch {
            throw malformed(field, error.description)
        }
    }

    private func reading<Result>(
        _ field: String, _ range: Range<Int>,
        _ body: (inout JSONCursor) throws(JSONError) -> Result
    ) throws(TokenizerError) -> Result {
        var cursor = JSONCursor(bytes, range: range)
        do throws(JSONError) {
            return try body(&cursor)
        } catch {
            throw malformed(field, error.description)
        }
    }

    // MARK: The whole

    func parts() throws(TokenizerError) -> TokenizerParts {
        let added = try addedTokens(try value(ranges["added_tokens"], "added_tokens"))
        let components = TokenizerJSONComponents(file: file)
        let normalizers = try components.normalizers(try value(ranges["normalizer"], "normalizer"))
        let split = try components.preTokenizer(
            try value(ranges["pre_tokenizer"], "pre_tokenizer"))
        let decoder = try components.decoder(try value(ranges["decoder"], "decoder"))
        let byteLevel = split.isByteLevel || decoder.isByteLevel
        // A special token must not come out of merging plain text, so the model's tables do not
        // know them.
        let control = Set(added.lazy.filter(\.isControl).map(\.id))
        var parts = try model(byteLevel: byteLevel, control: control)
        parts.normalizers = normalizers
        parts.partNormalizers = split.normalizers
        parts.stages = split.stages
        parts.added = added
        parts.showsSpaces = !byteLevel && decoder.showsSpaces
        parts.leadingSpacesDropped = decoder.leadingSpacesDropped
        let around = try components.postProcessor(
            try value(ranges["post_processor"], "post_processor"))
        try checkIDs(around.prefix + around.suffix, "post_processor", parts)
        parts.prefixIDs = around.prefix
        parts.suffixIDs = around.suffix
        var check = VocabularyCheck(file: file)
        check.added(added, "added_tokens")
        parts.remarks += check.remarks
        parts.splitAtSpacesIfExact()
        return parts
    }

    /// Ids that the file puts around a text must be its own.
    private func checkIDs(
        _ ids: [TokenID], _ field: String, _ parts: TokenizerParts
    ) throws(TokenizerError) {
        let known = Set(parts.added.map(\.id))
        let count = parts.model.pieces.count
        for id in ids where !(0..<count).contains(Int(id)) && !known.contains(id) {
            throw malformed(field, "id \(id) is none of the \(count) tokens, nor an added one")
        }
    }

    private func addedTokens(_ value: JSONValue) throws(TokenizerError) -> [AddedToken] {
        guard !value.isNull else { return [] }
        guard let entries = value.arrayValue else {
            throw malformed("added_tokens", "expected an array, found \(value.kind)")
        }
        var tokens: [AddedToken] = []
        for (index, entry) in entries.enumerated() {
            guard let content = entry["content"]?.stringValue else {
                throw malformed("added_tokens[\(index)].content", "expected a string")
            }
            guard let id = entry["id"]?.intValue, id >= 0, id < PieceTable.idMax else {
                throw malformed(
                    "added_tokens[\(index)].id", "expected an integer below \(PieceTable.idMax)")
            }
            tokens.append(AddedToken(id: TokenID(id), content: content, flags: entry))
        }
        return tokens
    }

    private func model(
        byteLevel: Bool, control: Set<TokenID>
    ) throws(TokenizerError) -> TokenizerParts {
        let type = try value(modelRanges["type"], "model.type")
        switch type {
        case .string("BPE"): return try bpe(byteLevel: byteLevel, control: control)
        case .string("Unigram"): return try unigram(control: control)
        case .null where modelRanges["merges"] != nil:
            // Older files leave the type out.
            return try bpe(byteLevel: byteLevel, control: control)
        case .string(let other): throw unsupported("model.type", other)
        default: throw malformed("model.type", "expected a string, found \(type.kind)")
        }
    }

    private func flag(_ key: String) throws(TokenizerError) -> Bool {
        let value = try value(modelRanges[key], "model.\(key)")
        switch value {
        case .null: return false
        case .bool(let value): return value
        default: throw malformed("model.\(key)", "expected a boolean, found \(value.kind)")
        }
    }

    // MARK: BPE

    private func bpe(
        byteLevel: Bool, control: Set<TokenID>
    ) throws(TokenizerError) -> TokenizerParts {
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            let affix = try value(modelRanges[key], "model.\(key)")
            if !affix.isNull, affix != .string("") {
                throw unsupported("model.\(key)", affix.serialized())
            }
        }
        let pieces = try vocabulary(byteLevel: byteLevel, control: control)
        var check = VocabularyCheck(file: file)
        let merges = try mergeTable(pieces, byteLevel: byteLevel, &check)
        let unknown = try value(modelRanges["unk_token"], "model.unk_token")
        let unknownID = unknown.stringValue.flatMap { Self.anyID(of: $0, in: pieces, byteLevel) }
        let fallback = try flag("byte_fallback")
        let bytes = byteLevel ? Self.singleBytes(pieces) : Self.fallbackBytes(pieces)
        var parts = TokenizerParts(
            model: .bpe(
                BPEModel(
                    pieces: pieces, rule: .pairs(merges),
                    alphabet: byteLevel ? .bytes : .characters,
                    takesWholeWords: try flag("ignore_merges"),
                    byteIDs: byteLevel || fallback ? bytes : [], unknownID: unknownID,
                    fusesUnknown: try flag("fuse_unk"))))
        parts.unknownID = unknownID
        if !byteLevel { parts.byteValues = Self.byteValues(bytes) }
        check.repetitions(pieces, "model.vocab")
        if byteLevel {
            check.bytes(bytes, "model.vocab")
        } else if fallback {
            check.fallbackBytes(bytes, "model.vocab")
        }
        parts.remarks = check.remarks
        return parts
    }

    private func vocabulary(
        byteLevel: Bool, control: Set<TokenID>
    ) throws(TokenizerError) -> PieceTable {
        guard let range = modelRanges["vocab"] else {
            throw malformed("model.vocab", "missing")
        }
        var pieces = PieceTable(capacity: range.count / 24)
        var failure: TokenizerError?
        try reading("model.vocab", range) { (cursor) throws(JSONError) in
            var piece: [UInt8] = []
            try cursor.readMembersRaw { (cursor) throws(JSONError) in
                piece.removeAll(keepingCapacity: true)
                if byteLevel {
                    ByteAlphabet.append(cursor.scratch, to: &piece)
                } else {
                    piece.append(contentsOf: cursor.scratch)
                }
                let id = Int(try cursor.readInt())
                let searchable = !control.contains(TokenID(truncatingIfNeeded: id))
                if !pieces.insert(piece, id: id, searchable: searchable), failure == nil {
                    failure = malformed("model.vocab", "id \(id) is out of range or used twice")
                }
            }
        }
        if let failure { throw failure }
        pieces.seal()
        return pieces
    }

    /// `["a b", …]` or `[["a", "b"], …]`, in order of rank.
    private func mergeTable(
        _ pieces: PieceTable, byteLevel: Bool, _ check: inout VocabularyCheck
    ) throws(TokenizerError) -> PairTable {
        guard let range = modelRanges["merges"] else {
            throw malformed("model.merges", "missing")
        }
        // A merge takes at least `"a b",`.
        var table = PairTable(capacity: range.count / 6 + 1)
        var rank = 0
        var failure: TokenizerError?
        var merger = MergeReader(pieces: pieces, byteLevel: byteLevel)
        try reading("model.merges", range) { (cursor) throws(JSONError) in
            try cursor.readElements { (cursor) throws(JSONError) in
                if try cursor.peek() == UInt8(ascii: "[") {
                    var count = 0
                    try cursor.readElements { (cursor) throws(JSONError) in
                        try cursor.readStringBytes()
                        merger.take(cursor.scratch, part: count)
                        count += 1
                    }
                    if count != 2, failure == nil {
                        failure = malformed("model.merges[\(rank)]", "expected two pieces")
                    }
                } else {
                    _ = try cursor.peek()
                    try cursor.readStringBytes()
                    if !merger.take(line: cursor.scratch), failure == nil {
                        failure = malformed("model.merges[\(rank)]", "expected two pieces")
                    }
                }
                merger.insert(into: &table, rank: rank)
                rank += 1
            }
        }
        if let failure { throw failure }
        check.merges(merger, "model.merges")
        return table
    }

    static func anyID(of text: String, in pieces: PieceTable, _ byteLevel: Bool) -> TokenID? {
        let wanted = byteLevel ? ByteAlphabet.decode(Array(text.utf8)) : Array(text.utf8)
        if let id = pieces.id(of: wanted) { return id }
        // Special tokens are kept out of the hash table.
        for id in 0..<pieces.count where pieces.bytes(of: TokenID(id)).elementsEqual(wanted) {
            return TokenID(id)
        }
        return nil
    }

    /// Ids of the single bytes of a byte-level vocabulary.
    static func singleBytes(_ pieces: PieceTable) -> [TokenID] {
        (0..<256).map { pieces.id(of: [UInt8($0)]) ?? -1 }
    }

    /// Ids of `<0x00>` … `<0xFF>`; empty when there is none of them.
    static func fallbackBytes(_ pieces: PieceTable) -> [TokenID] {
        let digits = Array("0123456789ABCDEF".utf8)
        let ids: [TokenID] = (0..<256).map { byte in
            let name = Array("<0x".utf8) + [digits[byte >> 4], digits[byte & 15], 0x3E]
            return pieces.id(of: name) ?? -1
        }
        return ids.contains { $0 >= 0 } ? ids : []
    }

    static func byteValues(_ ids: [TokenID]) -> [TokenID: UInt8] {
        var values: [TokenID: UInt8] = [:]
        for (byte, id) in ids.enumerated() where id >= 0 { values[id] = UInt8(byte) }
        return values
    }

    // MARK: Unigram

    private func unigram(control: Set<TokenID>) throws(TokenizerError) -> TokenizerParts {
        guard let range = modelRanges["vocab"] else { throw malformed("model.vocab", "missing") }
        var pieces = PieceTable(capacity: range.count / 24)
        var scores: [Double] = []
        var failure: TokenizerError?
        try reading("model.vocab", range) { (cursor) throws(JSONError) in
            try cursor.readElements { (cursor) throws(JSONError) in
                var field = 0
                try cursor.readElements { (cursor) throws(JSONError) in
                    switch field {
                    case 0:
                        _ = try cursor.readString()
                        let id = scores.count
                        let searchable = !control.contains(TokenID(id))
                        if !pieces.insert(cursor.scratch, id: id, searchable: searchable) {
                            failure = malformed("model.vocab", "too many pieces")
                        }
                    case 1: scores.append(try cursor.readDouble())
                    default: _ = try cursor.skipValue()
                    }
                    field += 1
                }
                if field != 2, failure == nil {
                    failure = malformed("model.vocab", "expected [piece, score] pairs")
                }
            }
        }
        if let failure { throw failure }
        guard scores.count == pieces.count else {
            throw malformed("model.vocab", "expected [piece, score] pairs")
        }
        let unknown = try value(modelRanges["unk_id"], "model.unk_id")
        let unknownID = unknown.intValue.flatMap { TokenID(exactly: $0) }
        guard unknown.isNull || unknownID.map({ (0..<scores.count).contains(Int($0)) }) ?? false
        else {
            throw malformed(
                "model.unk_id",
                "\(unknown.serialized()), but there are \(scores.count) pieces")
        }
        let bytes = try flag("byte_fallback") ? Self.fallbackBytes(pieces) : []
        let reserved = control.union(Set(bytes)).union([unknownID ?? -1])
        var parts = TokenizerParts(
            model: .unigram(
                UnigramModel(
                    pieces: pieces, scores: scores,
                    searchable: { !reserved.contains(TokenID($0)) },
                    byteIDs: bytes.contains(-1) ? [] : bytes,
                    unknownID: unknownID, fusesUnknown: true, singlePrecision: false)))
        parts.unknownID = unknownID
        parts.byteValues = Self.byteValues(bytes)
        var check = VocabularyCheck(file: file)
        check.repetitions(pieces, "model.vocab")
        check.fallbackBytes(bytes, "model.vocab")
        parts.remarks = check.remarks
        return parts
    }
}

/// Turns the two pieces of a merge into ids.
struct MergeReader {
    let pieces: PieceTable
    let byteLevel: Bool
    private var joined: [UInt8] = []
    private var leftCount = 0
    /// Merges that can never happen, and the first of them.
    private(set) var unknownCount = 0
    private(set) var firstUnknown: (rank: Int, text: [UInt8])?

    init(pieces: PieceTable, byteLevel: Bool) {
        self.pieces = pieces
        self.byteLevel = byteLevel
    }

    mutating func take(_ piece: some Collection<UInt8>, part: Int) {
        if part == 0 { joined.removeAll(keepingCapacity: true) }
        if byteLevel {
            ByteAlphabet.append(piece, to: &joined)
        } else {
            joined.append(contentsOf: piece)
        }
        if part == 0 { leftCount = joined.count }
    }

    /// Pieces separated by the only space in the line.
    mutating func take(line: [UInt8]) -> Bool {
        guard let space = line.firstIndex(of: 0x20), space > 0, space + 1 < line.count else {
            return false
        }
        take(line[..<space], part: 0)
        take(line[(space + 1)...], part: 1)
        return true
    }

    /// Merges of or into pieces that the vocabulary does not have can never happen.
    mutating func insert(into table: inout PairTable, rank: Int) {
        let left = pieces.id(of: joined, 0, leftCount)
        let right = pieces.id(of: joined, leftCount, joined.count)
        let merged = pieces.id(of: joined, 0, joined.count)
        guard left >= 0, right >= 0, merged >= 0 else {
            unknownCount += 1
            if firstUnknown == nil {
                firstUnknown = (rank, joined[..<leftCount] + [0x20] + joined[leftCount...])
            }
            return
        }
        table.insert(left, right, rank: rank, merged: merged)
    }
}

extension AddedToken {
    /// - Parameter flags: the object of tokenizer.json or tokenizer_config.json.
    init(id: TokenID, content: String, flags: JSONValue) {
        func flag(_ key: String) -> Bool { flags[key]?.boolValue ?? false }
        self.init(
            id: id, content: Array(content.utf8), isSpecial: flag("special"),
            stripsLeft: flag("lstrip"), stripsRight: flag("rstrip"),
            isSingleWord: flag("single_word"), isNormalized: flag("normalized"))
    }
}
