import AutoGLMAPI
import NIOHTTP1

/// Makes a request's head of its lines, and says how its body ends.
struct HeadBuilder {
    static let methodBytesMax = 32

    private var method = HTTPMethod.GET
    private var version = HTTPVersion.http1_1
    /// In origin form.
    private var target = ""
    /// The authority of a target in absolute form.
    private var authority: String?
    private var fields = HTTPHeaders()

    init() {}

    /// - Throws: 400; 414 for a long target; 405 for CONNECT; 505 for another version.
    init(requestLine line: [UInt8], urlBytesMax: Int) throws(APIError) {
        let words = line.split(separator: .space, omittingEmptySubsequences: false)
        guard words.count == 3 else {
            throw .malformed("The request line is not 'METHOD TARGET HTTP/1.1'.")
        }
        guard (1...Self.methodBytesMax).contains(words[0].count),
            words[0].allSatisfy(\.isTokenByte)
        else { throw .malformed("The request's method is not a word.") }
        method = HTTPMethod(rawValue: String(decoding: words[0], as: UTF8.self))
        if words[1].count > urlBytesMax { throw .urlTooLong }
        version = try Self.version(words[2])
        // Printable ASCII; a fragment is never sent.
        guard words[1].allSatisfy({ $0 > .space && $0 < 0x7F && $0 != UInt8(ascii: "#") }) else {
            throw .malformed("The request's target holds bytes that must be escaped.")
        }
        try take(target: String(decoding: words[1], as: UTF8.self))
    }

    private static func version(_ word: ArraySlice<UInt8>) throws(APIError) -> HTTPVersion {
        if word.elementsEqual("HTTP/1.1".utf8) { return .http1_1 }
        if word.elementsEqual("HTTP/1.0".utf8) { return .http1_0 }
        guard word.count == 8, word.starts(with: "HTTP/".utf8), word[word.endIndex - 3].isDigit,
            word[word.endIndex - 2] == UInt8(ascii: "."), word[word.endIndex - 1].isDigit
        else { throw .malformed("The request line does not end with 'HTTP/1.1'.") }
        throw APIError(
            status: 505, kind: .invalidRequest,
            message: "This version of HTTP is not spoken here. Use HTTP/1.1.",
            code: "http_version_not_supported")
    }

    private mutating func take(target text: String) throws(APIError) {
        if method == .CONNECT {
            throw APIError(
                status: 405, kind: .invalidRequest, message: "This server is no proxy.",
                code: "method_not_allowed")
        }
        if text.hasPrefix("/") || (text == "*" && method == .OPTIONS) {
            target = text
            return
        }
        let lower = text.lowercased()
        guard let scheme = ["http://", "https://"].first(where: { lower.hasPrefix($0) }) else {
            throw .malformed("The request's target is neither a path nor an address.")
        }
        let rest = text.dropFirst(scheme.count)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let name = String(rest[..<end])
        guard !name.isEmpty, Self.isAuthority(name) else {
            throw .malformed("The request's target names no host.")
        }
        authority = name
        target = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
    }

    mutating func field(_ line: [UInt8]) throws(APIError) {
        let (name, value) = try Self.split(line)
        fields.add(name: name, value: value)
    }

    /// A field line's name and value.
    static func split(_ line: [UInt8]) throws(APIError) -> (String, String) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            line[..<colon].allSatisfy(\.isTokenByte)
        else { throw .malformed("A header line is not 'NAME: VALUE'.") }
        var value = line[(colon + 1)...]
        guard value.allSatisfy(\.isFieldByte) else {
            throw .malformed("A header's value holds control characters.")
        }
        while let first = value.first, first == .space || first == .tab { value.removeFirst() }
        while let last = value.last, last == .space || last == .tab { value.removeLast() }
        return (
            String(decoding: line[..<colon], as: UTF8.self), String(decoding: value, as: UTF8.self)
        )
    }

    /// The head is whole.
    /// - Throws: the refusal of a head that two readers could understand differently.
    mutating func finish() throws(APIError) -> (HTTPRequestHead, RequestParser.Framing) {
        try settleHost()
        let framing = try framing()
        if version == .http1_1,
            fields["expect"].contains(where: { $0.lowercased() != "100-continue" })
        {
            throw APIError(
                status: 417, kind: .invalidRequest,
                message: "The only Expect that can be met is '100-continue'.",
                code: "expectation_failed")
        }
        return (
            HTTPRequestHead(version: version, method: method, uri: target, headers: fields),
            framing
        )
    }

    /// Leaves exactly one Host: the name by which this server was addressed.
    private mutating func settleHost() throws(APIError) {
        let hosts = fields["host"]
        guard hosts.count <= 1 else {
            throw .malformed("The request has more than one Host header.")
        }
        if let host = hosts.first {
            guard host.isEmpty || Self.isAuthority(host) else {
                throw .malformed("The Host header is not a name with or without a port.")
            }
            if let authority, authority.lowercased() != host.lowercased() {
                throw .malformed("The request's target and its Host header name two hosts.")
            }
        } else if version == .http1_1 {
            throw .malformed("The request has no Host header.")
        } else {
            // HTTP/1.0 knows no Host. No browser speaks it, so nothing is given away.
            fields.add(name: "host", value: authority ?? "localhost")
        }
    }

    private func framing() throws(APIError) -> RequestParser.Framing {
        let codings = fields["transfer-encoding"]
        let lengths = fields["content-length"]
        if !codings.isEmpty {
            if version != .http1_1 {
                throw .malformed(
                    "Transfer-Encoding is newer than the request's version. Send a Content-Length.")
            }
            guard lengths.isEmpty else {
                throw .malformed("The request has both a Content-Length and a Transfer-Encoding.")
            }
            guard codings.count == 1, codings[0].lowercased() == "chunked" else {
                throw .malformed("The only Transfer-Encoding taken is 'chunked'.")
            }
            return .chunked
        }
        guard let length = lengths.first else { return .none }
        guard lengths.count == 1, !length.isEmpty, length.utf8.allSatisfy(\.isDigit) else {
            throw .malformed("The Content-Length is not one whole number.")
        }
        guard let count = Int(length) else {
            throw APIError(
                status: 413, kind: .invalidRequest,
                message: "The body is larger than any limit.", code: "body_too_large")
        }
        return .length(count)
    }

    /// Whether the text is a host with or without a port, and nothing that anyone could take for
    /// more.
    static func isAuthority(_ text: String) -> Bool {
        var host = Array(text.utf8)[...]
        if host.first == UInt8(ascii: "[") {
            guard let end = host.firstIndex(of: UInt8(ascii: "]")) else { return false }
            let inner = host[(host.startIndex + 1)..<end]
            guard !inner.isEmpty,
                inner.allSatisfy({
                    $0.hexadecimalValue != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".")
                })
            else { return false }
            host = host[(end + 1)...]
            return host.isEmpty || isPort(host)
        }
        let colon = host.firstIndex(of: UInt8(ascii: ":"))
        let name = host[..<(colon ?? host.endIndex)]
        guard !name.isEmpty,
            name.allSatisfy({ $0.isDigit || $0.isLetter || "-._~".utf8.contains($0) })
        else { return false }
        return colon.map { isPort(host[$0...]) } ?? true
    }

    private static func isPort(_ text: ArraySlice<UInt8>) -> Bool {
        text.first == UInt8(ascii: ":") && text.count <= 6 && text.dropFirst().allSatisfy(\.isDigit)
    }
}
