/// What a device can refuse, or what can go wrong on it.
package enum BackendError: Error, Equatable {
    case outOfMemory(requestedBytes: Int)
    /// Reading or understanding a stored tensor failed.
    case unreadable(tensor: String, reason: String)
    case unsupported(what: String, remedy: String)
    /// The step produced values that are not numbers.
    case notANumber(row: Int)
    case device(String)
}

extension BackendError: CustomStringConvertible {
    /// What happened and what to do, without a full stop. Names out of files stand as they are: who
    /// puts an error on a terminal escapes it, as `CheckpointError` does.
    package var description: String {
        switch self {
        case .outOfMemory(let bytes):
            "no memory for \(formatBytes(bytes)); free some, or choose a smaller weight format, "
                + "a smaller KV cache or fewer tokens per step"
        case .unreadable(let tensor, let reason): "\(tensor) cannot be read: \(reason)"
        case .unsupported(let what, let remedy): "\(what) is not supported; \(remedy)"
        case .notANumber:
            "the logits are not numbers; the weights are damaged, or the precision is too low"
        case .device(let reason): reason
        }
    }
}

/// A size for people: `512 B`, `4.0 TiB`.
package func formatBytes(_ bytes: Int) -> String {
    var value = Double(bytes)
    var unit = "B"
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where value >= 1_024 {
        value /= 1_024
        unit = larger
    }
    return unit == "B" ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(unit)"
}
