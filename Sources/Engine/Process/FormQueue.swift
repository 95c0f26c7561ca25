import AutoGLMDecoding
import AutoGLMScheduling
import Dispatch
import Synchronization

/// Compiles the forms of requests before the engine thread gets them, one after the other, on a
/// thread of its own: neither steps nor the channel wait for it.
///
/// A request without a form overtakes those that are being compiled on the way to the scheduler,
/// not in it: there, all are in order of arrival.
final class FormQueue: Sendable {
    typealias Done = @Sendable (Result<Constraint, GrammarError>) -> Void

    private enum Job {
        case vocabulary(FormVocabulary)
        case form(FormText, SequenceID, Done)
    }

    private struct State {
        var jobs: [Job] = []
        /// Sequences with a job that somebody still wants.
        var wanted: Set<SequenceID> = []
    }

    private let state = Mutex(State())
    private let wakeUp = DispatchSemaphore(value: 0)

    /// From now on forms are compiled over this one.
    func add(_ vocabulary: FormVocabulary) { add(.vocabulary(vocabulary), of: nil) }

    /// - Parameter done: called on the queue's thread, unless the sequence has been forgotten by
    ///   then; ``forget(_:)`` waits for it, so it must not wait itself.
    func add(_ form: FormText, of id: SequenceID, done: @escaping Done) {
        add(.form(form, id, done), of: id)
    }

    private func add(_ job: Job, of id: SequenceID?) {
        state.withLock { state in
            state.jobs.append(job)
            if let id { state.wanted.insert(id) }
        }
        wakeUp.signal()
    }

    /// - Returns: whether its form was still to be compiled; it is not, then.
    func forget(_ id: SequenceID) -> Bool {
        state.withLock { $0.wanted.remove(id) != nil }
    }

    /// - Returns: the sequences whose forms were still to be compiled.
    func forgetAll() -> Set<SequenceID> {
        state.withLock { state in
            defer { state.wanted = [] }
            return state.wanted
        }
    }

    /// The queue's thread; it never comes back.
    func work() {
        var cache: GrammarCache?
        while true {
            wakeUp.wait()
            let jobs = state.withLock { state in
                defer { state.jobs = [] }
                return state.jobs
            }
            for job in jobs {
                switch job {
                case .vocabulary(let vocabulary):
                    cache = GrammarCache(
                        vocabulary: TokenTrie(
                            tokens: vocabulary.tokens, endTokens: vocabulary.endTokens))
                case .form(let form, let id, let done):
                    guard isWanted(id) else { continue }
                    let result = compile(form, cache) { [self] in !isWanted(id) }
                    // Under the lock, so that whoever forgets it later finds it with the engine.
                    state.withLock { state in
                        if state.wanted.remove(id) != nil { done(result) }
                    }
                }
            }
        }
    }

    private func isWanted(_ id: SequenceID) -> Bool {
        state.withLock { $0.wanted.contains(id) }
    }

    private func compile(
        _ form: FormText, _ cache: GrammarCache?, isCancelled: @escaping () -> Bool
    ) -> Result<Constraint, GrammarError> {
        do throws(GrammarError) {
            guard let cache else { throw .invalid(reason: "a form before any vocabulary") }
            let source = try GrammarSource(text: form.source)
            let grammar = try cache.grammar(for: source, isCancelled: isCancelled)
            return .success(Constraint(grammar, goesOn: form.goesOn))
        } catch {
            return .failure(error)
        }
    }
}
