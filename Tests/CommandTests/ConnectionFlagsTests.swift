import AutoGLMServer
import Testing

@testable import AutoGLMCommand

/// Every limit that an operator may set has a flag with a range, and the flag arrives.
@Suite struct ConnectionFlagsTests {
    private static let flags = [
        ("--request-timeout", 1, 86_400), ("--header-timeout", 1, 3_600),
        ("--body-timeout", 1, 3_600), ("--idle-timeout", 1, 86_400),
        ("--write-timeout", 1, 3_600), ("--max-connections", 1, 1_000_000),
        ("--max-connections-per-address", 1, 1_000_000), ("--max-body-size", 1_024, 1 << 30),
        ("--keep-alive-interval", 1, 3_600), ("--stall-after", 1, 86_400),
        ("--body-total-timeout", 1, 86_400), ("--min-body-rate", 0, 1_000_000),
    ]

    @Test func withoutFlagsNothingChanges() throws {
        var options = ServerOptions()
        try Serve.parse([]).connections.apply(to: &options)
        let defaults = ServerOptions()
        #expect(options.requestTimeout == nil)
        #expect(options.headerTimeout == defaults.headerTimeout)
        #expect(options.bodyIdleTimeout == defaults.bodyIdleTimeout)
        #expect(options.idleTimeout == defaults.idleTimeout)
        #expect(options.writeStallTimeout == defaults.writeStallTimeout)
        #expect(options.connectionsMax == defaults.connectionsMax)
        #expect(options.connectionsPerAddressMax == defaults.connectionsPerAddressMax)
        #expect(options.bodyBytesMax == defaults.bodyBytesMax)
        #expect(options.keepAliveInterval == defaults.keepAliveInterval)
        #expect(options.stallAfter == defaults.stallAfter)
        #expect(options.bodyTotalTimeout == defaults.bodyTotalTimeout)
        #expect(options.bodyRateMin == defaults.bodyRateMin)
    }

    @Test func everyFlagArrives() throws {
        var options = ServerOptions()
        var words: [String] = []
        for (index, flag) in Self.flags.enumerated() { words += [flag.0, "\(2_001 + index)"] }
        try Serve.parse(words).connections.apply(to: &options)
        #expect(options.requestTimeout == .seconds(2_001))
        #expect(options.headerTimeout == .seconds(2_002))
        #expect(options.bodyIdleTimeout == .seconds(2_003))
        #expect(options.idleTimeout == .seconds(2_004))
        #expect(options.writeStallTimeout == .seconds(2_005))
        #expect(options.connectionsMax == 2_006)
        #expect(options.connectionsPerAddressMax == 2_007)
        #expect(options.bodyBytesMax == 2_008)
        #expect(options.keepAliveInterval == .seconds(2_009))
        #expect(options.stallAfter == .seconds(2_010))
        #expect(options.bodyTotalTimeout == .seconds(2_011))
        #expect(options.bodyRateMin == 2_012)
    }

    @Test(arguments: flags)
    func rangesAreChecked(flag: String, lower: Int, upper: Int) throws {
        for value in [lower, upper] { _ = try Serve.parse([flag, "\(value)"]) }
        for value in [lower - 1, upper + 1, Int.max] {
            #expect(throws: (any Error).self) { try Serve.parse([flag, "\(value)"]) }
        }
    }
}
