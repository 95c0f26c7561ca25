#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif
import Synchronization

/// Raised once; whoever waits for it waits by the kernel's own clock.
///
/// A semaphore's timed wait ends at a time of day, and a clock set back by a day would make it last
/// for one: this one counts milliseconds that pass.
package final class Signal: Sendable {
    private let isSet = Atomic<Bool>(false)
    /// A pipe that becomes readable when its writing end is closed; -1 where there are no more
    /// descriptors, and then a wait lasts its time.
    private let reader: Int32
    private let writer: Atomic<Int32>

    package init() {
        var ends: [Int32] = [-1, -1]
        if unsafe pipe(&ends) == 0 {
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        } else {
            ends = [-1, -1]
        }
        reader = ends[0]
        writer = Atomic(ends[1])
    }

    package var isRaised: Bool { isSet.load(ordering: .acquiring) }

    package func raise() {
        isSet.store(true, ordering: .releasing)
        let end = writer.exchange(-1, ordering: .acquiringAndReleasing)
        if end >= 0 { _ = close(end) }
    }

    /// - Returns: whether it has been raised.
    package func wait(milliseconds: Int32) -> Bool {
        if isRaised { return true }
        var watched = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&watched, 1, milliseconds)
        return isRaised
    }

    deinit {
        raise()
        if reader >= 0 { _ = close(reader) }
    }
}
