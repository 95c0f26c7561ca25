import Synchronization

/// Compiled grammars for models that write, by what they were compiled from, the least recently
/// used given up first: bounded in number and in bytes (one that grew without bound was
/// CVE-2025-32381 of vLLM).
///
/// One for each vocabulary. Grammars grow while they are used, so their sizes are read again
/// whenever something is added.
package final class GrammarCache: Sendable {
    private struct Entry {
        var grammar: Grammar
        var lastUse: UInt64
    }
    private struct Entries {
        var bySource: [GrammarSource: Entry] = [:]
        var uses: UInt64 = 0
    }

    package let vocabulary: TokenTrie
    package let countMax: Int
    package let bytesMax: Int
    private let entries = Mutex(Entries())

    package init(vocabulary: TokenTrie, countMax: Int = 256, bytesMax: Int = 256 << 20) {
        self.vocabulary = vocabulary
        self.countMax = countMax
        self.bytesMax = bytesMax
    }

    package var count: Int { entries.withLock { $0.bySource.count } }

    /// The grammar of a source, if it is here.
    package func known(_ source: GrammarSource) -> Grammar? {
        entries.withLock { entries in
            entries.uses += 1
            entries.bySource[source]?.lastUse = entries.uses
            return entries.bySource[source]?.grammar
        }
    }

    /// The grammar of a source, compiled unless it is here. Two requests that bring a new one at
    /// the same time both compile it; nobody waits for another's.
    package func grammar(
        for source: GrammarSource, limits: GrammarLimits = GrammarLimits(),
        isCancelled: @escaping () -> Bool = { false }
    ) throws(GrammarError) -> Grammar {
        if let known = known(source) { return known }
        let grammar = try Grammar.compile(
            source, vocabulary: vocabulary, style: .writing, limits: limits,
            isCancelled: isCancelled)
        entries.withLock { entries in
            entries.uses += 1
            entries.bySource[source] = Entry(grammar: grammar, lastUse: entries.uses)
            var bytes = entries.bySource.values.reduce(0) { $0 + $1.grammar.byteCount }
            while entries.bySource.count > countMax
                || bytes > bytesMax && entries.bySource.count > 1 {
                guard let oldest = entries.bySource.min(by: { $0.value.lastUse < $1.value.lastUse })
                else { break }
                bytes -= oldest.value.grammar.byteCount
                entries.bySource[oldest.key] = nil
            }
        }
        return grammar
    }
}
