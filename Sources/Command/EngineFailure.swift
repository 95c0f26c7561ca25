import AutoGLMEngine
import AutoGLMObservability
import Foundation
import Logging

/// What the process does about an engine that hangs or dies.
enum EngineFailure {
    /// sysexits.h's EX_SOFTWARE: an engine that could not be brought back. docs/operations.md names
    /// it.
    static let exitCode: Int32 = 70

    /// Logs it. When the engine is lost for good, the process ends, so that whoever supervises it
    /// can start it afresh; answers under way get a second for their last event.
    static func handle(_ incident: EngineIncident, _ logger: Logger) {
        switch incident {
        case .restarted, .died: logger.error("\(incident)")
        case .recovered: logger.info("\(incident)")
        case .notRestarted: logger.error("\(incident)")
        case .gaveUp:
            logger.critical("\(incident) Exit code \(exitCode).")
            Thread.sleep(forTimeInterval: 1)
            LineSink.standardError.flush(within: .seconds(1))
            // Not exit(): what hangs may hold locks that its handlers would wait for.
            _exit(exitCode)
        }
    }
}
