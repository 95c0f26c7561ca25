import AutoGLMScheduling
import Glibc
import Synchronization

/// One end of the socket between the two processes. Closed once nobody holds it.
final class FrameSocket: Sendable {
    let descriptor: Int32
    private static let noSignal = Int32(MSG_NOSIGNAL)
    private static let noWait = Int32(MSG_DONTWAIT)

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { _ = close(descriptor) }

    /// Ends both directions: whoever reads at either end comes back.
    func shut() { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Sends all of it, however long the other side takes.
    /// - Returns: false when there is no other side any more.
    func send(_ bytes: [UInt8]) -> Bool {
        var start = 0
        while start < bytes.count {
            let count = sendSome(bytes, from: start, flags: Self.noSignal)
            if count > 0 {
                start += count
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }

    /// Sends what fits now.
    /// - Returns: how much that was; nil when there is no other side any more.
    func sendAvailable(_ bytes: [UInt8]) -> Int? {
        let count = sendSome(bytes, from: 0, flags: Self.noSignal | Self.noWait)
        if count >= 0 { return count }
        return errno == EAGAIN || errno == EINTR ? 0 : nil
    }

    private func sendSome(_ bytes: [UInt8], from start: Int, flags: Int32) -> Int {
        unsafe bytes.withUnsafeBytes { bytes in
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[start...])
            return unsafe Glibc.send(
                descriptor, rest.baseAddress, rest.count, flags)
        }
    }

    /// Waits until something can be sent.
    func waitWritable(milliseconds: Int32) {
        var watched = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&watched, 1, milliseconds)
    }

    /// - Returns: bytes read behind `count` of `buffer`; 0 at the end, or when reading fails.
    func receive(into buffer: inout [UInt8], at offset: Int) -> Int {
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[offset...])
                return unsafe recv(descriptor, rest.baseAddress, rest.count, 0)
            }
            if count >= 0 { return count }
            guard errno == EINTR else { return 0 }
        }
    }
}

/// Reads frames off a socket. Its buffer grows with the longest frame that the table allows, and
/// shrinks again.
struct FrameReader: ~Copyable {
    private let socket: FrameSocket
    private let isForEngine: Bool
    private var buffer: [UInt8]
    private var start = 0
    private var end = 0
    private static let roomUsual = 64 << 10

    init(_ socket: FrameSocket, isForEngine: Bool) {
        self.socket = socket
        self.isForEngine = isForEngine
        buffer = Array(repeating: 0, count: Self.roomUsual)
    }

    /// The next frame; nil when the other side has closed the channel.
    /// - Throws: for bytes that are none. Nothing can be read after that.
    mutating func next() throws(WireError) -> EngineFrame? {
        guard try fill(5) else { return nil }
        var count = 0
        for index in 0..<4 { count |= Int(buffer[start + index]) << (8 * index) }
        guard count >= 1 else { throw WireError("a message without a kind") }
        // Before there is room for it.
        _ = try EngineFrame.kind(buffer[start + 4], byteCount: count, isForEngine: isForEngine)
        guard try fill(4 + count) else { return nil }
        let range = (start + 4)..<(start + 4 + count)
        start = range.upperBound
        let frame = try EngineFrame.read(buffer, range, isForEngine: isForEngine)
        if start == end {
            (start, end) = (0, 0)
            if buffer.count > Self.roomUsual {
                buffer = Array(repeating: 0, count: Self.roomUsual)
            }
        }
        return frame
    }

    /// Reads until there are so many bytes.
    /// - Returns: false at the end of the channel between two frames.
    private mutating func fill(_ count: Int) throws(WireError) -> Bool {
        while end - start < count {
            if buffer.count - start < count || start > Self.roomUsual / 2 { makeRoom(count) }
            let read = socket.receive(into: &buffer, at: end)
            guard read > 0 else {
                // The other side died in the middle of a message, or between two.
                return false
            }
            end += read
        }
        return true
    }

    private mutating func makeRoom(_ count: Int) {
        buffer.removeFirst(start)
        (start, end) = (0, end - start)
        let room = max(count, Self.roomUsual)
        if buffer.count < room { buffer += Array(repeating: 0, count: room - buffer.count) }
    }
}

/// What the engine's process has to say, kept until the front takes it.
///
/// The engine thread never waits for the front: it appends, and sends what the socket takes. What
/// is left goes out on another thread. When too much is left, sequences lose their output (they
/// fail), never the account of what has ended.
final class Outbox: Sendable {
    private struct State {
        var coder = WireCoder()
        /// Sequences whose output has been lost.
        var lost: Set<SequenceID> = []
    }

    private let socket: FrameSocket
    private let state = Mutex(State())
    private let bytesMax: Int

    /// - Parameter bytesMax: kept at most before output is lost.
    init(_ socket: FrameSocket, bytesMax: Int = 32 << 20) {
        self.socket = socket
        self.bytesMax = bytesMax
    }

    /// Adds a frame that has to arrive.
    func add(_ frame: EngineFrame) {
        state.withLock { state in
            do throws(WireError) { try frame.write(to: &state.coder) } catch {
                preconditionFailure("\(frame.kind): \(error)")
            }
        }
    }

    enum Room { case added, lostNow, lost }

    /// Adds a piece of a sequence's output, unless there is no room for it or was none before.
    func add(output frame: EngineFrame, of id: SequenceID) -> Room {
        state.withLock { state in
            if state.lost.contains(id) { return .lost }
            if state.coder.bytes.count < bytesMax {
                do throws(WireError) {
                    try frame.write(to: &state.coder)
                    return .added
                } catch {}
            }
            state.lost.insert(id)
            return .lostNow
        }
    }

    /// The sequence has ended.
    func forget(_ id: SequenceID) { state.withLock { _ = $0.lost.remove(id) } }

    /// Sends what the socket takes without waiting.
    /// - Returns: whether something is left.
    func flush() -> Bool {
        state.withLock { state in
            guard !state.coder.bytes.isEmpty else { return false }
            // Without another side, the process is about to end.
            let sent = socket.sendAvailable(state.coder.bytes) ?? state.coder.bytes.count
            state.coder.dropFirst(sent)
            return !state.coder.bytes.isEmpty
        }
    }
}
