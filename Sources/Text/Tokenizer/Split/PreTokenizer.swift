/// Cuts normalized text into the words that the model encodes one by one.
///
/// Almost every tokenizer has one stage that covers everything; `Tokenizer` then walks its
/// scanner directly. Sequences of stages go through lists of ranges.
struct PreTokenizer: Sendable {
    enum Stage: Sendable {
        case pattern(SplitPattern)
        case literal([UInt8], SplitBehavior)
        case whitespaceSplit
        case punctuation(SplitBehavior)
        /// Rewrites each word: spaces become `replacement`, and `prefix` is put before a word
        /// that does not start with it.
        case rewrite(space: [UInt8], prefix: [UInt8])
    }

    enum SplitBehavior: String, Sendable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    let stages: [Stage]
    /// Set when there is exactly one stage and it is a scanner.
    let scanner: SplitScanner?
    private let scanners: [SplitScanner?]

    init(_ stages: [Stage]) {
        self.stages = stages
        scanners = stages.map {
            if case .pattern(let pattern) = $0 { SplitScanner(pattern) } else { nil }
        }
        scanner = stages.count == 1 ? scanners[0] : nil
    }

    /// The words of `text`; stages that rewrite replace `text`.
    func words(of text: inout [UInt8]) -> [Range<Int>] {
        var ranges = text.isEmpty ? [] : [0..<text.count]
        for (index, stage) in stages.enumerated() {
            if case .rewrite(let space, let prefix) = stage {
                (text, ranges) = Self.rewrite(text, ranges, space: space, prefix: prefix)
                continue
            }
            var next: [Range<Int>] = []
            next.reserveCapacity(ranges.count)
            for range in ranges {
                split(text, range, stage, scanners[index], into: &next)
            }
            ranges = next
        }
        return ranges
    }

    private func split(
        _ text: [UInt8], _ range: Range<Int>, _ stage: Stage, _ scanner: SplitScanner?,
        into output: inout [Range<Int>]
    ) {
        if let scanner {
            var start = range.lowerBound
            while start < range.upperBound {
                let stop = scanner.next(text, start, range.upperBound)
                output.append(start..<stop)
                start = stop
            }
            return
        }
        switch stage {
        case .pattern, .rewrite: output.append(range)
        case .whitespaceSplit:
            let matches = Self.matches(text, range) { $0 & ScalarClasses.whitespace != 0 }
            Self.apply(.removed, matches, to: range, into: &output)
        case .punctuation(let behavior):
            let matches = Self.matches(text, range, extra: "$+<=>^`|~") {
                $0 & ScalarClasses.punctuation != 0
            }
            Self.apply(behavior, matches, to: range, into: &output)
        case .literal(let pattern, let behavior):
            Self.apply(behavior, Self.matches(text, range, of: pattern), to: range, into: &output)
        }
    }

    private static func matches(
        _ text: [UInt8], _ range: Range<Int>, extra: String = "", _ isMatch: (UInt8) -> Bool
    ) -> [Range<Int>] {
        let table = ScalarClasses.table
        let extras = Array(extra.utf8)
        var found: [Range<Int>] = []
        var index = range.lowerBound
        while index < range.upperBound {
            let (code, length) = UTF8Scan.decode(text, at: index, end: range.upperBound)
            let isExtra = code < 0x80 && extras.contains(UInt8(code))
            if isExtra || isMatch(ScalarClasses.flags(of: code, in: table)) {
                found.append(index..<index + length)
            }
            index += length
        }
        return found
    }

    private static func matches(
        _ text: [UInt8], _ range: Range<Int>, of pattern: [UInt8]
    ) -> [Range<Int>] {
        guard let first = pattern.first else { return [] }
        var found: [Range<Int>] = []
        var index = range.lowerBound
        while index + pattern.count <= range.upperBound {
            if text[index] == first, text[index..<index + pattern.count].elementsEqual(pattern) {
                found.append(index..<index + pattern.count)
                index += pattern.count
            } else {
                index += 1
            }
        }
        return found
    }

    private static func apply(
        _ behavior: SplitBehavior, _ matches: [Range<Int>], to range: Range<Int>,
        into output: inout [Range<Int>]
    ) {
        var start = range.lowerBound
        var lastMatch: Range<Int>?
        func close(at end: Int) {
            if end > start { output.append(start..<end) }
            start = end
        }
        for match in matches {
            switch behavior {
            case .removed:
                close(at: match.lowerBound)
                start = match.upperBound
            case .isolated:
                close(at: match.lowerBound)
                close(at: match.upperBound)
            case .mergedWithPrevious:
                close(at: match.upperBound)
            case .mergedWithNext:
                close(at: match.lowerBound)
            case .contiguous:
                if lastMatch?.upperBound != match.lowerBound { close(at: match.lowerBound) }
                // The run of matches ends where the next match does not follow at once.
                if let open = output.last, open.upperBound == match.lowerBound,
                    lastMatch?.upperBound == match.lowerBound
                {
                    output[output.count - 1] = open.lowerBound..<match.upperBound
                    start = match.upperBound
                } else {
                    close(at: match.upperBound)
                }
            }
            lastMatch = match
        }
        close(at: range.upperBound)
    }

    private static func rewrite(
        _ text: [UInt8], _ ranges: [Range<Int>], space: [UInt8], prefix: [UInt8]
    ) -> ([UInt8], [Range<Int>]) {
        var result: [UInt8] = []
        result.reserveCapacity(text.count + ranges.count * prefix.count)
        var moved: [Range<Int>] = []
        for range in ranges {
            let start = result.count
            for byte in text[range] {
                if byte == 0x20 { result.append(contentsOf: space) } else { result.append(byte) }
            }
            if !result[start...].starts(with: prefix) {
                result.insert(contentsOf: prefix, at: start)
            }
            moved.append(start..<result.count)
        }
        return (result, moved)
    }
}
