import AutoGLMAPI
package import AutoGLMChat
import AutoGLMJSON
import Synchronization

/// The place of the model in a server that listens before it has one.
///
/// Routes ask it for the model; ``LoadService`` fills it.
package final class ModelSlot: Sendable {
    private enum State {
        case loading(LoadProgress)
        case ready(ChatModel)
        /// Loading failed or was called off; the process is about to end.
        case failed
    }

    private let state: Mutex<State>
    private let settling: AsyncStream<Never>
    private let settle: AsyncStream<Never>.Continuation

    package init() {
        state = Mutex(.loading(LoadProgress()))
        (settling, settle) = AsyncStream.makeStream()
    }

    package convenience init(_ model: ChatModel) {
        self.init()
        fill(model)
    }

    /// The model.
    /// - Throws: ``ModelLoading``, or an `APIError` when it will never be there.
    func model() throws -> ChatModel {
        switch state.withLock({ $0 }) {
        case .loading(let progress): throw ModelLoading(progress: progress)
        case .ready(let model): return model
        case .failed: throw APIError.draining
        }
    }

    /// The model, if it is there.
    var loaded: ChatModel? {
        if case .ready(let model) = state.withLock({ $0 }) { model } else { nil }
    }

    var progress: LoadProgress? {
        if case .loading(let progress) = state.withLock({ $0 }) { progress } else { nil }
    }

    /// Called by the loading thread.
    func report(done: Int, total: Int) {
        state.withLock { state in
            guard case .loading(var progress) = state else { return }
            progress.bytesDone = done
            progress.bytesTotal = total
            state = .loading(progress)
        }
    }

    func fill(_ model: ChatModel) {
        state.withLock { $0 = .ready(model) }
        settle.finish()
    }

    /// There will be no model: it is broken, or the process is told to stop.
    func fail() {
        state.withLock { $0 = .failed }
        settle.finish()
    }

    var isFailed: Bool {
        if case .failed = state.withLock({ $0 }) { true } else { false }
    }

    /// Returns once it is known whether there will be a model, or `limit` has passed. One task may
    /// wait.
    func settled(within limit: Duration) async {
        await withTaskGroup(of: Void.self) { [settling] tasks in
            tasks.addTask { for await _ in settling {} }
            tasks.addTask { try? await Task.sleep(for: limit) }
            await tasks.next()
            tasks.cancelAll()
        }
    }
}

/// How far the loading of a model is.
struct LoadProgress: Sendable {
    var start = ContinuousClock.now
    var bytesDone = 0
    var bytesTotal = 0

    /// 0…1, to the hundredth.
    var share: Double {
        guard bytesTotal > 0 else { return 0 }
        return (Double(min(bytesDone, bytesTotal)) / Double(bytesTotal) * 100).rounded(.down) / 100
    }

    /// Whole seconds after which the model is there if loading goes on at its pace.
    func secondsLeft(after elapsed: Duration) -> Int {
        // What one matrix took says little yet.
        guard bytesDone > 0, bytesTotal > bytesDone, elapsed > .milliseconds(100) else { return 5 }
        let pace = elapsed / .seconds(1) / Double(bytesDone)
        return Int(min(max((Double(bytesTotal - bytesDone) * pace).rounded(.up), 1), 600))
    }
}

/// The answer to whoever needs the model before it is loaded.
struct ModelLoading: Error {
    let progress: LoadProgress

    var answer: APIError {
        let seconds = progress.secondsLeft(after: ContinuousClock.now - progress.start)
        let percent = Int((progress.share * 100).rounded())
        return APIError(
            status: 503, kind: .overloaded,
            message: "The model is being loaded (\(percent) %). Try again in \(seconds) s.",
            code: "model_loading", retryAfter: seconds)
    }

    /// `{"status":"loading","progress":0.42,…,"error":{…}}`: one body for probes and clients.
    var body: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("status")
        json.string("loading")
        json.key("progress")
        json.double(progress.share)
        json.key("bytes")
        json.int(progress.bytesDone)
        json.key("bytes_total")
        json.int(progress.bytesTotal)
        json.prepared(Array(answer.body.dropFirst().dropLast()))
        json.endObject()
        return json.bytes
    }
}
