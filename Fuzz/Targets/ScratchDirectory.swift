import Foundation
import Glibc
import Synchronization

/// A directory whose few files are written again for every input; it goes when the process does.
final class ScratchDirectory: Sendable {
    let path: String
    private let files: Mutex<[String: Int32]> = Mutex([:])
    private static let all = Mutex<[String]>([])
    private static let removesAll: Void = {
        atexit { ScratchDirectory.removeAll() }
    }()

    init(_ name: String) {
        path = NSTemporaryDirectory() + "autoglm-fuzz-\(getpid())-\(name)"
        try? FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
        Self.removesAll
        Self.all.withLock { $0.append(path) }
    }

    private static func removeAll() {
        for path in all.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: path) }
    }

    /// - Returns: the file's path.
    @discardableResult
    func write(_ name: String, _ bytes: some Collection<UInt8>) -> String {
        let file = path + "/" + name
        let descriptor = files.withLock { files in
            if let open = files[name] { return open }
            let new = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            files[name] = new
            return new
        }
        let copy = Array(bytes)
        precondition(ftruncate(descriptor, off_t(copy.count)) == 0, "cannot write \(file)")
        precondition(pwrite(descriptor, copy, copy.count, 0) == copy.count, "cannot write \(file)")
        return file
    }

    func remove(_ name: String) {
        files.withLock { files in
            if let open = files.removeValue(forKey: name) {
                close(open)
                unlink(path + "/" + name)
            }
        }
    }
}
