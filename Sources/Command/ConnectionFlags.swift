import ArgumentParser
import AutoGLMCompute
import AutoGLMServer

/// What a client may take: connections, bytes and time.
struct ConnectionFlags: ParsableArguments {
    /// Where the defaults are known.
    private static let defaults = ServerOptions()

    @Option(help: "Seconds a request may take in all. Default: no limit.")
    var requestTimeout: Int?

    @Option(help: "Seconds a client has to send a request's header.")
    var headerTimeout: Int = Self.defaults.headerTimeout.wholeSeconds

    @Option(help: "Seconds a client may be silent in the middle of a request's body.")
    var bodyTimeout: Int = Self.defaults.bodyIdleTimeout.wholeSeconds

    @Option(help: "Seconds for which a request's body is waited for in all.")
    var bodyTotalTimeout: Int = Self.defaults.bodyTotalTimeout.wholeSeconds

    @Option(
        help: "Bytes per second that a client must send of a body or read of an answer; 0: any.")
    var minBodyRate: Int = Self.defaults.bodyRateMin

    @Option(help: "Seconds a connection may be idle between requests.")
    var idleTimeout: Int = Self.defaults.idleTimeout.wholeSeconds

    @Option(help: "Seconds a client may leave an answer unread before it is cut off.")
    var writeTimeout: Int = Self.defaults.writeStallTimeout.wholeSeconds

    @Option(help: "Connections at most; beyond them only health is answered.")
    var maxConnections: Int = Self.defaults.connectionsMax

    @Option(help: "Connections from one address at most. Behind a proxy, all come from its.")
    var maxConnectionsPerAddress: Int = Self.defaults.connectionsPerAddressMax

    @Option(help: ArgumentHelp("Bytes of a request's body at most.", valueName: "size"))
    var maxBodySize: ByteSize = ByteSize(bytes: Self.defaults.bodyBytesMax)

    @Option(help: "Seconds of silence after which a stream gets a comment line.")
    var keepAliveInterval: Int = Self.defaults.keepAliveInterval.wholeSeconds

    @Option(help: "Seconds without a sign of life from the engine after which /readyz fails.")
    var stallAfter: Int = Self.defaults.stallAfter.wholeSeconds

    @Option(help: "Threads that read long requests. Default: half of the cores.")
    var textThreads: Int?

    @Option(
        help: ArgumentHelp(
            "Memory that requests may take beside the model. Default: what is free.",
            valueName: "size"))
    var requestMemory: ByteSize?

    @Option(
        help: ArgumentHelp(
            "Percent of that memory at which bodies are no longer read, caches shrunk, work "
                + "refused, idle connections closed.", valueName: "a,b,c,d"))
    var memorySteps: String = Self.defaults.memoryShares.percents

    func validate() throws {
        try check("--request-timeout", requestTimeout, 1...86_400)
        try check("--header-timeout", headerTimeout, 1...3_600)
        try check("--body-timeout", bodyTimeout, 1...3_600)
        try check("--body-total-timeout", bodyTotalTimeout, 1...86_400)
        try check("--min-body-rate", minBodyRate, 0...1_000_000)
        try check("--idle-timeout", idleTimeout, 1...86_400)
        try check("--write-timeout", writeTimeout, 1...3_600)
        try check("--max-connections", maxConnections, 1...1_000_000)
        try check("--max-connections-per-address", maxConnectionsPerAddress, 1...1_000_000)
        guard (1_024...(1 << 30)).contains(maxBodySize.bytes) else {
            throw ValidationError(
                "--max-body-size is \(formatBytes(maxBodySize.bytes)); expected 1 KiB to 1 GiB")
        }
        try check("--text-threads", textThreads, 1...64)
        if let bytes = requestMemory?.bytes, bytes < 1 << 20 {
            throw ValidationError(
                "--request-memory is \(formatBytes(bytes)); expected 1 MiB or more")
        }
        _ = try shares()
        try check("--keep-alive-interval", keepAliveInterval, 1...3_600)
        try check("--stall-after", stallAfter, 1...86_400)
    }

    func apply(to options: inout ServerOptions) {
        options.requestTimeout = requestTimeout.map { .seconds($0) }
        options.headerTimeout = .seconds(headerTimeout)
        options.bodyIdleTimeout = .seconds(bodyTimeout)
        options.bodyTotalTimeout = .seconds(bodyTotalTimeout)
        options.bodyRateMin = minBodyRate
        options.idleTimeout = .seconds(idleTimeout)
        options.writeStallTimeout = .seconds(writeTimeout)
        options.connectionsMax = maxConnections
        options.connectionsPerAddressMax = maxConnectionsPerAddress
        options.bodyBytesMax = maxBodySize.bytes
        options.textThreads = textThreads
        options.memoryMax = requestMemory?.bytes
        if let shares = try? shares() { options.memoryShares = shares }
        options.keepAliveInterval = .seconds(keepAliveInterval)
        options.stallAfter = .seconds(stallAfter)
    }
}

extension ConnectionFlags {
    private func shares() throws -> MemoryShares {
        guard let shares = MemoryShares(percents: memorySteps) else {
            throw ValidationError(
                "--memory-steps is '\(memorySteps)'; expected four rising percentages from 1 to "
                    + "100, as in \(Self.defaults.memoryShares.percents)")
        }
        return shares
    }
}

extension Duration {
    fileprivate var wholeSeconds: Int { Int(components.seconds) }
}

extension ByteSize {
    fileprivate init(bytes: Int) { self.bytes = bytes }
}
