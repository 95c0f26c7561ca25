import AutoGLMAPI
import NIOCore
import NIOHTTP1
import Synchronization
import TestKit
import Testing

@testable import AutoGLMServer

/// What is a request, and what is refused because someone else could read it differently.
@Suite struct RequestParserTests {
    /// Everything that comes of some bytes: heads, joined bodies, ends, and the error at last.
    private func parts(
        _ text: String, pieces: [Int] = [], _ limits: RequestParser.Limits = .init()
    ) -> [String] {
        var parser = RequestParser(limits)
        var parts: [String] = []
        var body = ""
        var rest = Array(text.utf8)[...]
        var pieces = pieces[...]
        while !rest.isEmpty {
            let piece = rest.prefix(pieces.popFirst() ?? rest.count)
            rest = rest.dropFirst(piece.count)
            parser.append(ByteBuffer(bytes: piece))
            do {
                while let event = try parser.next() {
                    switch event {
                    case .head(let head, let framing):
                        parts.append("\(head.method) \(head.uri) \(head.headers["host"]) \(framing)")
                    case .body(let bytes): body += String(buffer: bytes)
                    case .end:
                        parts.append("end \(body)")
                        body = ""
                    }
                }
            } catch {
                return parts + ["\(error.status)"]
            }
        }
        if parser.isWithinRequest { parts.append("more") }
        return parts
    }

