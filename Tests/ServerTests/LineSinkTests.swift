import Glibc
import Logging
import Testing

@testable import AutoGLMObservability

/// Writing log lines cannot hurt, wherever they go.
@Suite(.serialized) struct LineSinkTests {
    private static let line = String(repeating: "x", count: 999) + "\n"

    private func makePipe() -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        return (ends[0], ends[1])
    }

    /// What is there by now.
    private func contents(_ descriptor: Int32) -> String {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count <= 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }

    /// Takes all the room of a pipe.
    private func fill(_ descriptor: Int32) -> String {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        defer { _ = fcntl(descriptor, F_SETFL, 0) }
        var count = 0
        while write(descriptor, "-", 1) == 1 { count += 1 }
        return String(repeating: "-", count: count)
    }

    private func total(_ sink: LineSink) -> Int { sink.lost.values.reduce(0, +) }

    @Test func linesComeInOrder() {
        let ends = makePipe()
        defer { close(ends.read); close(ends.write) }
        let sink = LineSink(ends.write)
        for number in 0..<100 { sink.write("line \(number)\n") }
        sink.flush(within: .seconds(30))
        #expect(contents(ends.read) == (0..<100).map { "line \($0)\n" }.joined())
        #expect(total(sink) == 0)
        #expect(sink.bytesHeld == 0)
    }

    /// Every line is written or counted, the memory of those that wait is bounded, and nobody
    /// waits; once it is read, what is missing is told in the place where it is missing.
    @Test func aReaderThatStopsLosesLinesOnly() async throws {
        let ends = makePipe()
        defer { close(ends.read); close(ends.write) }
        // From the beginning: else what is lost may be missing in more than one place.
        let filling = fill(ends.write)
        let sink = LineSink(ends.write, capacity: 100_000)
        sink.onLoss { "lost \($0[.stalled] ?? 0) of \($0.count) kind\n" }
        let start = ContinuousClock.now
        for _ in 0..<2_000 { sink.write(Self.line) }
        sink.flush(within: .milliseconds(50))
        #expect(ContinuousClock.now - start < .seconds(5))
        let lost = total(sink)
        #expect((1_800..<1_950).contains(lost))
        #expect(sink.lost.keys.elementsEqual([.stalled]))
        #expect(sink.bytesHeld <= 100_000)

        var text = ""
        let written = 2_000 - lost
        let end = ContinuousClock.now + .seconds(30)
        while !text.contains("kind\n"), ContinuousClock.now < end {
            text += contents(ends.read)
            try await Task.sleep(for: .milliseconds(5))
        }
        sink.write("again\n")
        sink.flush(within: .seconds(30))
        text += contents(ends.read)
        let expected = filling + String(repeating: Self.line, count: written)
            + "lost \(lost) of 1 kind\nagain\n"
        #expect(text == expected)
        #expect(total(sink) == lost)
        #expect(sink.bytesHeld == 0)
    }

    /// Each way in which the system refuses a line: it is counted under its own reason, and a
    /// sink that is mended takes lines again, after one that tells how many were lost.
    @Test(arguments: LineSink.Loss.allCases.filter { $0 != .stalled && $0 != .other })
    func refusedLinesAreCounted(reason: LineSink.Loss) {
        let bad = badDescriptor(reason)
        defer { close(bad) }
        let sink = LineSink(bad)
        sink.onLoss { "lost \(LineSink.summary($0))\n" }
        for _ in 0..<7 { sink.write(Self.line) }
        sink.flush(within: .seconds(30))
        #expect(sink.lost == [reason: 7])
        #expect(sink.bytesHeld == 0)
        let ends = makePipe()
        defer { close(ends.read); close(ends.write) }
        dup2(ends.write, bad)
        sink.write("again\n")
        sink.flush(within: .seconds(30))
        #expect(contents(ends.read) == "lost \(reason.rawValue) 7\nagain\n")
        #expect(sink.lost == [reason: 7])
    }

    private func badDescriptor(_ reason: LineSink.Loss) -> Int32 {
        switch reason {
        case .diskFull: return open("/dev/full", O_WRONLY)
        case .closed: return open("/dev/null", O_RDONLY)
        case .readerGone:
            let ends = makePipe()
            close(ends.read)
            return ends.write
        case .device:
            // A terminal that was hung up.
            let master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
            var locked: Int32 = 0
            var number: Int32 = 0
            _ = ioctl(master, UInt(0x4004_5431), &locked)  // TIOCSPTLCK
            _ = ioctl(master, UInt(0x8004_5430), &number)  // TIOCGPTN
            let slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
            close(master)
            return slave
        case .stalled, .other: return -1
        }
    }

    /// A line that was cut in the middle does not run into the next one.
    @Test func aCutLineEnds() async throws {
        let ends = makePipe()
        let sink = LineSink(ends.write, capacity: 1 << 20)
        sink.onLoss { "lost \($0.count)\n" }
        sink.write(String(repeating: "y", count: 200_000) + "\n")
        sink.flush(within: .milliseconds(100))
        let second = makePipe()
        close(ends.read)
        while sink.lost[.readerGone] == nil { try await Task.sleep(for: .milliseconds(5)) }
        dup2(second.write, ends.write)
        sink.write("z\n")
        sink.flush(within: .seconds(30))
        #expect(contents(second.read) == "\nlost 1\nz\n")
        for descriptor in [ends.write, second.read, second.write] { close(descriptor) }
    }

    /// Not even an empty buffer has room for it; the lines behind it are none the worse.
    @Test func aLineTooLongIsLost() {
        let ends = makePipe()
        defer { close(ends.read); close(ends.write) }
        let sink = LineSink(ends.write, capacity: 1_000)
        sink.onLoss { "lost \(LineSink.summary($0))\n" }
        sink.write(String(repeating: "x", count: 2_000) + "\n")
        sink.flush(within: .seconds(30))
        sink.write("next\n")
        sink.flush(within: .seconds(30))
        #expect(contents(ends.read) == "lost stalled 1\nnext\n")
    }

    /// The line that tells of lost ones has the form of the others.
    @Test(arguments: LineLogHandler.Format.allCases)
    func lossesAreLogged(format: LineLogHandler.Format) {
        let bad = badDescriptor(.diskFull)
        defer { close(bad) }
        let sink = LineSink(bad)
        let logger = Logger(label: "l") { LineLogHandler(label: $0, format: format, sink: sink) }
        for _ in 0..<3 { logger.info("m") }
        sink.flush(within: .seconds(30))
        let ends = makePipe()
        defer { close(ends.read); close(ends.write) }
        dup2(ends.write, bad)
        logger.info("m")
        sink.flush(within: .seconds(30))
        let text = contents(ends.read)
        let wanted = format == .json
            ? #""message":"log lines were lost","lines":3,"reasons":"disk_full 3""#
            : "WARNING log lines were lost lines=3 reasons=disk_full 3\n"
        #expect(text.contains(wanted), "\(text)")
        #expect(text.split(separator: "\n").count == 2)
    }
}
