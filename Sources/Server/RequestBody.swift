import AutoGLMAPI
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// Reads request bodies within their limit.
struct BodyReader: Sendable {
    let bytesMax: Int

    /// The whole body of a JSON request.
    /// - Throws: ``APIError``: 415 for another type or a compressed body, 413 before anything is
    ///   read when the declared length is too large, or as soon as the limit is passed.
    func read(_ request: Request) async throws -> [UInt8] {
        try checkHeaders(request)
        var bytes: [UInt8] = []
        if let length = request.headers[.contentLength].flatMap({ Int($0) }) {
            if length > bytesMax {
                throw APIError.bodyTooLarge(limit: bytesMax, given: length)
            }
            bytes.reserveCapacity(length)
        }
        ClientConnection.current?.wantBody()
        for try await buffer in request.body {
            if bytes.count + buffer.readableBytes > bytesMax {
                throw APIError.bodyTooLarge(limit: bytesMax)
            }
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        // A body that ends with its connection is not whole.
        if let reason = ClientConnection.current?.lossReason { throw reason }
        return bytes
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
