package import AutoGLMChat
import AutoGLMEngine
import Foundation
import Logging
import ServiceLifecycle

/// Loads the model, and blocks for as long as that takes.
package typealias ModelLoader =
    @Sendable (_ progress: @escaping @Sendable (_ bytesDone: Int, _ bytesTotal: Int) -> Void) throws
    -> ChatModel

/// Fills the slot once the port is bound: a port that is taken shows before minutes of loading.
struct LoadService: Service {
    let slot: ModelSlot
    let options: ServerOptions
    /// The port, once there is one.
    let listening: AsyncStream<Int>
    let load: ModelLoader

    /// Returns when the model is there or the process is told to stop.
    /// - Throws: what loading failed with, which ends the process.
    func run() async throws {
        do {
            let model = try await cancelWhenGracefulShutdown { try await loaded() }
            if model == nil { slot.fail() }
        } catch {
            slot.fail()
            throw error
        }
    }

    /// - Returns: nil when cancelled.
    private func loaded() async throws -> ChatModel? {
        guard let port = await listening.first(where: { _ in true }) else { return nil }
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            defer { tasks.cancelAll() }
            tasks.addTask { await logProgress() }
            for try await model in models() {
                slot.fill(model)
                let host = options.host.contains(":") ? "[\(options.host)]" : options.host
                options.logger.info(
                    "serving",
                    metadata: [
                        "model": "\(model.facts.name)", "url": "http://\(host):\(port)/v1",
                        "context": .stringConvertible(model.facts.contextMax),
                    ])
                return model
            }
            return nil
        }
    }

    /// The one model or error that a thread of its own comes to: loading would hold up a thread of
    /// the cooperative pool, which answers requests meanwhile.
    private func models() -> AsyncThrowingStream<ChatModel, any Error> {
        let (models, outcome) = AsyncThrowingStream.makeStream(of: ChatModel.self)
        Thread.detachNewThread { [slot, load] in
            do {
                let model = try load { slot.report(done: $0, total: $1) }
                // Nobody is left to serve it when the process was told to stop meanwhile.
                if case .terminated = outcome.yield(model) { model.engine.shutdown() }
                outcome.finish()
            } catch {
                outcome.finish(throwing: error)
            }
        }
        return models
    }

    private func logProgress() async {
        guard let interval = options.loadingLogInterval else { return }
        while (try? await Task.sleep(for: interval)) != nil, let progress = slot.progress {
            options.logger.info(
                "loading",
                metadata: [
                    "percent": .stringConvertible(Int((progress.share * 100).rounded())),
                    "bytes": .stringConvertible(progress.bytesDone),
                    "bytes_total": .stringConvertible(progress.bytesTotal),
                ])
        }
    }
}
