import NIOHTTP1

/// One request and its answer: what the request's version and `Connection` header mean for the
/// bytes of the answer (RFC 9112). A connection has one at a time.
struct Exchange {
    /// The client may know neither chunks nor connections that stay open.
    private let isBeforeHTTP11: Bool
    /// Only the answer's head is sent.
    let omitsBody: Bool
    /// The client waits for `100 Continue` before it sends its body.
    var awaitsContinue: Bool
    /// The connection ends with this answer.
    var closes: Bool
    /// The head of the answer has been written.
    private(set) var hasBegun = false
    /// The answer has been written to its end.
    var isAnswered = false

    init(_ head: HTTPRequestHead, framing: RequestParser.Framing) {
        isBeforeHTTP11 = head.version != .http1_1
        omitsBody = head.method == .HEAD
        awaitsContinue =
            !isBeforeHTTP11 && framing != .none && framing != .length(0)
            && head.headers.contains(name: "expect")
        let options = Self.connectionOptions(head.headers)
        closes =
            options.contains("close") || (isBeforeHTTP11 && !options.contains("keep-alive"))
    }

    /// Makes the head of the answer say how its body ends and what becomes of the connection.
    mutating func frame(_ head: inout HTTPResponseHead) {
        hasBegun = true
        let hasLength = head.headers.contains(name: "content-length")
        head.headers.remove(name: "transfer-encoding")
        if !head.status.mayHaveResponseBody {
            head.headers.remove(name: "content-length")
        } else if !hasLength, !omitsBody {
            if isBeforeHTTP11 {
                // Without a length and without chunks, only the close tells where the body ends.
                closes = true
            } else {
                head.headers.add(name: "Transfer-Encoding", value: "chunked")
            }
        }
        if Self.connectionOptions(head.headers).contains("close") { closes = true }
        if closes {
            head.headers.replaceOrAdd(name: "Connection", value: "close")
        } else if isBeforeHTTP11 {
            head.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
        }
    }

    /// The options of all `Connection` headers: comma lists without regard to case.
    private static func connectionOptions(_ headers: HTTPHeaders) -> [String] {
        headers[canonicalForm: "connection"].map { $0.lowercased() }
    }
}
