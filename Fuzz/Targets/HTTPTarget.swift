import AutoGLMObservability
import Foundation
import Glibc
import Hummingbird
import Logging
import ServiceLifecycle
import Synchronization
import TestKit

@testable import AutoGLMServer

/// Bytes of one connection, in pieces, to the whole server with a scripted model: parser,
/// connection handler, routes. The first byte says how the bytes are cut. Whatever comes back is
/// HTTP from its first byte, and the connection ends once the client has said all.
let httpTarget = FuzzTarget("http", seeds: httpSeeds, words: httpWords) { bytes in
    guard let first = bytes.first else { return }
    let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(connection) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(FuzzServer.shared.port).bigEndian
    address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
    let isConnected = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
    // Out of ports: the next one will have some again.
    guard isConnected else {
        usleep(100_000)
        return
    }
    var patience = timeval(tv_sec: 4, tv_usec: 0)
    setsockopt(
        connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var rest = bytes.dropFirst()
    let piece = first < 128 ? rest.count : max(1, Int(first & 31))
    while !rest.isEmpty {
        let part = Array(rest.prefix(piece))
        if send(connection, part, part.count, Int32(MSG_NOSIGNAL)) <= 0 { break }
        rest = rest.dropFirst(part.count)
    }
    shutdown(connection, Int32(SHUT_WR))
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while answer.count < 1 << 20 {
        let count = recv(connection, &buffer, buffer.count, 0)
        if count == 0 || (count < 0 && errno != EAGAIN) { break }
        promise(count > 0, "a connection that the client has ended stays open")
        answer += buffer[..<count]
    }
    promise(
        answer.isEmpty || answer.starts(with: Array("HTTP/1.1 ".utf8)),
        "no HTTP: \(String(decoding: answer.prefix(80), as: UTF8.self).debugDescription)")
}

/// The server under attack, for as long as the process lives.
private final class FuzzServer: Sendable {
    static let shared = FuzzServer()
    let port: Int

    private init() {
        let ready = DispatchSemaphore(value: 0)
        let box = PortBox()
        Task.detached {
            let chat = try ScriptedChat(Script("Hello"))
            var options = ServerOptions()
            options.port = 0
            options.handlesSignals = false
            options.connectionsPerAddressMax = 4_096
            options.logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
            let server = try ModelServer(
                model: chat.model, options: options, metrics: ServerMetrics(version: "fuzz"))
            let application = server.application { port in
                box.port.withLock { $0 = port }
                ready.signal()
            }
            try await ServiceGroup(
                configuration: .init(services: [application], logger: options.logger)
            ).run()
        }
        _ = ready.wait(timeout: .now() + 60)
        port = box.port.withLock { $0 }
    }
}

private final class PortBox: Sendable {
    let port = Mutex(0)
}

private let chatBody = #"{"messages":[{"role":"user","content":"x"}],"max_tokens":4}"#
private let httpSeeds: [[UInt8]] = [
    "\0GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "\0POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Content-Length: \(chatBody.utf8.count)\r\n\r\n\(chatBody)",
    "\0POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"pro\r\nb\r\nmpt\": \"abc\"}\r\n0\r\nT: v\r\n\r\n",
    "\0GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /version HTTP/1.1\r\nHost: a\r\n\r\n",
    "\0POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Expect: 100-continue\r\nContent-Length: 44\r\n\r\n"
        + "{\"prompt\":\"a\",\"max_tokens\":2,\"stream\":true}\n",
    "\0OPTIONS * HTTP/1.0\r\n\r\n", "\0HEAD /metrics HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
].map { [0x85] + Array($0.utf8.dropFirst()) } + [
    [0] + Array("GET http://localhost/ping HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".utf8)
]

private let httpWords = [
    "\r\n", "\r\n\r\n", "\n", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "GET ", "POST ", "HEAD ", "CONNECT ",
    "Content-Length: 0\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n",
    "ffffffffffffffff\r\n", "Host: localhost\r\n", "Host: evil\r\n", "Connection: close\r\n",
    "Connection: keep-alive\r\n", "Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "/v1/models",
    "/v1/completions", "/metrics", "%00", "%2e%2e/", "?a=b&", "#", " : ", "\t", ";ext=\"", "\0",
    "Authorization: Bearer x\r\n", "x-deadline-ms: 1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "A: b\r\n c\r\n",
]
