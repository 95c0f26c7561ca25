import Foundation

/// Processor time of the calling thread: what work costs, however busy the machine is.
public struct ThreadClock {
    private let start = Self.now

    public init() {}

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    public var seconds: Double { Self.now - start }
    public var milliseconds: Double { seconds * 1000 }
}
