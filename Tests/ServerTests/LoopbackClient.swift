import Foundation
import Glibc
import HTTPTypes
import Hummingbird

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

/// A client made of a bare socket: it can be slow, rude or gone.
///
/// Its calls block, so they run on threads of their own and never on the pool the server needs.
final class RawClient: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0 { throw POSIXError(.ECONNREFUSED) }
        self.descriptor = descriptor
    }

    func send(_ text: String) async {
        let bytes = Array(text.utf8)
        await blocking { descriptor in
            _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
    }

    private func blocking<Value: Sendable>(
        _ call: @escaping @Sendable (Int32) -> Value
    ) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [descriptor] in
                continuation.resume(returning: call(descriptor))
            }
        }
    }

    func post(_ path: String, _ body: String, headers: String = "") async {
        await send(
            "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }

    /// Reads until `text` appears or the server closes.
    func read(until text: String? = nil) async -> String {
        String(decoding: await readBytes(until: text), as: UTF8.self)
    }

    func readBytes(until text: String? = nil) async -> [UInt8] {
        await blocking { descriptor in
            var received: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count <= 0 { break }
                received += buffer[..<count]
                if let text, String(decoding: received, as: UTF8.self).contains(text) { break }
            }
            return received
        }
    }

    /// Leaves without a word.
    func leave() { Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }

    deinit { Glibc.close(descriptor) }
}
