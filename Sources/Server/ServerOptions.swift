import AutoGLMAPI
package import Logging

/// Everything a server can be told. The executable fills it from flags; tests set what they need.
package struct ServerOptions: Sendable {
    /// Interface to listen on.
    package var host = "127.0.0.1"
    /// 0 lets the system choose.
    package var port = 8000
    /// Bearer keys; without any, every local program may use the server.
    package var keys: [AccessKey] = []
    /// Allows listening to the network without keys.
    package var isInsecure = false
    /// Names under which clients may address this server, beside its own loopback names. Defends
    /// against web pages that rebind their name to 127.0.0.1.
    package var allowedHosts: [String] = []
    /// Further names under which requests may ask for the model.
    package var modelAliases: [String] = []
    package var version = "0.1.0"

    package var bodyBytesMax = RequestLimits.bodyBytes
    package var connectionsMax = 4_096
    package var connectionsPerAddressMax = 256
    package var headerTimeout: Duration = .seconds(10)
    package var bodyIdleTimeout: Duration = .seconds(30)
    /// Longest time for which a body is waited for.
    package var bodyTotalTimeout: Duration = .seconds(600)
    /// Bytes per second that a client must send of a body, or read of an answer; 0 for any speed.
    package var bodyRateMin = 512
    package var idleTimeout: Duration = .seconds(75)
    package var writeStallTimeout: Duration = .seconds(30)
    /// Longest time a request may take in all; nil leaves that to the client and its patience.
    package var requestTimeout: Duration?
    /// Streams that are silent this long get a comment line, or proxies close them.
    package var keepAliveInterval: Duration = .seconds(15)
    /// Time streams have to finish once the process is told to stop.
    package var drainTimeout: Duration = .seconds(30)
    /// `/readyz` fails when the engine has given no sign of life for this long.
    package var stallAfter: Duration = .seconds(2)

    /// Time after binding within which a model may be loaded, or found broken, unseen by clients.
    package var settleTime: Duration = .seconds(1)
    /// How often the loading of a model is logged; nil where something else shows it.
    package var loadingLogInterval: Duration? = .seconds(5)

    /// Threads that read long requests; half of the cores by default.
    package var textThreads: Int?
    /// Bytes this process may take beside the model; what is free by default.
    package var memoryMax: Int?
    package var memoryShares = MemoryShares()

    /// Tells the service manager how the process does, where one has asked.
    package var notifier: ServiceNotifier?

    /// Called with the port once the server accepts connections.
    package var onListening: (@Sendable (Int) -> Void)?
    /// Whether SIGTERM and SIGINT end the server; tests and embedders say no.
    package var handlesSignals = true
    package var logger = Logger(label: "autoglm.server")

    package init() {}

    package static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host == "[::1]" || host.hasPrefix("127.")
    }

    /// Refuses combinations that would open the machine to strangers.
    package func validate() throws(ServerOptionsError) {
        if !Self.isLoopback(host), keys.isEmpty, !isInsecure { throw .openToNetwork(host: host) }
        for key in keys where !(8...512).contains(key.length) {
            throw .badKey(bytes: key.length)
        }
        guard (0...65_535).contains(port) else { throw .badPort(port) }
    }
}

package enum ServerOptionsError: Error, Equatable, CustomStringConvertible {
    case openToNetwork(host: String)
    case badKey(bytes: Int)
    case badPort(Int)

    package var description: String {
        switch self {
        case .openToNetwork(let host):
            "Listening on \(host) without keys would let anyone on the network use this server. "
                + "Give keys with --api-key, listen on 127.0.0.1, or say --insecure."
        case .badKey(let bytes):
            "An API key has \(bytes) bytes; it must have 8 to 512."
        case .badPort(let port):
            "Port \(port) is not between 0 and 65535."
        }
    }
}
