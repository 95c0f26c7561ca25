import FoundationEssentials
import Glibc
import Logging

/// How many files and connections the kernel lets this process have open.
enum DescriptorLimit {
    /// For model files, logs and whatever else is opened while connections come and go.
    static let margin = 64

    private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)

    static var current: Int {
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return 1_024 }
        return Int(clamping: limit.rlim_cur)
    }

    /// Raises the limit as far as is allowed without privileges. The low one that shells start
    /// with is for programs that use select(2).
    static func raise(_ logger: Logger) {
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max
        else { return }
        let before = Int(clamping: limit.rlim_cur)
        limit.rlim_cur = limit.rlim_max
        if unsafe setrlimit(resource, &limit) == 0 {
            logger.info(
                "descriptor limit raised",
                metadata: ["from": .stringConvertible(before), "to": .stringConvertible(current)])
        }
    }

    /// Says so when the operator's limits cannot be kept.
    static func warn(_ limits: ConnectionCensus.Limits, _ options: ServerOptions) {
        if limits.total >= options.connectionsMax { return }
        options.logger.warning(
            "too few open files are allowed for all connections; raise 'ulimit -n'",
            metadata: [
                "connections": .stringConvertible(limits.total),
                "wanted": .stringConvertible(options.connectionsMax),
                "open_files": .stringConvertible(current),
            ])
    }

    /// Descriptors that are open now.
    static var used: Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 32
    }
}

extension ConnectionCensus.Limits {
    /// What the operator allows, as far as the process has descriptors for it.
    init(_ options: ServerOptions, descriptors: Int, used: Int) {
        let room = max(4, descriptors - used - DescriptorLimit.margin)
        health = min(64, max(2, room / 8))
        total = min(options.connectionsMax, room - health)
        perAddress = options.connectionsPerAddressMax
    }
}
