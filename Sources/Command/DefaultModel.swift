import AutoGLMModels
import CAutoGLMDefaultModel
import Foundation

/// The Mini-GLM inside the program, laid out as a directory that the loader can read.
///
/// The files go to the user's cache once and are compared with the program's own copy at every
/// start, so a damaged or foreign file is never loaded. Where nothing can be written to the
/// cache (a service without a home), the temporary directory does.
enum DefaultModel {
    static let name = "mini-glm"

    /// - Returns: the directory that holds the model.
    static func directory(environment: [String: String]) throws -> String {
        let count = autoglm_embedded_count()
        guard count > 0 else {
            throw CommandError(
                "this build has no embedded model; name one with --model DIRECTORY")
        }
        var reasons: [String] = []
        for parent in candidates(environment) {
            do {
                let directory = parent + "/" + name
                try FileManager.default.createDirectory(
                    atPath: directory, withIntermediateDirectories: true)
                for index in 0..<count {
                    try unsafe place(autoglm_embedded_get(index), in: directory)
                }
                return directory
            } catch {
                let reason = (error as? CheckpointError)?.description
                reasons.append(reason ?? "\(parent): \(error.localizedDescription)")
            }
        }
        throw CommandError(
            "the embedded model cannot be unpacked (\(reasons.joined(separator: "; "))); "
                + "set XDG_CACHE_HOME or TMPDIR to a writable directory with 32 MB free")
    }

    private static func candidates(_ environment: [String: String]) -> [String] {
        var candidates: [String] = []
        if let cache = environment["XDG_CACHE_HOME"], cache.hasPrefix("/") {
            candidates.append(cache + "/autoglm")
        } else if let home = environment["HOME"], home.hasPrefix("/") {
            candidates.append(home + "/.cache/autoglm")
        }
        let temporary = environment["TMPDIR"] ?? "/tmp"
        // By user, so that one user's copy is never in another one's way.
        candidates.append("\(temporary)/autoglm-\(getuid())")
        return candidates
    }

    private static func place(_ file: autoglm_embedded_file, in directory: String) throws {
        let path = unsafe directory + "/" + String(cString: file.name)
        let bytes = unsafe UnsafeRawBufferPointer(start: file.bytes, count: file.size)
        let own = unsafe Data(
            bytesNoCopy: UnsafeMutableRawPointer(mutating: file.bytes), count: file.size,
            deallocator: .none)
        if let present = FileManager.default.contents(atPath: path), present == own { return }
        try unsafe replaceFile(path, with: bytes)
    }
}

/// Something the user can mend; printed as one line, exit code 1.
struct CommandError: Error, CustomStringConvertible, LocalizedError {
    let description: String
    init(_ description: String) { self.description = description }
    var errorDescription: String? { description }
}
