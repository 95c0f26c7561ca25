import AutoGLMAPI
import HTTPTypes
import Hummingbird
import HummingbirdCore

/// A key that opens the API, as a hash: the key itself is nowhere in memory for longer than it
/// takes to make one of these.
///
/// The salt is new in every process, so that what is found in its memory fits no other table.
package struct AccessKey: Sendable, Equatable {
    private static let salt: [UInt8] = (0..<SHA256.byteCount).map { _ in UInt8.random(in: 0...255) }

    private let hash: [UInt8]
    /// Bytes of the key.
    let length: Int

    package init(_ key: String) {
        self.init(key.utf8)
    }

    fileprivate init(_ key: some Collection<UInt8>) {
        hash = SHA256.hash(Self.salt + key)
        length = key.count
    }

    /// Compares in a time that does not depend on the keys.
    package static func == (left: AccessKey, right: AccessKey) -> Bool {
        var difference: UInt8 = 0
        for (a, b) in zip(left.hash, right.hash) { difference |= a ^ b }
        return difference == 0
    }
}

/// The keys that open the API.
struct KeyRing: Sendable {
    private let keys: [AccessKey]

    init(_ keys: [AccessKey]) {
        self.keys = keys
    }

    /// - Parameter authorization: the request's `Authorization` header.
    /// - Returns: the caller's tenant: which key, never the key; empty where there are no keys.
    func tenant(_ authorization: String?) throws(APIError) -> String {
        if keys.isEmpty { return "" }
        let scheme = "bearer "
        guard let authorization, authorization.lowercased().hasPrefix(scheme) else {
            throw Self.refusal("Send 'Authorization: Bearer KEY'.")
        }
        let given = AccessKey(authorization.utf8.dropFirst(scheme.utf8.count))
        var known: Int?
        // Every key is compared, so that the time does not say which one it was.
        for (index, key) in keys.enumerated() where key == given { known = index }
        guard let known else { throw Self.refusal("The API key is not one of this server's.") }
        return "key-\(known)"
    }

    private static func refusal(_ message: String) -> APIError {
        APIError(
            status: 401, kind: .authentication, message: message, code: "invalid_api_key")
    }
}

/// The names under which this server may be addressed.
///
/// A web page can point a name of its own at 127.0.0.1 and so reach a local server from a visitor's
/// browser; the name it must then send gives it away.
struct HostList: Sendable {
    private let names: Set<String>?

    init(_ options: ServerOptions) {
        var names = Set(options.allowedHosts.map { $0.lowercased() })
        if ServerOptions.isLoopback(options.host) || !names.isEmpty {
            names.formUnion(["localhost", "127.0.0.1", "[::1]", options.host.lowercased()])
            self.names = names
        } else {
            // On a network interface we cannot know our names; the keys protect us there.
            self.names = nil
        }
    }

    func check(_ request: Request) throws(APIError) {
        guard let names else { return }
        guard let authority = request.head.authority, !authority.isEmpty else {
            throw .invalid(nil, "The request has no Host header.", code: "host_missing")
        }
        if !names.contains(Self.name(authority)) { throw Self.refusal }
        guard let origin = request.headers[.origin] else { return }
        guard let separator = origin.firstRange(of: "://"),
            names.contains(Self.name(String(origin[separator.upperBound...])))
        else { throw Self.refusal }
    }

    private static let refusal = APIError(
        status: 403, kind: .permission,
        message: "This server does not answer under this name. Start it with --allowed-host to "
            + "add the name.",
        code: "host_not_allowed")

    /// The authority without its port, in lower case.
    static func name(_ authority: String) -> String {
        let text = authority.lowercased()
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            return String(text[...end])
        }
        return String(text.prefix { $0 != ":" })
    }
}
