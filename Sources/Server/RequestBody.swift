import AutoGLMAPI
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// A body, and the memory that is held for it.
struct RequestBytes: Sendable {
    var bytes: [UInt8] = []
    let memory: MemoryReservation
}

/// Reads request bodies within their limit and the memory budget: while memory is short, nothing
/// is taken from the socket.
struct BodyReader: Sendable {
    let bytesMax: Int
    let budget: MemoryBudget
    let principal: String

    /// The whole body of a JSON request.
    /// - Throws: ``APIError``: 415 for another type or a compressed body, 413 before anything is
    ///   read when the declared length is too large, or as soon as the limit is passed.
    func read(_ request: Request) async throws -> RequestBytes {
        try checkHeaders(request)
        var body = RequestBytes(
            memory: try await budget.reserve(0, .bodies, principal: principal))
        if let length = request.headers[.contentLength].flatMap({ Int($0) }) {
            if length > bytesMax {
                throw APIError.bodyTooLarge(limit: bytesMax, given: length)
            }
            // Address space; memory comes with the bytes.
            body.bytes.reserveCapacity(length)
        }
        ClientConnection.current?.wantBody()
        for try await buffer in request.body {
            let more = buffer.readableBytes
            if body.bytes.count + more > bytesMax {
                throw APIError.bodyTooLarge(limit: bytesMax)
            }
            try await body.memory.grow(by: more)
            body.bytes.append(contentsOf: buffer.readableBytesView)
        }
        // A body that ends with its connection is not whole.
        if let reason = ClientConnection.current?.lossReason { throw reason }
        return body
    }

    private func checkHeaders(_ request: Request) throws(APIError) {
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            throw APIError(
                status: 415, kind: .invalidRequest,
                message: "Compressed bodies are not accepted. Send the JSON as it is.",
                code: "unsupported_content_encoding")
        }
        let type = request.headers[.contentType]?.prefix { $0 != ";" }
            .lowercased().filter { $0 != " " }
        // Insisting on the type keeps web pages from sending requests without asking first.
        guard type == "application/json" else {
            throw APIError(
                status: 415, kind: .invalidRequest,
                message: "Send the body as 'Content-Type: application/json'.",
                code: "unsupported_media_type")
        }
    }
}
