import AutoGLMAPI
import NIOCore
import NIOHTTP1

/// Reads the requests of one connection from its bytes, as strictly as RFC 9112 allows.
///
/// A proxy before us reads the same bytes; where it could see one request and we two, the request
/// is refused. So nothing is repaired here: bare CR or LF, folded fields, white space before a
/// colon, a second length and every transfer coding but one `chunked` are errors, after which the
/// connection is of no more use.
///
/// Own code, since NIO's parser is lenient in some of these and hands on the next request before
/// the last one is answered. This one gives one part at a time and holds the bytes behind it.
struct RequestParser {
    struct Limits: Sendable {
        var headerBytes = RequestLimits.headerBytes
        var headerCount = RequestLimits.headerCount
        var urlBytes = RequestLimits.urlBytes
        var bodyBytes = RequestLimits.bodyBytes
        /// What chunk extensions of one request may add up to: they mean nothing to us.
        var extensionBytes = 16 << 10
    }

    /// How the end of a body is known.
    enum Framing: Equatable {
        case none
        case length(Int)
        case chunked
    }

    enum Event {
        case head(HTTPRequestHead, Framing)
        case body(ByteBuffer)
        case end
    }

    private enum State {
        case requestLine
        case fields
        /// Bytes of a body with a length that are still to come.
        case fixed(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailers
        case end
    }

    private let limits: Limits
    private var bytes = ByteBuffer()
    private var state = State.requestLine
    private var head = HeadBuilder()
    /// Bytes and fields of the head, or of the trailers.
    private var sectionBytes = 0
    private var sectionFields = 0
    private var extensionBytes = 0
    private var chunkedBytes = 0
    /// Empty lines skipped before the request.
    private var emptyLines = 0
    /// Bytes of an unfinished line that hold no line feed.
    private var searched = 0

    init(_ limits: Limits) {
        self.limits = limits
    }

    /// Bytes received and not yet made into parts.
    var heldBytes: Int { bytes.readableBytes }

    /// Whether a request is being read: some of it has come, but not its end.
    var isWithinRequest: Bool {
        if case .requestLine = state { return bytes.readableBytes > 0 && !isOnlyEmptyLine }
        return true
    }

    private var isOnlyEmptyLine: Bool {
        bytes.readableBytes == 1 && bytes.getInteger(at: bytes.readerIndex) == UInt8.carriageReturn
    }

    /// How much of the body has not come yet; nil where only its end will tell.
    var bodyBytesLeft: Int? {
        switch state {
        case .fixed(let left): left
        case .end, .requestLine: 0
        default: nil
        }
    }

    mutating func append(_ more: consuming ByteBuffer) {
        if bytes.readableBytes == 0 {
            bytes = more
        } else {
            bytes.writeBuffer(&more)
        }
    }

    /// The next part, or nil when more bytes are needed for it.
    mutating func next() throws(APIError) -> Event? {
        while true {
            switch state {
            case .requestLine:
                guard try readRequestLine() else { return nil }
            case .fields:
                guard let line = try readLine(), try !endsSection(line) else {
                    if case .fields = state { return nil }
                    return try finishHead()
                }
                try head.field(line)
            case .fixed(let left):
                guard let part = readPart(left) else { return nil }
                state = left > part.readableBytes ? .fixed(left - part.readableBytes) : .end
                return .body(part)
            case .chunkSize:
                if let part = readSmallChunks() { return .body(part) }
                guard let line = try readLine() else { return nil }
                try readChunkSize(line)
            case .chunk(let left):
                guard let part = readPart(left) else { return nil }
                state = left > part.readableBytes ? .chunk(left - part.readableBytes) : .chunkEnd
                return .body(part)
            case .chunkEnd:
                guard let end = bytes.readInteger(as: UInt16.self) else { return nil }
                guard end == 0x0D0A else { throw .malformed("A chunk is longer than its size.") }
                state = .chunkSize
            case .trailers:
                guard let line = try readLine() else { return nil }
                // Checked and dropped: nothing of a body may change what its head has said.
                if try !endsSection(line) { _ = try HeadBuilder.split(line) }
            case .end:
                state = .requestLine
                emptyLines = 0
                return .end
            }
        }
    }

    // MARK: Lines

    /// - Returns: false when more bytes are needed.
    private mutating func readRequestLine() throws(APIError) -> Bool {
        guard let line = try readLine() else { return false }
        if line.isEmpty {
            // Old clients put an empty line behind a body.
            emptyLines += 1
            sectionBytes = 0
            if emptyLines > 4 { throw .malformed("Empty lines stand before the request.") }
            return true
        }
        head = try HeadBuilder(requestLine: line, urlBytesMax: limits.urlBytes)
        sectionFields = 0
        state = .fields
        return true
    }

    /// Counts a line of a head or trailer section.
    /// - Returns: whether it is the empty one that ends the section.
    private mutating func endsSection(_ line: [UInt8]) throws(APIError) -> Bool {
        if line.isEmpty {
            sectionBytes = 0
            sectionFields = 0
            state = .end
            return true
        }
        sectionFields += 1
        if sectionFields > limits.headerCount { throw .headersTooLarge }
        return false
    }

    private mutating func finishHead() throws(APIError) -> Event {
        let (whole, framing) = try head.finish()
        head = HeadBuilder()
        chunkedBytes = 0
        extensionBytes = 0
        state =
            switch framing {
            case .none, .length(0): .end
            case .length(let count): .fixed(count)
            case .chunked: .chunkSize
            }
        return .head(whole, framing)
    }

