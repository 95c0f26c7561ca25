#if canImport(Musl)
import Musl
#else
import Glibc
#endif

/// Writes all of it, however little the system takes at a time.
/// - Returns: 0, or the system's error.
func pour(
    _ bytes: UnsafeRawBufferPointer, into descriptor: Int32, at start: Int
) -> Int32 {
    var done = 0
    while done < bytes.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
        let count = unsafe pwrite(
            descriptor, rest.baseAddress, min(rest.count, 64 << 20), off_t(start + done))
        if count > 0 {
            done += count
        } else if count == 0 || errno != EINTR {
            return count == 0 ? ENOSPC : errno
        }
    }
    return 0
}

func unwritable(_ path: String, _ code: Int32) -> CheckpointError {
    let reason =
        switch code {
        case ENOSPC, EDQUOT: "the disk is full"
        case EACCES, EPERM, EROFS: "permission denied"
        case EEXIST: "it is there already"
        case EIO: "input/output error of the disk"
        default: "system error \(code)"
        }
    return .unreadable(file: path, reason: "cannot be written: \(reason)")
}

/// Writes a new file and brings it to the disk.
func writeNewFile(_ bytes: [UInt8], _ path: String) throws(CheckpointError) {
    let code = unsafe bytes.withUnsafeBytes { unsafe writeNew($0, path) }
    if code != 0 { throw unwritable(path, code) }
}

/// Puts a file in place of the one of that name, or where there is none: whatever happens, all of
/// the old or all of the new one lies there. Foundation's atomic writing takes a disk that fills up
/// in the middle for the end of the file.
package func replaceFile(_ path: String, with bytes: UnsafeRawBufferPointer)
    throws(CheckpointError)
{
    let temporary = "\(path).\(getpid()).new"
    unsafe unlink(temporary)
    var code = unsafe writeNew(bytes, temporary)
    if code == 0, unsafe rename(temporary, path) != 0 { code = errno }
    guard code != 0 else { return }
    unsafe unlink(temporary)
    throw unwritable(path, code)
}

/// - Returns: 0, or the system's error.
private func writeNew(_ bytes: UnsafeRawBufferPointer, _ path: String) -> Int32 {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return errno }
    var code = unsafe pour(bytes, into: descriptor, at: 0)
    if code == 0, fsync(descriptor) != 0 { code = errno }
    // Some file systems tell only now that the disk is full.
    if close(descriptor) != 0, code == 0 { code = errno }
    return code
}
