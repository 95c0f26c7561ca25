import Dispatch
import Glibc
import Synchronization

/// Where log lines go. A full disk, a reader that has left or one that has stopped reading loses
/// lines, never requests.
///
/// ``write(_:)`` puts the line into a bounded buffer and returns; a thread of the sink's own writes
/// what is there, and is the only one that waits for the descriptor. A line that finds no room, or
/// that the system refuses, is lost and counted by reason; as soon as the sink takes lines again,
/// one line says how many are missing in that place.
package final class LineSink: Sendable {
    package static let standardError = LineSink(STDERR_FILENO)

    /// Why a line was lost.
    package enum Loss: String, Sendable, CaseIterable {
        /// Whoever reads takes no more, and the buffer is full.
        case stalled
        case diskFull = "disk_full"
        /// The device failed.
        case device
        /// A pipe or socket without anyone at the other end.
        case readerGone = "reader_gone"
        /// The descriptor is closed, or not open for writing.
        case closed
        case other

        init(_ code: Int32) {
            switch code {
            case ENOSPC, EDQUOT, EFBIG: self = .diskFull
            case EIO, ENXIO, ENODEV: self = .device
            case EPIPE, ECONNRESET, ENOTCONN: self = .readerGone
            case EBADF, EINVAL: self = .closed
            default: self = .other
            }
        }
    }

    package typealias Losses = [Loss: Int]

    private struct State {
        var lines: [[UInt8]] = []
        /// Of the lines that wait and of those being written, with what keeping them costs.
        var bytesHeld = 0
        /// Lines that found no room behind `lines`. While there are any, later lines find none
        /// either, so that what is missing is missing in one place.
        var refused = 0
        /// All that were lost so far.
        var lost: Losses = [:]
        var hasThread = false
        var isParked = false
        var isStopped = false
        /// Those who wait until all is written.
        var flushes: [DispatchSemaphore] = []
        var describe: @Sendable (Losses) -> String = LineSink.plainText
    }

    /// What the writing thread shares with the sink; it may outlive it.
    private final class Shared: Sendable {
        let state = Mutex(State())
        let wakeUp = DispatchSemaphore(value: 0)
    }

    /// Of an array in memory: its head, the reference to it, what malloc adds.
    private static let overhead = 64
    private let shared = Shared()
    private let descriptor: Int32
    private let capacity: Int

    /// - Parameter capacity: bytes that lines may take up until they are written.
    package init(_ descriptor: Int32, capacity: Int = 256 << 10) {
        self.descriptor = descriptor
        self.capacity = capacity
    }

    deinit {
        shared.state.withLock { $0.isStopped = true }
        shared.wakeUp.signal()
    }

    /// Lines that could not be written, by reason.
    package var lost: Losses { shared.state.withLock { $0.lost } }

    /// Bytes that lines take up in memory now.
    package var bytesHeld: Int { shared.state.withLock { $0.bytesHeld } }

    /// - Parameter describe: makes the line that tells of lost ones, line break included.
    package func onLoss(_ describe: @escaping @Sendable (Losses) -> String) {
        shared.state.withLock { $0.describe = describe }
    }

    /// Never waits for whoever reads. Lines of several threads do not mix.
    package func write(_ line: String) {
        let bytes = Array(line.utf8)
        let cost = bytes.count + Self.overhead
        let (needsThread, wasParked) = shared.state.withLock { state in
            if state.refused == 0, state.bytesHeld + cost <= capacity {
                state.lines.append(bytes)
                state.bytesHeld += cost
            } else {
                state.refused += 1
                state.lost[.stalled, default: 0] += 1
            }
            defer {
                state.isParked = false
                state.hasThread = true
            }
            return (!state.hasThread, state.isParked)
        }
        if needsThread { start() }
        if wasParked { shared.wakeUp.signal() }
    }

    /// Waits until all lines given so far are written or lost, but no longer than `limit`.
    package func flush(within limit: Duration) {
        let done = DispatchSemaphore(value: 0)
        let isIdle = shared.state.withLock { state in
            if state.bytesHeld == 0, state.refused == 0 { return true }
            state.flushes.append(done)
            return false
        }
        if isIdle { return }
        let nanoseconds = limit / .nanoseconds(1)
        _ = done.wait(timeout: .now() + .nanoseconds(Int(nanoseconds)))
    }

    private func start() {
        let body = unsafe Unmanaged.passRetained(Body(Writer(descriptor, shared)))
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread, nil,
            { raw in
                if let raw = unsafe raw {
                    unsafe Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run()
                }
                return nil
            }, body.toOpaque())
        if code == 0 {
            pthread_detach(thread)
            return
        }
        // No thread to be had: what waits is lost, and the next line tries again.
        unsafe body.release()
        shared.state.withLock { state in
            state.hasThread = false
            state.lost[.other, default: 0] += state.lines.count
            state.lines = []
            state.bytesHeld = 0
        }
    }

    private final class Body {
        private var writer: Writer
        init(_ writer: Writer) { self.writer = writer }
        func run() { writer.run() }
    }

    private static func plainText(_ losses: Losses) -> String {
        "autoglm: \(losses.values.reduce(0, +)) log lines were lost (\(summary(losses)))\n"
    }

    /// `disk_full 3, stalled 120`
    package static func summary(_ losses: Losses) -> String {
        losses.map { "\($0.key.rawValue) \($0.value)" }.sorted().joined(separator: ", ")
    }

    // MARK: - The thread

    /// Takes what waits and writes it, line by line.
    private struct Writer {
        /// A pipe that is ready takes this much without making us wait.
        private static let piece = 4_096
        /// How often a thread that waits for room looks whether its sink is still there.
        private static let pause: Int32 = 500

        private let descriptor: Int32
        private let shared: Shared
        /// Lost since the last line that told of it.
        private var unreported: Losses = [:]
        /// Whether the last line was cut: the next one must not go on where it ended.
        private var isCut = false

        init(_ descriptor: Int32, _ shared: Shared) {
            self.descriptor = descriptor
            self.shared = shared
        }

        mutating func run() {
            // A reader that has left is an error of `write`, not the end of the process.
            var signals = sigset_t()
            _ = unsafe sigemptyset(&signals)
            _ = unsafe sigaddset(&signals, SIGPIPE)
            _ = unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
            while let batch = take() {
                for line in batch.lines { deliver(line) }
                if batch.refused > 0 {
                    unreported[.stalled, default: 0] += batch.refused
                    report()
                }
            }
        }

        /// What waits; parks while there is nothing. nil once the sink is gone.
        private func take() -> (lines: [[UInt8]], refused: Int)? {
            while true {
                let (batch, isOver) = shared.state.withLock { state in
                    // What was refused stands behind the lines, and grows while those are written.
                    let isLast = state.lines.isEmpty
                    let batch = (lines: state.lines, refused: isLast ? state.refused : 0)
                    state.lines = []
                    if isLast { state.refused = 0 }
                    state.isParked = batch.lines.isEmpty && batch.refused == 0
                    if state.isParked {
                        for flush in state.flushes { flush.signal() }
                        state.flushes = []
                    }
                    return (batch, state.isParked && state.isStopped)
                }
                if !batch.lines.isEmpty || batch.refused > 0 { return batch }
                if isOver { return nil }
                shared.wakeUp.wait()
            }
        }

        private mutating func deliver(_ line: [UInt8]) {
            if !unreported.isEmpty { report() }
            if let loss = pour(line) {
                unreported[loss, default: 0] += 1
                shared.state.withLock { $0.lost[loss, default: 0] += 1 }
            }
            shared.state.withLock { $0.bytesHeld -= line.count + LineSink.overhead }
        }

        /// Tells of what was lost, if the sink takes lines again.
        private mutating func report() {
            let describe = shared.state.withLock { $0.describe }
            if pour(Array(describe(unreported).utf8)) == nil { unreported = [:] }
        }

        /// The descriptor may be shared with other programs, so it stays as it is and is asked
        /// first.
        /// - Returns: why the bytes could not be written.
        private mutating func pour(_ line: [UInt8]) -> Loss? {
            var rest = (isCut ? [0x0A] + line : line)[...]
            while !rest.isEmpty {
                var question = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                let ready = unsafe poll(&question, 1, Self.pause)
                if ready == 0, shared.state.withLock({ $0.isStopped }) { return .stalled }
                if ready == 0 || (ready < 0 && errno == EINTR) { continue }
                let written = unsafe rest.prefix(Self.piece).withUnsafeBytes { buffer in
                    unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
                }
                if written > 0 {
                    rest = rest.dropFirst(written)
                    isCut = !rest.isEmpty
                } else if written < 0, errno == EAGAIN {
                    // Someone made the descriptor non-blocking, and another one was faster.
                    usleep(10_000)
                } else if written == 0 || errno != EINTR {
                    return written == 0 ? .other : Loss(errno)
                }
            }
            return nil
        }
    }
}

/// How many log lines were lost, which no log line can tell while they are.
final class LogLineMetrics: Collector {
    func collect(into out: inout Exposition) {
        let lost = LineSink.standardError.lost
        out.counter(
            "autoglm_log_lines_dropped", "Log lines that could not be written, by reason.",
            label: "reason",
            LineSink.Loss.allCases.map { ($0.rawValue, Double(lost[$0] ?? 0)) })
        out.gauge(
            "autoglm_log_buffer_bytes", "Memory of log lines that wait to be written.",
            Double(LineSink.standardError.bytesHeld))
    }
}
