/// Rewrites text before it is cut into words. One step of the `normalizer` of tokenizer.json,
/// or what a SentencePiece model's normalizer_spec asks for.
enum Normalizer: Sendable {
    case form(NormalizationForm)
    case prepend([UInt8])
    case replace([UInt8], with: [UInt8])
    /// Runs of two or more spaces become `replacement`.
    case collapseSpaces(with: [UInt8])
    case lowercase
    case strip(left: Bool, right: Bool)
    case stripAccents
    case charsmap(Charsmap)
    /// Spaces become `replacement`; the prefix is put before text that does not start with it.
    case metaspace(replacement: [UInt8], prefix: PrefixScheme)
    /// A space before text that does not start with one.
    case prefixSpace
    case sentencePiece(SentencePieceNormalizer)

    enum PrefixScheme: Sendable {
        case always, first, never
    }

    /// - Parameter isFirst: whether the text starts where the whole input starts.
    func apply(to text: [UInt8], isFirst: Bool) -> [UInt8] {
        if text.isEmpty { return text }
        switch self {
        case .form(let form): return form.apply(to: text)
        case .prepend(let prefix): return prefix + text
        case .replace(let pattern, let replacement):
            return Self.replace(pattern, with: replacement, in: text)
        case .collapseSpaces(let replacement):
            return Self.collapseSpaces(in: text, with: replacement)
        case .lowercase: return Self.mapScalars(of: text) { $0.properties.lowercaseMapping }
        case .strip(let left, let right): return Self.strip(text, left: left, right: right)
        case .stripAccents: return Self.stripAccents(text)
        case .charsmap(let map): return map.apply(to: text)
        case .metaspace(let replacement, let scheme):
            let replaced = Self.replace([0x20], with: replacement, in: text)
            let wantsPrefix = scheme == .always || (scheme == .first && isFirst)
            return wantsPrefix && !replaced.starts(with: replacement)
                ? replacement + replaced : replaced
        case .prefixSpace: return text[0] == 0x20 ? text : [0x20] + text
        case .sentencePiece(let normalizer): return normalizer.apply(to: text, isFirst: isFirst)
        }
    }

