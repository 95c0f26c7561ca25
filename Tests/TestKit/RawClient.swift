import Foundation
import Glibc

/// A client made of a bare socket: it can be slow, rude or gone.
///
/// Its calls block, so they run on threads of their own and never on the pool the server needs.
public final class RawClient: Sendable {
    private let descriptor: Int32

    public init(port: Int) throws {
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

    public func send(_ text: String) async {
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

    public func post(_ path: String, _ body: String, headers: String = "") async {
        await send(
            "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }

    /// Reads until `text` appears or the server closes.
    public func read(until text: String? = nil) async -> String {
        String(decoding: await readBytes(until: text), as: UTF8.self)
    }

    public func readBytes(until text: String? = nil) async -> [UInt8] {
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

    /// Sends no more, and still reads.
    public func finishSending() { Glibc.shutdown(descriptor, Int32(SHUT_WR)) }

    /// Leaves without a word.
    public func leave() { Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }

    deinit { Glibc.close(descriptor) }
}
