import AutoGLMJSON

/// Reads tiktoken's ranks: per line a piece in base64 and its rank, which is also its id.
struct TiktokenFile {
    let file: String
    private let pieces: PieceTable

    /// Whether the bytes look like this format: a first line of base64, a space and a number.
    static func matches(_ bytes: [UInt8]) -> Bool {
        let line = bytes.prefix(1024).prefix { $0 != 0x0A }
        guard let space = line.firstIndex(of: 0x20), space > line.startIndex else { return false }
        return Base64.decode(line[..<space]) != nil && number(line[(space + 1)...]) != nil
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        var body = digits
        if body.last == 0x0D { body.removeLast() }
        guard !body.isEmpty, body.count < 10 else { return nil }
        var value = 0
        for byte in body {
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value * 10 + Int(byte - 0x30)
        }
        return value
    }

    init(file: String, bytes: [UInt8]) throws(TokenizerError) {
        self.file = file
        var pieces = PieceTable(capacity: bytes.count / 16)
        var line = 1
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
            defer {
                start = end + 1
                line += 1
            }
            if end == start { continue }
            guard let space = bytes[start..<end].firstIndex(of: 0x20),
                let piece = Base64.decode(bytes[start..<space]), !piece.isEmpty,
                let rank = Self.number(bytes[(space + 1)..<end])
            else {
                throw TokenizerError.malformed(
                    file: file, field: "line \(line)",
                    reason: "expected a piece in base64, a space and its rank")
            }
            if let earlier = pieces.id(of: piece) {
                throw TokenizerError.malformed(
                    file: file, field: "line \(line)",
                    reason: "\"\(excerpt(bytes: piece))\" has the rank \(earlier) already")
            }
            guard pieces.insert(piece, id: rank) else {
                throw TokenizerError.malformed(
                    file: file, field: "line \(line)",
                    reason: "rank \(rank) is out of range or used twice")
            }
        }
        pieces.seal()
        self.pieces = pieces
    }

    func parts(_ settings: TokenizerSettings) throws(TokenizerError) -> TokenizerParts {
        let bytes = TokenizerJSON.singleBytes(pieces)
        if let missing = bytes.firstIndex(of: -1) {
            throw TokenizerError.malformed(
                file: file, field: "ranks", reason: "no piece for the single byte \(missing)")
        }
        var parts = TokenizerParts(
            model: .bpe(
                BPEModel(
                    pieces: pieces,
                    rule: .concatenation(ranks: (0..<UInt32(pieces.count)).map { $0 }),
                    alphabet: .bytes, takesWholeWords: true, byteIDs: bytes, unknownID: nil,
                    fusesUnknown: false)))
        let digitsMax = pieces.count == 151_643 ? 1 : 3
        parts.stages = [.pattern(.cl100k(digitsMax: digitsMax, joinsMarks: false))]
        // Without a config, the number of ranks tells the model family.
        switch pieces.count {
        case 151_329:
            addDefaults(KnownSpecials.glm4, settings, to: &parts)
            parts.prefixIDs = [151_331, 151_333]
            parts.eosID = 151_329
        case 128_000:
            addDefaults(KnownSpecials.llama3, settings, to: &parts)
            parts.bosID = 128_000
            parts.eosID = 128_001
            parts.prefixIDs = [128_000]
        case 151_643:
            parts.normalizers = [.form(.nfc)]
            addDefaults(KnownSpecials.qwen, settings, to: &parts)
        default: break
        }
        return parts
    }

    private func addDefaults(
        _ names: [String], _ settings: TokenizerSettings, to parts: inout TokenizerParts
    ) {
        let configured = Set(settings.added.lazy.map(\.id))
        let known = KnownSpecials.tokens(names, from: pieces.count)
        parts.added += known.filter { !configured.contains($0.id) }
    }
}
