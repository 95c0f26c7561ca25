import Glibc

/// The datagrams of sd_notify(3), to a service manager such as systemd.
package struct ServiceNotifier: Sendable {
    /// A path, or after `@` a name in the abstract namespace.
    private let address: [UInt8]
    /// The manager ends a process that it has not heard from for this long.
    package var watchdog: Duration?
    /// The manager hears nothing any more once the engine has been silent for this long.
    package var patience: Duration = .seconds(10)

    package init(socket: String) throws(ServiceNotifierError) {
        var address = Array(socket.utf8)
        let room = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1
        guard let first = address.first, first == UInt8(ascii: "/") || first == UInt8(ascii: "@"),
            address.count > 1, address.count <= room
        else { throw ServiceNotifierError(socket: socket, room: room) }
        if first == UInt8(ascii: "@") { address[0] = 0 }
        self.address = address
    }

    /// Sends it, or loses it: a manager that does not listen must not hold up the process.
    package func send(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { _ = close(descriptor) }
        var target = sockaddr_un()
        target.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &target.sun_path) { path in
            unsafe path.copyBytes(from: address)
        }
        let length = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + address.count
        let text = Array(lines.joined(separator: "\n").utf8)
        unsafe withUnsafePointer(to: &target) { target in
            unsafe target.withMemoryRebound(to: sockaddr.self, capacity: 1) { target in
                unsafe text.withUnsafeBytes { bytes in
                    _ = unsafe sendto(
                        descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL),
                        target, socklen_t(length))
                }
            }
        }
    }
}

package struct ServiceNotifierError: Error, Equatable, CustomStringConvertible {
    let socket: String
    let room: Int

    package var description: String {
        "NOTIFY_SOCKET is '\(socket)'; expected a path or @name of at most \(room) bytes. Unset it "
            + "where no service manager listens."
    }
}
