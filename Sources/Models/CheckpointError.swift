package import AutoGLMCompute
import AutoGLMJSON

/// Why a checkpoint was refused: always the file, what in it, the value found and what to do.
///
/// Text that comes from a file is shown escaped and cut, so that a hostile name cannot garble a
/// terminal or flood a log.
package enum CheckpointError: Error, Equatable {
    /// Nothing that can be loaded lies at `path`.
    case notFound(path: String, remedy: String)
    /// The system refused to open or read a file.
    case unreadable(file: String, reason: String)
    /// The note that a clone without Git LFS leaves in place of a large file.
    case gitLFSPointer(file: String)
    /// The file breaks its own format; `offset` in bytes from its start.
    case malformed(file: String, offset: Int?, field: String, reason: String)
    /// A number or word of the configuration is missing or impossible.
    case configuration(file: String, key: String, value: String, reason: String)
    case missingTensor(name: String, checkpoint: String, remedy: String)
    case misshapenTensor(name: String, file: String, shape: [Int], expected: [Int])
    /// The checkpoint holds tensors that the architecture has no use for.
    case unclaimedTensors(names: [String], count: Int, checkpoint: String)
    case unsupported(what: String, file: String, remedy: String)
    case unknownArchitecture(name: String, file: String, known: [String])
    /// The backend could not take the weights.
    case backend(BackendError, tensor: String)
}

extension CheckpointError: CustomStringConvertible {
    /// One line, without a full stop at the end of a path.
    package var description: String {
        switch self {
        case .notFound(let path, let remedy):
            "no model at \(excerpt(path)): \(remedy)"
        case .unreadable(let file, let reason):
            "\(excerpt(file)): \(reason)"
        case .gitLFSPointer(let file):
            "\(excerpt(file)): this is a Git LFS pointer, not the file itself; run `git lfs pull` "
                + "in \(excerpt(directory(of: file))), or download the file again"
        case .malformed(let file, let offset, let field, let reason):
            "\(excerpt(file))\(offset.map { " at byte \($0)" } ?? ""): \(field): \(reason); "
                + "download or convert the file again"
        case .configuration(let file, let key, let value, let reason):
            "\(excerpt(file)): \(excerpt(key)) is \(excerpt(value)), but \(reason)"
        case .missingTensor(let name, let checkpoint, let remedy):
            "\(excerpt(checkpoint)): tensor \(excerpt(name)) is missing; \(remedy)"
        case .misshapenTensor(let name, let file, let shape, let expected):
            "\(excerpt(file)): tensor \(excerpt(name)) has the shape "
                + "\(describe(shape)), the configuration asks for \(describe(expected))"
        case .unclaimedTensors(let names, let count, let checkpoint):
            "\(excerpt(checkpoint)): \(count) tensors that this architecture has no use for, "
                + "first \(names.map { excerpt($0) }.joined(separator: ", ")); "
                + "the configuration does not fit the weights"
        case .unsupported(let what, let file, let remedy):
            "\(excerpt(file)): \(what) is not supported; \(remedy)"
        case .unknownArchitecture(let name, let file, let known):
            "\(excerpt(file)): architecture \(excerpt(name)) is not known; known are "
                + known.joined(separator: ", ")
        case .backend(let error, let tensor):
            "tensor \(excerpt(tensor)): \(excerpt(error.description, limit: 600))"
        }
    }
}

/// Where a file lies.
func directory(of file: String) -> String {
    file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
}

private func describe(_ shape: [Int]) -> String {
    shape.count <= 8 ? "\(shape)" : "[\(shape[0]), \(shape[1]), … \(shape.count) dimensions]"
}
