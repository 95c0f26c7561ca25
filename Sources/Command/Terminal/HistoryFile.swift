import Foundation
import Glibc

/// A history that cannot be kept; the conversation goes on without it.
struct HistoryError: Error, CustomStringConvertible {
    let path: String
    let reason: String

    var description: String { "history is off: \(path): \(reason)" }
}

/// Entries of earlier conversations, oldest first: one JSON string per line.
///
/// Programs that run side by side may share it: lines are appended under a lock, and a file that
/// was replaced while we waited for the lock is opened anew. Calls do file I/O and may wait.
struct HistoryFile: Sendable {
    /// Larger entries, such as pasted books, stay out of the file.
    static let entryLimit = 64 << 10
    /// The file may grow this far before its oldest lines are cut off.
    private static let slack = InputHistory.limit / 4
    private static let lockAttempts = 50
    private static let lockPause: UInt32 = 10_000

    let path: String

    init(path: String) { self.path = path }

    /// In `$XDG_STATE_HOME`, or `~/.local/state` where that is unset or not absolute.
    init?(environment: [String: String]) {
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") {
            path = state + "/autoglm/chat-history"
        } else if let home = environment["HOME"], home.hasPrefix("/") {
            path = home + "/.local/state/autoglm/chat-history"
        } else {
            return nil
        }
    }

    /// The newest entries; none where there is no file yet. Lines that are no JSON are passed over.
    func load() throws(HistoryError) -> [String] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return [] }
            throw failure()
        }
        defer { Glibc.close(file) }
        return try lines(file).suffix(InputHistory.limit).compactMap(Self.decode)
    }

    func append(_ entry: String) throws(HistoryError) {
        guard entry.utf8.count <= Self.entryLimit, let line = Self.encode(entry) else { return }
        let file = try openLocked()
        defer { Glibc.close(file) }
        var bytes = line + [0x0A]
        // A line that was cut off by a crash must not swallow this one.
        let end = lseek(file, 0, SEEK_END)
        var last: UInt8 = 0x0A
        if end > 0 { _ = unsafe pread(file, &last, 1, end - 1) }
        if last != 0x0A { bytes.insert(0x0A, at: 0) }
        try write(bytes, to: file)
        try trim(file)
    }

    // MARK: - File

    private func openLocked() throws(HistoryError) -> Int32 {
        let folder = (path as NSString).deletingLastPathComponent
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw HistoryError(path: path, reason: error.localizedDescription)
        }
        while true {
            let file = unsafe open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw failure() }
            lock(file)
            var ours = stat(), named = stat()
            let isCurrent = unsafe fstat(file, &ours) == 0 && stat(path, &named) == 0
                && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev
            if isCurrent {
                if ours.st_mode & 0o077 != 0 { fchmod(file, 0o600) }
                return file
            }
            // Another program put a shortened file in its place: wait for that one.
            Glibc.close(file)
        }
    }

    /// Waits half a second at most, for a holder may be stopped; an append without the lock is
    /// still whole, only a cut at the same moment could lose it. Some file systems have no locks.
    private func lock(_ file: Int32) {
        for _ in 0..<Self.lockAttempts {
            if flock(file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK { return }
            usleep(Self.lockPause)
        }
    }

    /// Cuts the oldest lines off by putting a new file in place of the old, which we hold locked.
    private func trim(_ file: Int32) throws(HistoryError) {
        let lines = try lines(file)
        guard lines.count > InputHistory.limit + Self.slack else { return }
        // A link stays a link.
        let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        let temporary = target + ".\(getpid())"
        let new = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard new >= 0 else { throw failure() }
        defer { Glibc.close(new) }
        let kept = lines.suffix(InputHistory.limit).flatMap { $0 + [0x0A] }
        do throws(HistoryError) {
            try write(kept, to: new)
            guard fsync(new) == 0, unsafe rename(temporary, target) == 0 else { throw failure() }
        } catch {
            unsafe unlink(temporary)
            throw error
        }
    }

    private func lines(_ file: Int32) throws(HistoryError) -> [ArraySlice<UInt8>] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe pread(file, &buffer, buffer.count, off_t(bytes.count))
            if count == 0 { return bytes.split(separator: 0x0A) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure() }
            bytes += buffer[..<count]
        }
    }

    /// In one call, so that lines of two programs never mix even where locks do nothing.
    private func write(_ bytes: [UInt8], to file: Int32) throws(HistoryError) {
        let count = unsafe Glibc.write(file, bytes, bytes.count)
        if count >= 0, count < bytes.count { errno = ENOSPC }
        guard count == bytes.count else { throw failure() }
    }

    private func failure() -> HistoryError {
        HistoryError(path: path, reason: unsafe String(cString: strerror(errno)))
    }

    private static func encode(_ entry: String) -> [UInt8]? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return (try? encoder.encode(entry)).map(Array.init)
    }

    private static func decode(_ line: ArraySlice<UInt8>) -> String? {
        try? JSONDecoder().decode(String.self, from: Data(line))
    }
}
