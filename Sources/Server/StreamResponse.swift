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
            // Without the charset some clients read the bytes as Latin-1.
            .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache",
            .accelBuffering: "no",
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
