import Glibc
import Synchronization

/// Where log lines go. A full disk, a reader that has left or one that has stopped reading loses
/// lines, never requests.
final class LineSink: Sendable {
    static let standardError = LineSink(STDERR_FILENO)

    /// Time a slow reader has to make room, in milliseconds.
    private static let patience: Int32 = 20
    /// A pipe that is ready takes this much without making us wait.
    private static let piece = 4_096
    /// A write to a pipe without a reader is an error of ours to count, not the process's end.
    private static let ignoresBrokenPipes: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

    /// Lines that could not be written.
    let dropped = Atomic<Int>(0)
    /// Whether the last line found no room. Whoever reads has had its time: the next lines do not
    /// wait until there is room again.
    private let isStalled = Mutex(false)
    private let descriptor: Int32

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        Self.ignoresBrokenPipes
    }

    /// Lines of several threads do not mix: they are written one after the other, and all but
    /// very long ones with one call.
    ///
    /// The descriptor may be shared with other programs, so it stays blocking and is asked first.
    func write(_ line: String) {
        let bytes = Array(line.utf8)
        let isWhole = isStalled.withLock { isStalled in
            var rest = bytes[...]
            while !rest.isEmpty {
                var question = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                isStalled = unsafe poll(&question, 1, isStalled ? 0 : Self.patience) != 1
                if isStalled { return false }
                let written = unsafe rest.prefix(Self.piece).withUnsafeBytes { buffer in
                    unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
                }
                if written <= 0 { return false }
                rest = rest.dropFirst(written)
            }
            return true
        }
        if !isWhole { dropped.wrappingAdd(1, ordering: .relaxed) }
    }
}

/// How many log lines were lost, which no log line can tell.
final class LogLineMetrics: Collector {
    func collect(into out: inout Exposition) {
        out.counter(
            "autoglm_log_lines_dropped", "Log lines that could not be written.",
            Double(LineSink.standardError.dropped.load(ordering: .relaxed)))
    }
}