    /// A whole line without its CRLF.
    private mutating func readLine() throws(APIError) -> [UInt8]? {
        let view = bytes.readableBytesView
        let start = view.startIndex
        let feed = view[(start + searched)...].firstIndex(of: .lineFeed)
        let count = (feed ?? view.endIndex) - start
        // A line ends the request when it is too long, not only once its end has come.
        try checkLine(bytes: count)
        guard feed != nil else {
            searched = count
            return nil
        }
        searched = 0
        guard count > 0, view[start + count - 1] == .carriageReturn else {
            throw .malformed("A line ends with a line feed alone; it must end with CR LF.")
        }
        let line = bytes.readBytes(length: count - 1) ?? []
        bytes.moveReaderIndex(forwardBy: 2)
        noteLine(bytes: count + 1)
        return line
    }

    private func checkLine(bytes lineBytes: Int) throws(APIError) {
        switch state {
        case .requestLine:
            if lineBytes > limits.urlBytes + HeadBuilder.methodBytesMax + 12 { throw .urlTooLong }
        case .fields, .trailers:
            if sectionBytes + lineBytes > limits.headerBytes { throw .headersTooLarge }
        default:
            if extensionBytes + lineBytes > limits.extensionBytes {
                throw .malformed(
                    "Chunk extensions are larger than \(limits.extensionBytes) bytes.")
            }
        }
    }

    private mutating func noteLine(bytes count: Int) {
        switch state {
        case .requestLine, .fields, .trailers: sectionBytes += count
        default: break
        }
    }

    // MARK: Bodies

    private mutating func readPart(_ left: Int) -> ByteBuffer? {
        let count = min(left, bytes.readableBytes)
        return count > 0 ? bytes.readSlice(length: count) : nil
    }

    /// Whole chunks below 4 KiB without extensions, all that are there: a body may come in chunks
    /// of one byte, and must not cost a hundred times what it costs in one.
    private mutating func readSmallChunks() -> ByteBuffer? {
        var joined = ByteBuffer()
        let room = limits.bodyBytes - chunkedBytes
        let used = unsafe bytes.withUnsafeReadableBytes { raw in
            var start = 0
            while true {
                var position = start
                var size = 0
                while position < min(raw.count, start + 3),
                    let digit = unsafe raw[position].hexadecimalValue
                {
                    size = size << 4 | digit
                    position += 1
                }
                let end = position + 2 + size
                // The rest, errors among it, is for the careful way.
                guard size > 0, size <= room - joined.readableBytes, end + 2 <= raw.count,
                    unsafe raw[position] == .carriageReturn && raw[position + 1] == .lineFeed
                        && raw[end] == .carriageReturn && raw[end + 1] == .lineFeed
                else { return start }
                let data = unsafe UnsafeRawBufferPointer(rebasing: raw[(position + 2)..<end])
                unsafe joined.writeBytes(data)
                start = end + 2
            }
        }
        if used == 0 { return nil }
        bytes.moveReaderIndex(forwardBy: used)
        chunkedBytes += joined.readableBytes
        // What was searched for the end of a line is gone.
        searched = 0
        return joined
    }

    private mutating func readChunkSize(_ line: [UInt8]) throws(APIError) {
        var size = 0
        var digits = 0
        while digits < line.count, let digit = line[digits].hexadecimalValue {
            // Sixteen digits are more than any body here; leading zeros only hide something.
            guard digits < 16 else { throw .malformed("A chunk's size has too many digits.") }
            size = size > limits.bodyBytes ? size : size << 4 | digit
            digits += 1
        }
        guard digits > 0 else { throw .malformed("A chunk has no size.") }
        let rest = line[digits...]
        // White space is allowed before an extension, and nowhere else.
        let mark = rest.first { $0 != .space && $0 != .tab }
        guard rest.isEmpty || mark == UInt8(ascii: ";"), rest.allSatisfy(\.isFieldByte) else {
            throw .malformed("A chunk's size is followed by something else.")
        }
        extensionBytes += rest.count
        if size > limits.bodyBytes - chunkedBytes { throw .bodyTooLarge(limit: limits.bodyBytes) }
        chunkedBytes += size
        state = size > 0 ? .chunk(size) : .trailers
    }
}

extension APIError {
    static func malformed(_ message: String) -> APIError {
        .invalid(nil, message, code: "malformed_request")
    }

    static func bodyTooLarge(limit: Int, given: Int? = nil) -> APIError {
        let size = given.map { " of \($0) bytes" } ?? ""
        return APIError(
            status: 413, kind: .invalidRequest,
            message: "The body\(size) is larger than the limit of \(limit) bytes.",
            code: "body_too_large")
    }

    static let urlTooLong = APIError(
        status: 414, kind: .invalidRequest,
        message: "The address is longer than \(RequestLimits.urlBytes) bytes.",
        code: "url_too_long")
    static let headersTooLarge = APIError(
        status: 431, kind: .invalidRequest,
        message: "The request's headers are larger than \(RequestLimits.headerBytes) bytes or "
            + "more than \(RequestLimits.headerCount).",
        code: "headers_too_large")
}

extension UInt8 {
    static let lineFeed = UInt8(ascii: "\n")
    static let carriageReturn = UInt8(ascii: "\r")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")

    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

    var isLetter: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20)
    }

    /// What a field's value, or a chunk's extension, may hold.
    var isFieldByte: Bool { self >= .space && self != 0x7F || self == .tab }

    /// What methods and field names are made of (RFC 9110, 5.6.2).
    var isTokenByte: Bool {
        isDigit || isLetter || "!#$%&'*+-.^_`|~".utf8.contains(self)
    }

    var hexadecimalValue: Int? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(self - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(self - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(self - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}
