import AutoGLMAPI
import AutoGLMChat
import AutoGLMObservability
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// What every request passes before its route and every answer after it: ids, host and key checks,
/// the drain switch, errors as JSON, metrics and the log line.
struct Gate: RouterMiddleware {
    let slot: ModelSlot
    let options: ServerOptions
    let state: ServerState
    let metrics: ServerMetrics
    let budget: MemoryBudget
    let keys: KeyRing
    let hosts: HostList

    func handle(
        _ request: Request, context: ServerContext,
        next: @concurrent (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.requestID = RequestIdentifier.from(request.headers[.requestID])
        let route = Route.matching(path: request.uri.path)
        let isWork = route?.isWork ?? false
        let entered = isWork && state.enter()
        let ticket = RequestTicket(
            onClose: closing(request, context, route: route, entered: entered))
        context.ticket = ticket

        var response: Response
        do {
            if isWork, !entered { throw APIError.draining }
            if isWork, budget.pressure >= .refuseWork { throw APIError.memoryShort }
            context.tenant = try check(request, route: route)
            // The key's number; the key itself is in no line at any level.
            if !context.tenant.isEmpty { ticket.note("key", "\(context.tenant)") }
            response = try await next(request, context)
        } catch {
            let answer = Self.answer(to: error, request: request, route: route)
            if answer.status == 500 {
                // The kind of error, never its text: that could quote a request.
                options.logger.error(
                    "request failed",
                    metadata: ["request": "\(context.requestID)", "error": "\(type(of: error))"])
            }
            if isWork, answer.status == 429 || answer.status == 503 {
                metrics.rejections.add(1, answer.code ?? "other")
            }
            response = Self.response(answer)
            if let loading = error as? ModelLoading {
                response.body = .init(byteBuffer: ByteBuffer(bytes: loading.body))
            }
            if answer.status == 405, let route {
                response.headers[.allow] = route.methods.map(\.rawValue).joined(separator: ", ")
            }
            if answer.endsConnection { response.headers[.connection] = "close" }
        }
        response.headers[.requestID] = context.requestID
        response.headers[.processingTime] = String(
            Int((ContinuousClock.now - context.arrival) / .milliseconds(1)))
        if !ticket.isTaken { ticket.close(code: response.status.code) }
        return response
    }

    /// Records the request once it is over.
    private func closing(
        _ request: Request, _ context: ServerContext, route: Route?, entered: Bool
    ) -> @Sendable (Int, Logger.Metadata) -> Void {
        let method = Self.label(request.method)
        let name = route?.rawValue ?? "other"
        let id = context.requestID
        let arrival = context.arrival
        let client = context.connection?.address
        let logger = options.logger
        return { [state, metrics, slot] code, details in
            if entered { state.leave() }
            let elapsed = ContinuousClock.now - arrival
            metrics.requests.add(1, method, name, String(code))
            metrics.requestDuration.observe(elapsed / .seconds(1), name)
            var line = details
            line["request"] = "\(id)"
            line["method"] = "\(method)"
            line["route"] = "\(name)"
            line["code"] = .stringConvertible(code)
            line["ms"] = .stringConvertible(Int(elapsed / .milliseconds(1)))
            if let client { line["client"] = "\(client)" }
            if entered, let model = slot.loaded { line["model"] = "\(model.name)" }
            let isQuiet = route.map { !$0.isWork } ?? false
            logger.log(level: isQuiet ? .debug : .info, "request", metadata: line)
        }
    }

    /// Methods as a bounded set of label values.
    private static func label(_ method: HTTPRequest.Method) -> String {
        switch method {
        case .get, .post, .put, .delete, .head, .options, .patch: method.rawValue
        default: "other"
        }
    }

    /// - Returns: the caller's tenant.
    private func check(_ request: Request, route: Route?) throws(APIError) -> String {
        try hosts.check(request)
        // Paths that do not exist are closed too: a stranger learns nothing about them.
        return route?.needsKey ?? true ? try keys.tenant(request.headers[.authorization]) : ""
    }

    private static func answer(to error: any Error, request: Request, route: Route?) -> APIError {
        switch error {
        case let error as APIError: error
        case let error as ModelLoading: error.answer
        case let error as HTTPError where error.status == .notFound:
            if let route, !route.methods.contains(request.method) {
                .wrongMethod(label(request.method), of: route)
            } else {
                .unknownPath(request.uri.path)
            }
        default: .internalError
        }
    }

    static func response(_ error: APIError) -> Response {
        var headers: HTTPFields = [.contentType: "application/json"]
        if let seconds = error.retryAfter { headers[.retryAfter] = String(seconds) }
        return Response(
            status: .init(code: error.status), headers: headers,
            body: .init(byteBuffer: ByteBuffer(bytes: error.body)))
    }
}

extension APIError {
    /// Whether the client's next request on this connection would be misread or unwelcome.
    fileprivate var endsConnection: Bool {
        switch status {
        case 401, 413, 415: true
        default: false
        }
    }
}

extension HTTPField.Name {
    static let requestID = HTTPField.Name("x-request-id")!
    static let processingTime = HTTPField.Name("openai-processing-ms")!
    static let accelBuffering = HTTPField.Name("X-Accel-Buffering")!
    static let deadline = HTTPField.Name("x-deadline-ms")!
    static let grammarIgnored = HTTPField.Name("x-grammar-ignored")!
    static let queueTimeout = HTTPField.Name("x-queue-timeout-ms")!
}

/// Ids that the server makes.
enum RequestIdentifier {
    /// The client's id when it is harmless, a new one otherwise. It is only ever echoed.
    static func from(_ header: String?) -> String {
        if let header, (1...RequestLimits.requestIDBytes).contains(header.utf8.count),
            header.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        {
            return header
        }
        return RandomID.make("req_")
    }
}
