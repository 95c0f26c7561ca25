import Glibc
import NIOCore

/// Why the port cannot be had, in the operator's words.
package enum ListenError: Error, Equatable, CustomStringConvertible {
    case taken(host: String, port: Int)
    case privileged(host: String, port: Int)
    case notOurAddress(host: String)
    case unknownHost(String)
    case other(host: String, port: Int, reason: String)

    /// nil when the error is none of binding.
    init?(_ error: any Error, host: String, port: Int) {
        switch error {
        case let error as IOError:
            switch error.errnoCode {
            case EADDRINUSE: self = .taken(host: host, port: port)
            case EACCES, EPERM: self = .privileged(host: host, port: port)
            case EADDRNOTAVAIL: self = .notOurAddress(host: host)
            default:
                let reason = unsafe String(cString: strerror(error.errnoCode))
                self = .other(host: host, port: port, reason: reason)
            }
        case is SocketAddressError.UnknownHost: self = .unknownHost(host)
        case let error as SocketAddressError:
            self = .other(host: host, port: port, reason: "\(error)")
        default: return nil
        }
    }

    package var description: String {
        switch self {
        case .taken(let host, let port):
            "port \(port) on \(host) is taken by another program; choose another with --port"
        case .privileged(let host, let port):
            "port \(port) on \(host) may only be opened with privileges that this program lacks; "
                + "choose one from 1024 up with --port"
        case .notOurAddress(let host):
            "this machine has no address \(host); choose one that it has with --host, such as "
                + "127.0.0.1"
        case .unknownHost(let host):
            "there is no host named \(host); give an address of this machine with --host, such as "
                + "127.0.0.1"
        case .other(let host, let port, let reason):
            "cannot listen on port \(port) of \(host): \(reason)"
        }
    }
}
