import FoundationEssentials
import Glibc
import Synchronization

/// How the engine is started in a process of its own.
package struct EngineIsolation: Sendable {
    /// The program and what comes before the number of this process on its command line.
    package var executable: String
    package var arguments: [String]
    package var environment: [String: String]
    /// Called with each line that the process writes to standard error.
    package var onLine: @Sendable (String) -> Void

    package init(
        executable: String, arguments: [String], environment: [String: String],
        onLine: @escaping @Sendable (String) -> Void
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.onLine = onLine
    }
}

/// Why there is no engine in a process of its own.
package enum EngineProcessError: Error, Equatable, CustomStringConvertible {
    case notStarted(call: String, code: Int32)
    /// The process says why, in the words it would have without isolation.
    case notLoaded(String)
    case diedLoading(reason: String)

    package var description: String {
        switch self {
        case .notStarted(let call, let code):
            "The engine's process could not be started: \(call) failed "
                + "(\(unsafe String(cString: strerror(code)))). Raise the limits on processes and "
                + "open files, or leave out --isolate."
        case .notLoaded(let reason): reason
        case .diedLoading(let reason):
            "The engine's process ended (\(reason)) while it loaded the model. Give it more "
                + "memory, or look for a broken model file."
        }
    }
}

/// A started process: its channel, its standard error and its end.
final class EngineChild: Sendable {
    let socket: FrameSocket
    let notes: SharedNotes
    let errorOutput: Int32
    /// nil once it has been waited for: the number may then be another process's.
    private let process: Mutex<pid_t?>

    private init(_ process: pid_t, _ socket: FrameSocket, _ notes: SharedNotes, _ errors: Int32) {
        self.process = Mutex(process)
        self.socket = socket
        self.notes = notes
        errorOutput = errors
    }

    /// Starts it from the calling thread, with whose end the system ends the process.
    static func start(_ isolation: EngineIsolation) throws(EngineProcessError) -> EngineChild {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw .notStarted(call: "socketpair", code: errno)
        }
        let (mine, theirs) = (FrameSocket(ends[0]), FrameSocket(ends[1]))
        guard let notes = SharedNotes() else {
            throw .notStarted(call: "memfd_create", code: errno)
        }
        var errors: [Int32] = [-1, -1]
        guard unsafe pipe(&errors) == 0 else { throw .notStarted(call: "pipe", code: errno) }
        for end in errors { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { _ = close(errors[1]) }
        do throws(EngineProcessError) {
            let process = try spawn(isolation, theirs.descriptor, notes.descriptor, errors[1])
            return EngineChild(process, mine, notes, errors[0])
        } catch {
            _ = close(errors[0])
            throw error
        }
    }

    private static func spawn(
        _ isolation: EngineIsolation, _ channel: Int32, _ memory: Int32, _ errors: Int32
    ) throws(EngineProcessError) -> pid_t {
        // Out of the way of the numbers that they get.
        let sources = [channel, memory, errors].map { fcntl($0, F_DUPFD_CLOEXEC, 16) }
        defer { for source in sources where source >= 0 { _ = close(source) } }
        guard sources.allSatisfy({ $0 >= 0 }) else {
            throw .notStarted(call: "dup", code: errno)
        }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let targets = [EngineHost.channel, EngineHost.memory, STDERR_FILENO]
        for (source, target) in zip(sources, targets) {
            unsafe posix_spawn_file_actions_adddup2(&actions, source, target)
        }
        unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        // Descriptors of ours are closed on exec; those that others have left open to us, here.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            guard let descriptor = Int32(name), descriptor > EngineHost.memory else { continue }
            unsafe posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(&attributes, &signals)
        unsafe sigfillset(&signals)
        unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
        unsafe posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let words = ["autoglm"] + isolation.arguments + ["\(getpid())"]
        let variables = isolation.environment.map { "\($0.key)=\($0.value)" }
        var process: pid_t = 0
        let code = unsafe withStrings(words) { arguments in
            unsafe withStrings(variables) { environment in
                unsafe posix_spawn(
                    &process, isolation.executable, &actions, &attributes, arguments, environment)
            }
        }
        guard code == 0 else { throw .notStarted(call: "posix_spawn", code: code) }
        return process
    }

    /// nil once it has ended.
    var identifier: pid_t? { process.withLock { $0 } }

    func kill() {
        process.withLock { if let process = $0 { _ = Glibc.kill(process, SIGKILL) } }
    }

    /// Waits for the end of a process that has closed its channel, and makes it end where it does
    /// not within a second.
    func wait() -> ProcessEnd {
        guard let identifier else { return .exit(0) }
        var info = unsafe siginfo_t()
        for _ in 0..<200 {
            unsafe info.si_signo = 0
            let flags = WEXITED | WNOHANG | WNOWAIT
            if unsafe waitid(P_PID, id_t(identifier), &info, flags) != 0 { break }
            if unsafe info.si_signo != 0 { break }
            usleep(5_000)
        }
        kill()
        unsafe waitid(P_PID, id_t(identifier), &info, WEXITED | WNOWAIT)
        return process.withLock { process in
            var status: Int32 = 0
            _ = unsafe waitpid(identifier, &status, 0)
            process = nil
            return ProcessEnd(status: status)
        }
    }

    /// Reads standard error until the process ends, and hands it on line by line.
    func readLines(_ onLine: (String) -> Void) {
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe read(errorOutput, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            for byte in buffer[..<count] {
                if byte != UInt8(ascii: "\n"), line.count < 8_192 {
                    line.append(byte)
                } else if !line.isEmpty {
                    onLine(String(decoding: line, as: UTF8.self))
                    line = []
                }
            }
        }
        if !line.isEmpty { onLine(String(decoding: line, as: UTF8.self)) }
        _ = close(errorOutput)
    }
}

/// How a process ended.
enum ProcessEnd: Equatable, CustomStringConvertible {
    case exit(Int32)
    case signal(Int32)

    init(status: Int32) {
        let signal = status & 0x7F
        self = signal == 0 ? .exit((status >> 8) & 0xFF) : .signal(signal)
    }

    /// It came from what the process did, not from outside: SIGKILL is what people, supervisors and
    /// the system short of memory send.
    var isOwnFault: Bool {
        switch self {
        case .exit: false
        case .signal(let number):
            [SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTRAP, SIGSYS].contains(number)
        }
    }

    var description: String {
        switch self {
        case .exit(let code): "exit code \(code)"
        case .signal(let number): "signal \(number)"
        }
    }
}

/// Calls with a list of C strings, closed by a null pointer.
private func withStrings<Result>(
    _ strings: [String],
    _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers = unsafe [UnsafeMutablePointer<CChar>?]()
    for string in strings { unsafe pointers.append(strdup(string)) }
    unsafe pointers.append(nil)
    defer { for index in strings.indices { unsafe free(pointers[index]) } }
    return unsafe pointers.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("no strings") }
        return unsafe body(UnsafePointer(base))
    }
}
