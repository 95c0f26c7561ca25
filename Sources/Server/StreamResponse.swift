import AutoGLMAPI
import AutoGLMChat
import AutoGLMEngine
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// Writes the events of a stream, several at a time.
struct EventWriter {
    var body: any ResponseBodyWriter

    /// Events gathered beyond this are sent before more are made: a reader that has fallen far
    /// behind must not make us hold its whole backlog as JSON.
    static let piece = 64 << 10

    /// ``flush(_:)`` when a good piece has gathered.
    @concurrent mutating func flushIfLarge(_ events: inout EventStream) async throws {
        if events.bytes.count >= Self.piece { try await flush(&events) }
    }

    /// Sends what has gathered, in one write, and waits until the socket can take more.
    @concurrent mutating func flush(_ events: inout EventStream) async throws {
        if events.isEmpty { return }
        try await body.write(ByteBuffer(bytes: events.bytes))
        events.reset()
    }
}

extension Response {
    static func json(_ bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// Tells the client which parts of its form say nothing about an answer: JSON pointers with
    /// commas between them, at most a kilobyte.
    mutating func note(annotations: [String]) {
        var text = ""
        for pointer in annotations {
            let next = (text.isEmpty ? "" : ", ") + pointer.utf8.map { byte in
                (0x21...0x7E).contains(byte) && byte != UInt8(ascii: ",")
                    ? String(UnicodeScalar(byte)) : "%" + String(byte, radix: 16, uppercase: true)
            }.joined()
            if text.utf8.count + next.utf8.count > 1_024 { break }
            text += next
        }
        if !text.isEmpty { headers[.grammarIgnored] = text }
    }

    /// A stream of events whose headers go out at once.
    ///
    /// When `write` throws, the client is told in one last event, without `[DONE]`: it can tell a
    /// broken answer from a whole one.
    static func events(
        _ generation: Generation,
        _ write: @escaping @concurrent @Sendable (inout EventWriter) async throws -> Void
    ) -> Response {
        let ticket = generation.ticket
        ticket?.take()
        let headers: HTTPFields = [
            .contentType: "text/event-stream", .cacheControl: "no-cache", .accelBuffering: "no",
        ]
        // Should the answer never be written, the ticket and the sequences must still end.
        let guardian = StreamGuardian(generation)
        let body = ResponseBody { body in
            defer { guardian.close(code: 499) }
            var writer = EventWriter(body: body)
            do {
                try await write(&writer)
                body = writer.body
                guardian.close(code: 200)
            } catch {
                let failure = generation.report(error)
                guardian.close(code: failure.status)
                if failure.status == 499 { throw error }
                var events = EventStream()
                events.failure(failure)
                try await writer.flush(&events)
                body = writer.body
            }
            try await body.finish(nil)
        }
        return Response(status: .ok, headers: headers, body: body)
    }
}

/// Ends a stream's sequences and its ticket when the response is dropped unwritten.
final class StreamGuardian: Sendable {
    private let generation: Generation

    init(_ generation: Generation) {
        self.generation = generation
    }

    func close(code: Int) { generation.ticket?.close(code: code) }

    deinit {
        generation.stream.abort()
        generation.ticket?.close(code: 499)
    }
}

extension RequestTicket {
    func note(_ usage: UsageReport) {
        noteTokens(
            prompt: usage.promptTokens, cached: usage.cachedTokens,
            completion: usage.completionTokens)
    }
}
