import AutoGLMCompute
import AutoGLMJSON

#if canImport(Musl)
import Musl
#else
import Glibc
#endif

/// One open file of a checkpoint, read at given offsets.
///
/// Weights are never mapped: a file truncated under a running server would end the process with
/// SIGBUS, while a short `pread` is an error like any other.
package final class CheckpointFile: Sendable {
    package let path: String
    /// Size when it was opened.
    package let byteCount: Int
    /// When it was changed last, since 1970; as of when it was opened.
    private let modified: Duration
    private let descriptor: Int32

    package init(path: String) throws(CheckpointError) {
        // Not blocking: opening a named pipe would otherwise wait for a writer.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw .unreadable(file: path, reason: "cannot be opened: \(systemError(errno))")
        }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw .unreadable(file: path, reason: "is not a regular file")
        }
        self.path = path
        self.byteCount = Int(status.st_size)
        let time = status.st_mtim
        self.modified = .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
        self.descriptor = descriptor
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
        // Every format would find a fault of its own in such a note. It has less than 1024 bytes.
        if byteCount < 1_024, isGitLFSPointer(try bytes(at: 0, count: min(byteCount, 64))) {
            throw .gitLFSPointer(file: path)
        }
    }

    deinit { close(descriptor) }

    var identity: FileIdentity {
        FileIdentity(
            name: path.split(separator: "/").last.map(String.init) ?? path, byteCount: byteCount,
            modified: modified)
    }

    /// Fills `buffer` from `offset` on.
    /// - Returns: nil, or why it could not be filled.
    func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) -> String? {
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = unsafe pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
            if count > 0 {
                done += count
            } else if count == 0 {
                return "\(path) ends at byte \(offset + done), \(buffer.count - done) too early; "
                    + "it was cut after it was opened"
            } else if errno != EINTR {
                return "\(path) at byte \(offset + done): \(systemError(errno))"
            }
        }
        return nil
    }

    /// - Parameter limit: more bytes than this are refused before anything is allocated.
    package func bytes(at offset: Int, count: Int, limit: Int = .max)
        throws(CheckpointError) -> [UInt8]
    {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard offset >= 0, count >= 0, count <= limit, !overflow, end <= byteCount else {
            throw .malformed(
                file: path, offset: offset, field: "size",
                reason: count > limit
                    ? "\(formatBytes(count)), at most \(formatBytes(limit)) are read"
                    : "\(count) bytes wanted; the file has \(byteCount)")
        }
        var reason: String?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            reason = unsafe fill(UnsafeMutableRawBufferPointer(buffer), at: offset)
            initialized = reason == nil ? count : 0
        }
        if let reason { throw .unreadable(file: path, reason: reason) }
        return bytes
    }
}

private func systemError(_ code: Int32) -> String {
    switch code {
    case ENOENT: "no such file"
    case EACCES, EPERM: "permission denied"
    case EIO: "input/output error of the disk"
    case EMFILE, ENFILE: "too many open files"
    case ESTALE: "stale network file handle"
    default: "system error \(code)"
    }
}

/// The bytes of one tensor as they lie in a file.
struct FileTensorReader: TensorReader {
    let name: String
    let file: CheckpointFile
    let offset: Int
    let byteCount: Int

    func read(_ buffer: UnsafeMutableRawBufferPointer, at start: Int) throws(BackendError) {
        let (end, overflow) = start.addingReportingOverflow(buffer.count)
        guard start >= 0, !overflow, end <= byteCount else {
            throw .unreadable(
                tensor: name,
                reason: "bytes \(start)..<\(end) wanted of \(byteCount)")
        }
        if let reason = unsafe file.fill(buffer, at: offset + start) {
            throw .unreadable(tensor: name, reason: reason)
        }
    }
}
