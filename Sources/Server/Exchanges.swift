import AutoGLMAPI
import NIOHTTP1

/// The requests of one connection that have been read and not yet answered, oldest first, and
/// what each one's version and `Connection` header mean for the bytes of its answer (RFC 9112).
struct Exchanges {
    private struct Exchange {
        /// The client may know neither chunks nor connections that stay open.
        var isBeforeHTTP11: Bool
        /// The answer's body is not sent, only what its head says of it.
        var isHead: Bool
        /// The connection ends with this answer.
        var closes: Bool
    }

    /// More than one when the client pipelines.
    private var open: [Exchange] = []

    var isEmpty: Bool { open.isEmpty }
    var count: Int { open.count }
    /// Whether nothing of the answer that is due next goes out after its head.
    var omitsBody: Bool { open.first?.isHead ?? false }
    /// Whether the request read last is the connection's last.
    var lastCloses: Bool { open.last?.closes ?? false }

    /// A request's head has been read.
    /// - Throws: the refusal of a head that two readers could understand differently.
    mutating func begin(_ head: HTTPRequestHead) throws(APIError) {
        let isBeforeHTTP11 = head.version.isBeforeHTTP11
        let codings = head.headers[canonicalForm: "transfer-encoding"].map { $0.lowercased() }
        if !codings.isEmpty, isBeforeHTTP11 {
            throw .malformed("HTTP/1.0 has no Transfer-Encoding. Send a Content-Length.")
        }
        guard codings.isEmpty || codings == ["chunked"] else {
            throw .malformed("The only Transfer-Encoding taken is 'chunked'.")
        }
        guard head.headers["host"].count <= 1 else {
            throw .malformed("The request has more than one Host header.")
        }
        let options = Self.connectionOptions(head.headers)
        open.append(
            Exchange(
                isBeforeHTTP11: isBeforeHTTP11, isHead: head.method == .HEAD,
                closes: options.contains("close")
                    || isBeforeHTTP11 && !options.contains("keep-alive")))
    }

    /// Makes the head of the answer due next say how its body ends and what becomes of the
    /// connection.
    mutating func frame(_ head: inout HTTPResponseHead) {
        guard let exchange = open.first else { return }
        let hasLength = head.headers.contains(name: "content-length")
        head.headers.remove(name: "transfer-encoding")
        if !head.status.mayHaveResponseBody {
            head.headers.remove(name: "content-length")
        } else if !hasLength, !exchange.isHead {
            if exchange.isBeforeHTTP11 {
                // Without a length and without chunks, only the close tells where the body ends.
                open[0].closes = true
            } else {
                head.headers.add(name: "Transfer-Encoding", value: "chunked")
            }
        }
        if Self.connectionOptions(head.headers).contains("close") { open[0].closes = true }
        if open[0].closes {
            head.headers.replaceOrAdd(name: "Connection", value: "close")
        } else if exchange.isBeforeHTTP11 {
            head.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
        }
    }

    /// The answer due next has been written.
    /// - Returns: whether the connection ends with it.
    mutating func end() -> Bool {
        open.isEmpty || open.removeFirst().closes
    }

    /// Nothing more will be read: the answers still due are the connection's last.
    mutating func closeAfterLast() {
        if !open.isEmpty { open[open.count - 1].closes = true }
    }

    /// Forgets the request read last, which never became whole.
    mutating func dropLast() {
        if !open.isEmpty { open.removeLast() }
    }

    /// The options of all `Connection` headers: comma lists without regard to case.
    private static func connectionOptions(_ headers: HTTPHeaders) -> [String] {
        headers[canonicalForm: "connection"].map { $0.lowercased() }
    }
}

extension HTTPVersion {
    /// Whether the client may know neither chunks nor `100 Continue`.
    var isBeforeHTTP11: Bool { major < 1 || (major == 1 && minor < 1) }
}

extension APIError {
    fileprivate static func malformed(_ message: String) -> APIError {
        .invalid(nil, message, code: "malformed_request")
    }
}
