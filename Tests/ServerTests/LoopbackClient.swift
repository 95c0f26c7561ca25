import Foundation
import HTTPTypes
import Hummingbird
import TestKit

/// A plain HTTP/1.1 client: one connection for each request, read to its end.
///
/// Not a library's, since the one that comes with Hummingbird builds a TLS stack with it.
struct LoopbackClient: Sendable {
    let port: Int

    func get(_ uri: String, headers: HTTPFields = [:]) async throws -> Answer {
        try await call(uri, .get, headers, nil)
    }

    func post(_ uri: String, _ body: String, headers: HTTPFields = [:]) async throws -> Answer {
        var headers = headers
        if headers[.contentType] == nil { headers[.contentType] = "application/json" }
        return try await call(uri, .post, headers, body)
    }

    func call(
        _ uri: String, _ method: HTTPRequest.Method, _ headers: HTTPFields, _ body: String?
    ) async throws -> Answer {
        var head = "\(method.rawValue) \(uri) HTTP/1.1\r\nHost: localhost\r\n"
        head += "Connection: close\r\n"
        for field in headers { head += "\(field.name.rawName): \(field.value)\r\n" }
        if let body { head += "Content-Length: \(body.utf8.count)\r\n" }
        let connection = try RawClient(port: port)
        await connection.send(head + "\r\n" + (body ?? ""))
        return try Self.parse(await connection.readBytes())
    }

    private static func parse(_ bytes: [UInt8]) throws -> Answer {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
            throw POSIXError(.ECONNRESET)
        }
        var lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
            .components(separatedBy: "\r\n")[...]
        let status = lines.popFirst()?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        var headers = HTTPFields()
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let name = HTTPField.Name(String(parts[0])) else { continue }
            headers.append(
                HTTPField(name: name, value: parts[1].trimmingCharacters(in: .whitespaces)))
        }
        var body = bytes[end.upperBound...]
        if headers[.transferEncoding] == "chunked" { body = joinedChunks(body) }
        return Answer(
            status: status ?? 0, headers: headers, text: String(decoding: body, as: UTF8.self))
    }

    private static func joinedChunks(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = bytes
        var body: ArraySlice<UInt8> = []
        while let end = rest.firstRange(of: [0x0D, 0x0A]) {
            let digits = String(decoding: rest[..<end.lowerBound], as: UTF8.self)
            guard let count = Int(digits, radix: 16), count > 0 else { break }
            body += rest[end.upperBound...].prefix(count)
            rest = rest[end.upperBound...].dropFirst(count + 2)
        }
        return body
    }

    func chat(_ extra: String = "") async throws -> Answer {
        let body = #"{"messages":[{"role":"user","content":"Hi"}]"# + extra + "}"
        return try await post("/v1/chat/completions", body)
    }
}
