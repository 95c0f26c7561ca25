import AutoGLMDecoding
import AutoGLMScheduling
import Synchronization
import Testing

@testable import AutoGLMEngine

/// Forms compiled beside the engine thread of a process of its own.
@Suite struct FormQueueTests {
    private final class Results: Sendable {
        private let all = Mutex<[(UInt64, Result<Constraint, GrammarError>)]>([])
        func add(_ id: UInt64, _ result: Result<Constraint, GrammarError>) {
            all.withLock { $0.append((id, result)) }
        }
        var list: [(UInt64, Result<Constraint, GrammarError>)] { all.withLock { $0 } }

        func wait(_ count: Int) async {
            for _ in 0..<4_000 where list.count < count {
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    private static let vocabulary = FormVocabulary(
        tokens: (0..<26).map { [0x61 + UInt8($0)] } + [[]], endTokens: [26])

    private func add(_ pattern: String, _ id: UInt64, _ queue: FormQueue, _ results: Results) {
        let form = FormText(source: GrammarSource.regex(pattern).text, goesOn: id % 2 == 0)
        queue.add(form, of: SequenceID(id)) { results.add(id, $0) }
    }

    @Test func formsComeInOrderAndOncePerSource() async throws {
        let (queue, results) = (FormQueue(), Results())
        add("early", 0, queue, results)
        queue.add(Self.vocabulary)
        for id in 1..<9 { add("a{\(id % 3 + 1)}", UInt64(id), queue, results) }
        add("(", 9, queue, results)
        queue.add(FormText(source: "nonsense"), of: SequenceID(10)) { results.add(10, $0) }
        #expect(queue.forget(SequenceID(4)))
        #expect(!queue.forget(SequenceID(4)) && !queue.forget(SequenceID(99)))
        EngineThread { queue.work() }?.detach()
        await results.wait(10)
        let list = results.list
        #expect(list.map(\.0) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
        for (id, result) in list {
            let constraint = try? result.get()
            #expect((constraint != nil) == (1...8).contains(id))
            if let constraint { #expect(constraint.goesOn == (id % 2 == 0)) }
        }
        let grammars = list.compactMap { try? $0.1.get().grammar }
        #expect(Set(grammars.map { ObjectIdentifier($0) }).count == 3)
        // It has been given to the engine: whoever aborts it now has to tell the engine.
        #expect(!queue.forget(SequenceID(8)))
        add("b", 12, queue, results)
        await results.wait(11)
        #expect(results.list.last?.0 == 12)
    }

    @Test func whatIsForgottenIsNotCompiled() async throws {
        let (queue, results) = (FormQueue(), Results())
        queue.add(Self.vocabulary)
        for id in 1..<5 { add("a{\(id)}", UInt64(id), queue, results) }
        #expect(queue.forgetAll() == Set((1..<5).map { SequenceID(UInt64($0)) }))
        EngineThread { queue.work() }?.detach()
        add("z", 6, queue, results)
        await results.wait(1)
        #expect(results.list.map(\.0) == [6])
    }
}
