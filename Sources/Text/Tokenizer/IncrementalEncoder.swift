/// One text on its way to token ids, advanced in slices.
package struct IncrementalEncoder: Sendable {
    private let tokenizer: Tokenizer
    private let text: [UInt8]
    private let sections: [TextSection]
    private var nextSection = 0
    /// The section being encoded: its normalized text, cut at tokens that match only there.
    private var current: [UInt8] = []
    private var isFirstSection = false
    private var parts: [TextSection] = []
    private var nextPart = 0
    /// The part being encoded and what is left of it; its words where they had to be listed.
    private var position = 0
    private var partEnd = 0
    private var partText: [UInt8] = []
    private var words: [Range<Int>] = []
    private var nextWord = 0
    private var long: LongWord?
    private var suffixed = false
    private let addSpecial: Bool

    /// The ids so far.
    package private(set) var tokens: [TokenID] = []

    init(_ tokenizer: Tokenizer, _ text: [UInt8], trusted: [Range<Int>], addSpecial: Bool) {
        // Positions inside a word are 32 bits wide; requests are bounded far below.
        precondition(text.count < Int(Int32.max) / 4, "text too long to encode")
        self.tokenizer = tokenizer
        self.text = text
        self.addSpecial = addSpecial
        sections = tokenizer.added.sections(of: text, trusted: trusted)
        tokens.reserveCapacity(text.count / 3 + 8)
        if addSpecial { tokens.append(contentsOf: tokenizer.prefixIDs) }
    }

    /// Encodes about `byteBudget` bytes more.
    /// - Returns: true when the whole text is encoded.
    package mutating func advance(byteBudget: Int) -> Bool {
        var budget = max(byteBudget, 1)
        while budget > 0 {
            if long != nil {
                budget -= encodeLong(budget)
            } else if position < partEnd || nextWord < words.count {
                budget -= encodeWords(budget)
            } else if nextPart < parts.count {
                openPart()
            } else if nextSection < sections.count {
                budget -= openSection()
            } else {
                if addSpecial, !suffixed { tokens.append(contentsOf: tokenizer.suffixIDs) }
                suffixed = true
                return true
            }
        }
        return false
    }

    mutating func finish() {
        while !advance(byteBudget: .max) {}
    }

    private mutating func openSection() -> Int {
        defer { nextSection += 1 }
        switch sections[nextSection] {
        case .token(let id):
            tokens.append(id)
            return 1
        case .text(let range):
            current = range.count == text.count ? text : Array(text[range])
            isFirstSection = range.lowerBound == 0
            for step in tokenizer.normalizers {
                current = step.apply(to: current, isFirst: isFirstSection)
            }
            parts = tokenizer.added.sections(ofNormalized: current)
            nextPart = 0
            return tokenizer.normalizers.isEmpty ? 1 : range.count / 8
        }
    }

    private mutating func openPart() {
        defer { nextPart += 1 }
        switch parts[nextPart] {
        case .token(let id): tokens.append(id)
        case .text(let range):
            partText = range.count == current.count ? current : Array(current[range])
            let isFirst = isFirstSection && range.lowerBound == 0
            for step in tokenizer.partNormalizers {
                partText = step.apply(to: partText, isFirst: isFirst)
            }
            if tokenizer.preTokenizer.scanner == nil {
                words = tokenizer.preTokenizer.words(of: &partText)
                nextWord = 0
            } else {
                position = 0
                partEnd = partText.count
            }
        }
    }

    /// - Returns: the bytes or symbols looked at.
    private mutating func encodeLong(_ budget: Int) -> Int {
        guard var word = long.take() else { return 0 }
        let spent =
            switch tokenizer.model {
            case .bpe(let model):
                model.advance(&word, partText, budget: budget, into: &tokens)
            case .unigram(let model):
                model.advance(&word, partText, budget: budget, into: &tokens)
            }
        if !word.isDone { long = word }
        return spent
    }

    /// - Returns: the bytes encoded.
    private mutating func encodeWords(_ budget: Int) -> Int {
        let tokenizer = tokenizer
        return tokenizer.withScratch { scratch in
            if position < partEnd, let scanner = tokenizer.preTokenizer.scanner {
                return scan(scanner, budget, tokenizer.model, &scratch)
            }
            var spent = 0
            while nextWord < words.count, spent < budget {
                let word = words[nextWord]
                if word.count > LongWord.bytesMin {
                    long = LongWord(word.lowerBound, word.upperBound)
                    nextWord += 1
                    return spent
                }
                switch tokenizer.model {
                case .bpe(let model):
                    model.encode(
                        partText, word.lowerBound, word.upperBound, scratch: &scratch,
                        into: &tokens)
                case .unigram(let model):
                    model.encode(
                        partText, word.lowerBound, word.upperBound, scratch: &scratch,
                        into: &tokens)
                }
                spent += word.count
                nextWord += 1
            }
            return spent
        }
    }

    /// The hot path: a scanner's words straight into the model.
    private mutating func scan(
        _ scanner: SplitScanner, _ budget: Int, _ model: TokenizerParts.Model,
        _ scratch: inout EncodeScratch
    ) -> Int {
        let bytes = partText
        let first = position
        let last = partEnd
        let stop = budget < last - first ? first + budget : last
        var start = first
        var output = tokens
        tokens = []
        switch model {
        case .bpe(let model):
            while start < stop {
                let next = scanner.next(bytes, start, last)
                if next - start > LongWord.bytesMin {
                    long = LongWord(start, next)
                    start = next
                    break
                }
                model.encode(bytes, start, next, scratch: &scratch, into: &output)
                start = next
            }
        case .unigram(let model):
            while start < stop {
                let next = scanner.next(bytes, start, last)
                if next - start > LongWord.bytesMin {
                    long = LongWord(start, next)
                    start = next
                    break
                }
                model.encode(bytes, start, next, scratch: &scratch, into: &output)
                start = next
            }
        }
        tokens = output
        position = start
        return start - first
    }
}
