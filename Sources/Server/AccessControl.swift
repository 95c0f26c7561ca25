import AutoGLMAPI
import HTTPTypes
import Hummingbird
import HummingbirdCore

/// The keys that open the API.
struct KeyRing: Sendable {
    private let keys: [[UInt8]]

    init(_ keys: [String]) {
        self.keys = keys.map { Array($0.utf8) }
    }

    /// - Parameter authorization: the request's `Authorization` header.
    /// - Returns: the caller's tenant: which key, never the key; empty where there are no keys.
    func tenant(_ authorization: String?) throws(APIError) -> String {
        if keys.isEmpty { return "" }
        let scheme = "bearer "
        guard let authorization, authorization.lowercased().hasPrefix(scheme) else {
            throw Self.refusal("Send 'Authorization: Bearer KEY'.")
        }
        let given = Array(authorization.utf8.dropFirst(scheme.utf8.count))
        var known: Int?
        // Every key is compared, in full, so that the time says nothing about which bytes match.
        for (index, key) in keys.enumerated() where Self.isEqual(key, given) { known = index }
        guard let known else { throw Self.refusal("The API key is not one of this server's.") }
        return "key-\(known)"
    }

    /// Compares in a time that depends on the lengths alone.
    static func isEqual(_ key: [UInt8], _ given: [UInt8]) -> Bool {
        var difference = UInt8(key.count == given.count ? 0 : 1)
        for index in key.indices {
            difference |= key[index] ^ (index < given.count ? given[index] : 0)
        }
        return difference == 0
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
