import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMText
import Synchronization

/// Compiles the grammars of one model's requests over its vocabulary, and keeps them for a while.
final class FormCompiler: Sendable {
    private let tokenizer: Tokenizer
    private let tokenCount: Int
    private let endTokens: [TokenID]
    /// The vocabulary's tree takes a large part of a second, and few models are asked for forms.
    private let making = Mutex<Task<GrammarCache, Never>?>(nil)
    private let made = Mutex<GrammarCache?>(nil)

    init(_ tokenizer: Tokenizer, _ shape: EngineShape) {
        self.tokenizer = tokenizer
        tokenCount = shape.vocabulary
        endTokens = shape.stopTokens
    }

    /// - Parameter executor: where to compile what is new; nil does it here.
    /// - Throws: `GrammarError`, `CancellationError`.
    func grammar(
        for source: GrammarSource, on executor: (any TaskExecutor)?
    ) async throws -> Grammar {
        if let known = made.withLock({ $0 })?.known(source) { return known }
        return try await withTaskExecutorPreference(executor) {
            try await self.compile(source, executor)
        }
    }

    @concurrent private func compile(
        _ source: GrammarSource, _ executor: (any TaskExecutor)?
    ) async throws -> Grammar {
        let cache = await cache(executor)
        try Task.checkCancellation()
        do {
            return try cache.grammar(for: source) { Task.isCancelled }
        } catch GrammarError.cancelled {
            throw CancellationError()
        }
    }

    private func cache(_ executor: (any TaskExecutor)?) async -> GrammarCache {
        let task = making.withLock { making in
            if let making { return making }
            let task = Task(executorPreference: executor) { [self] in
                let cache = GrammarCache(vocabulary: vocabulary)
                made.withLock { $0 = cache }
                return cache
            }
            making = task
            return task
        }
        return await task.value
    }

    /// Special tokens stand for no text: a grammar reaches them by number alone.
    private var vocabulary: TokenTrie {
        TokenTrie(
            tokens: (0..<TokenID(tokenCount)).map {
                tokenizer.isSpecial($0) ? [] : tokenizer.tokenBytes($0)
            },
            endTokens: endTokens)
    }
}
