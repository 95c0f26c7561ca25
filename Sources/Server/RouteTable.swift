import AutoGLMAPI
import HTTPTypes

/// The routes of the server: which exist, which need a key, which are work.
///
/// Routing, authentication, 405 answers and the labels of metrics all read this one table, and a
/// test walks it.
enum Route: String, CaseIterable, Sendable {
    case chatCompletions = "/v1/chat/completions"
    case completions = "/v1/completions"
    case models = "/v1/models"
    case model = "/v1/models/{id}"
    case tokenize = "/v1/tokenize"
    case detokenize = "/v1/detokenize"
    case health = "/health"
    case live = "/livez"
    case ready = "/readyz"
    case ping = "/ping"
    case version = "/version"
    case metrics = "/metrics"

    var method: HTTPRequest.Method {
        switch self {
        case .chatCompletions, .completions, .tokenize, .detokenize: .post
        case .models, .model, .health, .live, .ready, .ping, .version, .metrics: .get
        }
    }

    /// Every method the route answers: whatever can be got can be asked for its headers alone.
    var methods: [HTTPRequest.Method] { method == .get ? [.get, .head] : [method] }

    /// The path as the router wants it. Model names may contain slashes.
    var pattern: String {
        self == .model ? "/v1/models/**" : rawValue
    }

    /// Routes are closed unless they are listed here.
    var needsKey: Bool {
        switch self {
        case .health, .live, .ready, .ping, .version: false
        case .chatCompletions, .completions, .models, .model, .tokenize, .detokenize, .metrics:
            true
        }
    }

    /// Whether the route does work that a draining server refuses.
    var isWork: Bool { method == .post }

    static func matching(path: String) -> Route? {
        if let route = Route(rawValue: path), route != .model { return route }
        let prefix = "/v1/models/"
        return path.hasPrefix(prefix) && path.utf8.count > prefix.utf8.count ? .model : nil
    }
}

extension Route {
    /// The route that a path which is none was probably meant to be.
    static func nearest(to path: String) -> Route? {
        // Every row of the table is compared: a path longer than any of them costs nothing.
        guard path.utf8.count <= 64 else { return nil }
        var meant = path.lowercased()
        while meant.count > 1, meant.hasSuffix("/") { meant.removeLast() }
        let known = allCases.filter { $0 != .model }.map(\.rawValue)
        return nearestName(to: meant, in: known).flatMap { Route(rawValue: $0) }
    }
}

extension APIError {
    static func unknownPath(_ path: String) -> APIError {
        let hint: String
        if let route = Route.nearest(to: path) {
            hint = "Did you mean \(route.rawValue)?"
        } else {
            let routes = Route.allCases.map { "\($0.method.rawValue) \($0.rawValue)" }
            hint = "This server answers " + routes.joined(separator: ", ") + "."
        }
        return APIError(
            status: 404, kind: .notFound, message: "There is nothing at this address. \(hint)",
            code: "not_found")
    }

    /// - Parameter method: the method tried, as a word of ours.
    static func wrongMethod(_ method: String, of route: Route) -> APIError {
        let methods = route.methods.map(\.rawValue).joined(separator: " and ")
        return APIError(
            status: 405, kind: .invalidRequest,
            message: "\(route.rawValue) answers \(methods), not \(method).",
            code: "method_not_allowed")
    }
}