    static func replace(_ pattern: [UInt8], with replacement: [UInt8], in text: [UInt8]) -> [UInt8]
    {
        guard let first = pattern.first, text.contains(first) else { return text }
        var result: [UInt8] = []
        result.reserveCapacity(text.count + text.count / 4)
        var index = 0
        while index < text.count {
            if text[index] == first, index + pattern.count <= text.count,
                pattern.count == 1
                    || text[index..<index + pattern.count].elementsEqual(pattern)
            {
                result.append(contentsOf: replacement)
                index += pattern.count
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    private static func collapseSpaces(in text: [UInt8], with replacement: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            var stop = index
            while stop < text.count, text[stop] == 0x20 { stop += 1 }
            if stop - index >= 2 {
                result.append(contentsOf: replacement)
                index = stop
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    private static func mapScalars(of text: [UInt8], _ map: (Unicode.Scalar) -> String) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            result.append(contentsOf: map(scalar).utf8)
        }
        return result
    }

    private static func stripAccents(_ text: [UInt8]) -> [UInt8] {
        let table = ScalarClasses.table
        return mapScalars(of: text) { scalar in
            ScalarClasses.flags(of: scalar.value, in: table) & ScalarClasses.mark != 0
                ? "" : String(scalar)
        }
    }

    private static func strip(_ text: [UInt8], left: Bool, right: Bool) -> [UInt8] {
        let table = ScalarClasses.table
        var first = 0
        var last = 0
        var index = 0
        var isLeading = true
        while index < text.count {
            let (code, length) = UTF8Scan.decode(text, at: index, end: text.count)
            if ScalarClasses.flags(of: code, in: table) & ScalarClasses.whitespace == 0 {
                isLeading = false
                last = index + length
            } else if isLeading {
                first = index + length
            }
            index += length
        }
        let start = left ? first : 0
        let end = right ? max(last, start) : text.count
        return Array(text[min(start, end)..<end])
    }
}

/// The normalizer of a SentencePiece model: character map, spaces made visible, one put first.
struct SentencePieceNormalizer: Sendable {
    var charsmap: Charsmap?
    var addsDummyPrefix: Bool
    var removesExtraSpaces: Bool
    var escapesSpaces: Bool
    /// Prefix only where the input starts, not after each special token.
    var prefixesOnlyFirst: Bool

    static let spaceSymbol: [UInt8] = [0xE2, 0x96, 0x81]  // U+2581

    func apply(to text: [UInt8], isFirst: Bool) -> [UInt8] {
        let mapped = Self.replaceInvalid(charsmap?.apply(to: text) ?? text)
        let space = escapesSpaces ? Self.spaceSymbol : [0x20]
        var body = mapped[...]
        if removesExtraSpaces {
            body = body.drop { $0 == 0x20 }
            while body.last == 0x20 { body.removeLast() }
        }
        guard !body.isEmpty else { return [] }
        var result: [UInt8] = []
        result.reserveCapacity(body.count + body.count / 2)
        if addsDummyPrefix, isFirst || !prefixesOnlyFirst { result.append(contentsOf: space) }
        var afterSpace = false
        for byte in body {
            if byte == 0x20 {
                if !(removesExtraSpaces && afterSpace) { result.append(contentsOf: space) }
                afterSpace = true
            } else {
                result.append(byte)
                afterSpace = false
            }
        }
        // A visible space that the text itself ends in goes too, as in the reference.
        while removesExtraSpaces, result.suffix(space.count).elementsEqual(space) {
            result.removeLast(space.count)
        }
        return result
    }

    /// Bytes that are no UTF-8 become U+FFFD one by one.
    private static func replaceInvalid(_ text: [UInt8]) -> [UInt8] {
        var index = 0
        var result: [UInt8]?
        while index < text.count {
            let length = UTF8Scan.scalarLength(text, at: index, end: text.count)
            if length == 0 {
                if result == nil { result = Array(text[..<index]) }
                result?.append(contentsOf: [0xEF, 0xBF, 0xBD])
            } else {
                result?.append(contentsOf: text[index..<index + length])
            }
            index += max(length, 1)
        }
        return result ?? text
    }
}

/// `precompiled_charsmap`: a double-array trie from character sequences to replacements.
struct Charsmap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]

    /// - Parameter blob: little-endian size of the trie in bytes, the trie, then the
    ///   replacements, each ended by a zero byte.
    /// - Returns: nil when the sizes do not fit.
    init?(_ blob: [UInt8]) {
        guard blob.count >= 4 else { return nil }
        let size = Int(Self.word(blob, 0))
        guard size % 4 == 0, size > 0, 4 + size <= blob.count else { return nil }
        units = (0..<size / 4).map { Self.word(blob, 4 + $0 * 4) }
        replacements = Array(blob[(4 + size)...])
    }

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16
            | UInt32(bytes[at + 3]) << 24
    }

    /// Replaces the longest mapped sequence at each place; other characters stay.
    func apply(to text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            if let (length, offset) = longestMatch(text, index) {
                var at = offset
                while at < replacements.count, replacements[at] != 0 {
                    result.append(replacements[at])
                    at += 1
                }
                index += length
            } else {
                let length = max(UTF8Scan.scalarLength(text, at: index, end: text.count), 1)
                result.append(contentsOf: text[index..<index + length])
                index += length
            }
        }
        return result
    }

    /// Walks the double array (Darts-clone layout: bit 31 a leaf's value, bit 8 "has a leaf",
    /// bits 10… the child offset, scaled by 256 when bit 9 is set).
    private func longestMatch(_ text: [UInt8], _ start: Int) -> (length: Int, offset: Int)? {
        guard let root = units.first else { return nil }
        var best: (length: Int, offset: Int)?
        var position = Self.offset(root)
        var index = start
        while index < text.count {
            position ^= Int(text[index])
            guard position < units.count else { return best }
            let unit = units[position]
            guard unit & 0x8000_00FF == UInt32(text[index]) else { return best }
            index += 1
            position ^= Self.offset(unit)
            if unit >> 8 & 1 == 1, position < units.count {
                best = (index - start, Int(units[position] & 0x7FFF_FFFF))
            }
        }
        return best
    }

    private static func offset(_ unit: UInt32) -> Int {
        Int(unit >> 10) << Int((unit & 1 << 9) >> 6)
    }
}
