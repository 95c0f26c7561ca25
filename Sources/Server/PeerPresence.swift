import Glibc
import NIOCore

/// Whether the program at the other end of a connection still has its socket.
///
/// A client that says that it sends no more has either shut down one direction and waits for its
/// answer, or has closed the socket and is gone: on the wire both are the same FIN, and only bytes
/// of ours would tell them apart. But when the client runs on this machine, its socket is in our
/// own kernel's table, which sock_diag(7) reads: a socket that was closed can no longer receive.
enum PeerPresence {
    /// - Returns: true when the peer is known to be gone; false when it is there, or elsewhere.
    static func hasLeft(_ channel: any Channel) -> Bool {
        guard let local = channel.localAddress, let remote = channel.remoteAddress,
            let localPort = local.port, let remotePort = remote.port,
            let localBytes = local.addressBytes, let remoteBytes = remote.addressBytes,
            localBytes.count == remoteBytes.count, isHere(remoteBytes, local: localBytes)
        else { return false }
        // The peer's socket: its source is our destination.
        let request = Self.request(
            isIPv6: localBytes.count == 16, source: (remoteBytes, remotePort),
            destination: (localBytes, localPort))
        guard let answer = ask(request) else { return false }
        return Self.isClosed(answer)
    }

    private static func isHere(_ remote: [UInt8], local: [UInt8]) -> Bool {
        if remote == local { return true }
        // 127.0.0.0/8; ::1 is the only one of its kind; IPv4 within IPv6 has its bytes at the end.
        if remote.count == 4 { return remote[0] == 127 }
        return remote == Array(repeating: 0, count: 15) + [1]
            || (remote.prefix(12) == Array(repeating: 0, count: 10) + [0xFF, 0xFF]
                && remote[12] == 127)
    }

    // MARK: The protocol: linux/sock_diag.h, linux/inet_diag.h

    private static let sockDiag: CInt = 4
    private static let byFamily: UInt16 = 20
    private static let shutdownAttribute: UInt16 = 8
    private static let inodeOffset = 16 + 68
    private static let attributesOffset = 16 + 72
    private static let receiveShutdown: UInt8 = 1

    private static func request(
        isIPv6: Bool, source: ([UInt8], Int), destination: ([UInt8], Int)
    ) -> [UInt8] {
        var bytes = ByteBuffer()
        bytes.writeInteger(UInt32(16 + 56), endianness: .host)
        bytes.writeInteger(byFamily, endianness: .host)
        bytes.writeInteger(UInt16(1), endianness: .host)  // NLM_F_REQUEST
        bytes.writeInteger(UInt64(0), endianness: .host)
        bytes.writeInteger(UInt8(isIPv6 ? AF_INET6 : AF_INET))
        bytes.writeInteger(UInt8(IPPROTO_TCP))
        bytes.writeInteger(UInt8(1 << (shutdownAttribute - 1)))
        bytes.writeInteger(UInt8(0))
        bytes.writeInteger(UInt32.max, endianness: .host)  // any state
        bytes.writeInteger(UInt16(truncatingIfNeeded: source.1))
        bytes.writeInteger(UInt16(truncatingIfNeeded: destination.1))
        for address in [source.0, destination.0] {
            bytes.writeBytes(address)
            bytes.writeRepeatingByte(0, count: 16 - address.count)
        }
        bytes.writeInteger(UInt32(0), endianness: .host)  // any interface
        bytes.writeInteger(UInt64.max, endianness: .host)  // no cookie
        return Array(bytes.readableBytesView)
    }

    /// One question to the kernel, which answers before `send` returns.
    private static func ask(_ request: [UInt8]) -> ByteBuffer? {
        let netlink = socket(
            AF_NETLINK, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), sockDiag)
        if netlink < 0 { return nil }
        defer { close(netlink) }
        guard unsafe send(netlink, request, request.count, 0) == request.count else { return nil }
        var answer = [UInt8](repeating: 0, count: 1_024)
        let count = unsafe recv(netlink, &answer, answer.count, Int32(MSG_DONTWAIT))
        return count > 0 ? ByteBuffer(bytes: answer.prefix(count)) : nil
    }

    /// Whether the answer describes a socket that can receive no more. An error, no socket of that
    /// kind among them, says nothing: the connection may be one of another network namespace.
    private static func isClosed(_ answer: ByteBuffer) -> Bool {
        guard answer.getInteger(at: 4, endianness: .host, as: UInt16.self) == byFamily,
            let length = answer.getInteger(at: 0, endianness: .host, as: UInt32.self),
            let inode = answer.getInteger(at: inodeOffset, endianness: .host, as: UInt32.self)
        else { return false }
        // Closed sockets live on for the rest of the protocol, without a file.
        if inode == 0 { return true }
        var offset = attributesOffset
        let end = min(Int(length), answer.readableBytes)
        while offset + 4 < end,
            let size = answer.getInteger(at: offset, endianness: .host, as: UInt16.self),
            let kind = answer.getInteger(at: offset + 2, endianness: .host, as: UInt16.self),
            size >= 4
        {
            if kind == shutdownAttribute,
                let state = answer.getInteger(at: offset + 4, as: UInt8.self)
            {
                return state & receiveShutdown != 0
            }
            offset += (Int(size) + 3) & ~3
        }
        return false
    }
}

extension SocketAddress {
    /// The address as it travels: 4 or 16 bytes.
    fileprivate var addressBytes: [UInt8]? {
        switch self {
        case .v4(let address):
            return unsafe withUnsafeBytes(of: address.address.sin_addr) { unsafe Array($0) }
        case .v6(let address):
            return unsafe withUnsafeBytes(of: address.address.sin6_addr) { unsafe Array($0) }
        case .unixDomainSocket: return nil
        }
    }
}