    private static let good = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /x?y=1 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\nabc",
        "POST /x HTTP/1.1\r\nhost:[::1]:8\r\ntransfer-encoding: Chunked\r\n\r\n"
            + "2\r\nab\r\n0A ;q=\"x\"\r\n0123456789\r\n000\r\nTrailer: t\r\n\r\n",
        "HEAD http://a/b HTTP/1.1\r\nHost: A\r\nX: \t y z \t\r\nEmpty:\r\n\r\n",
    ]
    private static let goodParts = [
        "GET / [\"a\"] none", "end ", "POST /x?y=1 [\"a:80\"] length(3)", "end abc",
        "POST /x [\"[::1]:8\"] chunked", "end ab0123456789", "HEAD /b [\"A\"] none", "end ",
    ]

    @Test func requestsFollowOneAnother() {
        #expect(parts(Self.good.joined()) == Self.goodParts)
        #expect(parts(Self.good.joined(separator: "\r\n")) == Self.goodParts)
    }

    /// However the network cuts them.
    @Test func splitsDoNotMatter() {
        let text = Self.good.joined()
        let count = text.utf8.count
        #expect(parts(text, pieces: Array(repeating: 1, count: count)) == Self.goodParts)
        for split in 1..<count { #expect(parts(text, pieces: [split]) == Self.goodParts) }
        var random = SplitMix64(seed: 3)
        for _ in 0..<200 {
            let pieces = (0..<count).map { _ in Int.random(in: 1...9, using: &random) }
            #expect(parts(text, pieces: pieces) == Self.goodParts)
        }
    }

    @Test func chunksAndPiecesOfAnySize() {
        var random = SplitMix64(seed: 11)
        for _ in 0..<300 {
            var body = ""
            var chunks = ""
            for _ in 0..<Int.random(in: 1...30, using: &random) {
                let size = Int.random(in: 1...20, using: &random)
                let data = (0..<size).map { _ in
                    ["\r\n", "\n", "a", "1", ";", "0"].randomElement(using: &random)!
                }.joined()
                let mark = ["", "", ";x", " ;y=\"z\""].randomElement(using: &random)!
                chunks += String(data.utf8.count, radix: 16) + mark + "\r\n" + data + "\r\n"
                body += data
            }
            let text = Self.head + "Transfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n"
            let most = Int.random(in: 1...60, using: &random)
            let pieces = (0..<text.utf8.count).map { _ in Int.random(in: 1...most, using: &random) }
            #expect(parts(text + Self.good[0], pieces: pieces).dropFirst().first == "end \(body)")
        }
    }

    /// No prefix of a request is a whole one, and none is an error.
    @Test func prefixesWait() {
        for text in Self.good {
            for count in 1..<text.utf8.count {
                let seen = parts(String(text.utf8.prefix(count))!)
                #expect(seen.last == "more", "\(count) of \(text)")
            }
        }
    }

    private static let head = "POST / HTTP/1.1\r\nHost: a\r\n"

    @Test(arguments: [
        // The request line.
        "GET /\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\u{7F} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Line ends and folding.
        "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n",
        // Fields.
        head + "X : y\r\n\r\n", head + "X\r\n\r\n", head + ": y\r\n\r\n", head + "X: \0\r\n\r\n",
        head + "X\0: y\r\n\r\n", head + "X: \u{1}\r\n\r\n", head + "X(: y\r\n\r\n",
        // Host.
        "GET / HTTP/1.1\r\n\r\n", head + "Host: a\r\n\r\n", head + "Host: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        // Lengths.
        head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        head + "Content-Length: 1, 1\r\n\r\nx", head + "Content-Length: +1\r\n\r\nx",
        head + "Content-Length: -1\r\n\r\nx", head + "Content-Length: 0x1\r\n\r\nx",
        head + "Content-Length: 1 1\r\n\r\nx", head + "Content-Length:\r\n\r\nx",
        head + "Content-Length: ١\r\n\r\nx",
        // Transfer codings.
        head + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        head + "Transfer-Encoding: identity\r\n\r\n", head + "Transfer-Encoding:\r\n\r\n",
        head + "Transfer-Encoding: xchunked\r\n\r\n", head + "Transfer-Encoding: \"chunked\"\r\n\r\n",
        head + "Transfer-Encoding: chunked;q=1\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    func ambiguousHeadsAreRefused(text: String) {
        #expect(parts(text).last == "400")
        #expect(!parts(text).contains { $0.hasPrefix("end") })
    }

    @Test(arguments: [
        "\r\n", " 1\r\nx\r\n", "g\r\n", "0x1\r\nx\r\n", "-1\r\n", "1 \r\nx\r\n", "1;a\nx\r\n",
        "1\nx\r\n", "1\r\nxy\r\n", "1\r\nx\n0\r\n\r\n", "1 x\r\nx\r\n", "1;\u{0}\r\nx\r\n",
        "1;a\rb\r\nx\r\n", "00000000000000001\r\nx\r\n", "0\r\nX : y\r\n\r\n", "0\r\n y\r\n\r\n",
        "0\r\nX: y\n\r\n", "1\r\nx0\r\n\r\n",
    ])
    func ambiguousChunksAreRefused(chunks: String) {
        let seen = parts(Self.head + "Transfer-Encoding: chunked\r\n\r\n" + chunks)
        #expect(seen.last == "400")
        #expect(!seen.contains { $0.hasPrefix("end") })
    }

    /// Each limit at its value and one beyond.
    @Test func limitsHold() {
        var limits = RequestParser.Limits()
        limits.bodyBytes = 1_000
        func last(_ text: String) -> String? { parts(text, limits).last }
        let chunked = Self.head + "Transfer-Encoding: chunked\r\n\r\n"
        #expect(last(chunked + "3e8\r\n") == "more")
        for size in ["3e9", "ffffffffffffffff", "7fffffffffffffff", "8000000000000000"] {
            #expect(last(chunked + size + "\r\n") == "413")
        }
        let half = String(repeating: "x", count: 500)
        #expect(last(chunked + "1f4\r\n\(half)\r\n1f4\r\n\(half)\r\n0\r\n\r\n")?.hasPrefix("end") == true)
        #expect(last(chunked + "1f4\r\n\(half)\r\n1f5\r\n") == "413")
        for length in ["9223372036854775808", String(repeating: "9", count: 60)] {
            #expect(last(Self.head + "Content-Length: \(length)\r\n\r\n") == "413")
        }
        func fields(_ count: Int) -> String {
            Self.head + String(repeating: "a: b\r\n", count: count - 1) + "\r\n"
        }
        #expect(last(fields(100)) == "end ")
        #expect(last(fields(101)) == "431")
        func target(_ count: Int) -> String {
            "GET /" + String(repeating: "x", count: count - 1) + " HTTP/1.1\r\nHost: a\r\n\r\n"
        }
        #expect(last(target(8_192)) == "end ")
        #expect(last(target(8_193)) == "414")
        // Refused as they come, not once they are whole.
        #expect(last("GET /" + String(repeating: "x", count: 9_000)) == "414")
        #expect(last(Self.head + "X: " + String(repeating: "y", count: 33_000)) == "431")
        #expect(last(Self.head + String(repeating: "a: bcdefgh\r\n", count: 80)) == "more")
        #expect(last(chunked + "0\r\n" + String(repeating: "a: b\r\n", count: 101)) == "431")
        #expect(last(chunked + "1;" + String(repeating: "y", count: 17_000)) == "400")
        #expect(last(chunked + String(repeating: "1;yyyyyy\r\nx\r\n", count: 900)) == "more")
        let extensions = String(repeating: "1;" + String(repeating: "y", count: 200), count: 1)
        #expect(last(chunked + String(repeating: extensions + "\r\nx\r\n", count: 90)) == "400")
    }

    private func parts(_ text: String, _ limits: RequestParser.Limits) -> [String] {
        parts(text, pieces: [], limits)
    }

    /// A chunk costs little more than its bytes, however small it is.
    @Test func tinyChunksAreCheap() throws {
        let count = 1_000_000
        var parser = RequestParser(.init())
        parser.append(ByteBuffer(string: Self.head + "Transfer-Encoding: chunked\r\n\r\n"))
        parser.append(ByteBuffer(string: String(repeating: "1\r\nx\r\n", count: count)))
        parser.append(ByteBuffer(string: "0\r\n\r\n"))
        let clock = ThreadClock()
        var bytes = 0
        var parts = 0
        while let event = try parser.next() {
            parts += 1
            if case .body(let part) = event { bytes += part.readableBytes }
        }
        #expect(bytes == count && parts < 10)
        #expect(clock.seconds < 1)
    }

    @Test(arguments: [
        ("PRI * HTTP/2.0\r\n\r\n", "505"), ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (head + "Expect: 200-ok\r\n\r\n", "417"),
    ])
    func whatCannotBeMet(text: String, status: String) {
        #expect(parts(text) == [status])
    }
}

@Suite struct BodyPaceTests {
    private func pace(rate: Int) -> BodyPace {
        BodyPace(.init(idle: .seconds(30), total: .seconds(600), bytesPerSecond: rate))
    }

    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    /// One byte every ten seconds is never idle, and must end all the same.
    @Test func trickledBodiesEnd() throws {
        var pace = pace(rate: 512)
        var now = start
        var isLate = false
        for _ in 0..<10 where !isLate {
            pace.wait(from: now)
            now = now + .seconds(10)
            isLate = try #require(pace.deadline) <= now
            pace.received(1, at: now)
        }
        #expect(isLate)
        #expect(now - start <= .seconds(40))
    }

    @Test func steadyBodiesHaveTheTotalTime() throws {
        var pace = pace(rate: 512)
        var now = start
        while now - start < .seconds(595) {
            pace.wait(from: now)
            now = now + .seconds(5)
            #expect(try #require(pace.deadline) > now)
            pace.received(3_000, at: now)
        }
        pace.wait(from: now)
        #expect(try #require(pace.deadline) <= start + .seconds(600))
    }

    /// Time in which we do not read is not the client's.
    @Test func ourOwnDelaysDoNotCount() throws {
        var pace = pace(rate: 512)
        pace.wait(from: start)
        pace.received(100, at: start + .seconds(20))
        #expect(pace.deadline == nil)
        pace.wait(from: start + .hours(1))
        #expect(try #require(pace.deadline) == start + .hours(1) + .seconds(10))
    }
}

@Suite struct ConnectionCensusTests {
    private final class Evicted: Sendable {
        let names = Mutex<[String]>([])
    }

    @Test func limitsHoldAndPlacesComeBack() {
        let census = ConnectionCensus(.init(total: 3, perAddress: 2, health: 2))
        let evicted = Evicted()
        func enter(_ address: String, _ name: String = "") -> (Int, Int) {
            let (id, admission) = census.enter(address) { _ in
                evicted.names.withLock { $0.append(name) }
            }
            return switch admission {
            case .served: (id, 200)
            case .healthOnly(let error): (id, error.status)
            }
        }
        func names() -> [String] { evicted.names.withLock { $0 } }
        let a = enter("a")
        #expect(a.1 == 200 && enter("a").1 == 200)
        let first = enter("a", "first")
        #expect(first.1 == 429)
        #expect(enter("b").1 == 200)
        #expect(enter("c", "second").1 == 503)
        #expect(census.total == 5 && names().isEmpty)
        // The oldest has to go, again and again.
        #expect(enter("d", "third").1 == 503)
        #expect(names() == ["first"])
        census.leave(first.0)
        #expect(enter("d").1 == 503)
        #expect(names() == ["first", "second"])
        #expect(census.total == 5)
        census.leave(a.0)
        #expect(enter("a").1 == 200)
    }

    @Test func theKernelsLimitIsKept() {
        var options = ServerOptions()
        options.connectionsMax = 4_096
        #expect(
            ConnectionCensus.Limits(options, descriptors: 20_000, used: 30)
                == .init(total: 4_096, perAddress: 256, health: 64))
        let low = ConnectionCensus.Limits(options, descriptors: 256, used: 30)
        #expect(low.total + low.health + 30 + DescriptorLimit.margin == 256)
        #expect(low.health >= 2 && low.total > low.health)
        let none = ConnectionCensus.Limits(options, descriptors: 40, used: 39)
        #expect(none.total > 0 && none.health > 0)
    }
}
