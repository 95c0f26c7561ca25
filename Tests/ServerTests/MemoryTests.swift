import AutoGLMAPI
import Foundation
import Synchronization
import TestKit
import Testing

@testable import AutoGLMEngine
@testable import AutoGLMServer

@Suite struct MemoryTests {
    private static let mebibyte = 1 << 20

    // MARK: Limits

    /// Own group, its parents and, in a container, a mount that shows the group as its root.
    @Test func groupsAndTheirParents() {
        let legacy = MemoryLimits(
            cgroup: "12:cpu,cpuacct:/x\n4:memory:/outer/inner\n0::/ignored",
            mounts: "31 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory")
        #expect(
            legacy.groups.map(\.limitFile) == [
                "/sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/outer/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ])
        let unified = MemoryLimits(
            cgroup: "0::/a/b\n", mounts: "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw")
        #expect(
            unified.groups.map(\.usageFile) == [
                "/sys/fs/cgroup/a/b/memory.current", "/sys/fs/cgroup/a/memory.current",
                "/sys/fs/cgroup/memory.current",
            ])
        let container = MemoryLimits(
            cgroup: "0::/docker/abc\n",
            mounts: "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw")
        #expect(container.groups.map(\.limitFile) == ["/sys/fs/cgroup/memory.max"])
        #expect(MemoryLimits(cgroup: "", mounts: "").available() > 0)
    }

    // MARK: Balance

    @Test func untouchedBlocksAreNotRoom() {
        var balance = MemoryBalance(roomMax: nil)
        var sample = MemorySample(resident: 100, available: 1_000, cache: 400, cacheTouched: 0)
        for key in [\MemorySample.resident, \.available, \.cache] {
            sample[keyPath: key] *= Self.mebibyte
        }
        balance.calibrate(sample)
        #expect(balance.room == 600 * Self.mebibyte)
        // Blocks that fill are no request's memory.
        sample.resident += 300 * Self.mebibyte
        sample.cacheTouched = 300 * Self.mebibyte
        sample.available -= 300 * Self.mebibyte
        #expect(balance.share(sample) == 0)
        sample.resident += 540 * Self.mebibyte
        sample.available -= 540 * Self.mebibyte
        #expect(abs(balance.share(sample) - 0.9) < 1e-9)
        // Others took what was left: what we hold is nearly all there is for us.
        sample.available = 110 * Self.mebibyte
        #expect(balance.share(sample) > 0.95)
    }

    @Test(arguments: [
        (0.5, MemoryBudget.Pressure.none), (0.85, .stopReading), (0.9, .shrinkCaches),
        (0.95, .refuseWork), (0.99, .closeIdle),
    ])
    func stepsInOrder(share: Double, step: MemoryBudget.Pressure) {
        #expect(MemoryBudget().observe(share: share) == step)
    }

    @Test func sharesAreRead() {
        #expect(MemoryShares(percents: "50,60,70,80")?.refuseWork == 0.7)
        #expect(MemoryShares().percents == "85,90,95,98")
        for bad in ["", "1,2,3", "50,40,60,70", "0,1,2,3", "50,60,70,101", "a,b,c,d", "1,,2,3,4", "10,20,30,"] {
            #expect(MemoryShares(percents: bad) == nil)
        }
    }

    // MARK: Reservations

    @Test func reservationsWaitAndReturn() async throws {
        // Bodies have a quarter of the room: 25 MiB; one principal half of that.
        let budget = MemoryBudget(room: 100 * Self.mebibyte, patience: .seconds(60))
        var first: MemoryReservation? = try await budget.reserve(
            12 * Self.mebibyte, .bodies, principal: "a")
        let second = try await budget.reserve(12 * Self.mebibyte, .bodies, principal: "b")
        #expect(budget.used(.bodies) == 24 * Self.mebibyte)
        let third = Task { try await budget.reserve(4 * Self.mebibyte, .bodies, principal: "c") }
        // A small one passes the large one that waits.
        _ = try await budget.reserve(1 << 10, .bodies, principal: "d")
        #expect(budget.used(.bodies) >= 24 * Self.mebibyte)
        first = nil
        _ = first
        _ = try await third.value
        withExtendedLifetime(second) {}
        await #expect(throws: APIError.tooLargeForMemory(
            needs: 26 * Self.mebibyte, limit: 25 * Self.mebibyte)
        ) {
            _ = try await budget.reserve(26 * Self.mebibyte, .bodies, principal: "e")
        }
    }

    /// A thousand connections of one client leave half of the bodies' memory to others.
    @Test func onePrincipalHasHalf() async throws {
        let budget = MemoryBudget(room: 64 * Self.mebibyte, patience: .milliseconds(50))
        var held: [MemoryReservation] = []
        await #expect(throws: APIError.memoryShort) {
            while true {
                held.append(try await budget.reserve(Self.mebibyte, .bodies, principal: "loud"))
            }
        }
        #expect(held.count == 8)
        _ = try await budget.reserve(Self.mebibyte, .bodies, principal: "quiet")
        held = []
        #expect(budget.used(.bodies) == 0)
    }

    @Test func waitingCanBeCancelled() async throws {
        let budget = MemoryBudget(room: 64 * Self.mebibyte, patience: .seconds(600))
        _ = budget.observe(share: 0.86)
        let task = Task { try await budget.reserve(1, .bodies, principal: "a") }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        // Pressure gone, whoever waits goes on.
        let other = Task { try await budget.reserve(1, .bodies, principal: "a") }
        try await Task.sleep(for: .milliseconds(20))
        _ = budget.observe(share: 0.5)
        #expect(try await other.value.bytesHeld == 1)
    }

    // MARK: Text pool

    /// One thread, two principals: a loud one with many jobs does not keep a quiet one waiting
    /// for all of them.
    @Test func turnsArePrincipals() async throws {
        let pool = TextPool(threads: 1)
        let order = Trace()
        let gate = DispatchSemaphore(value: 0)
        let blocker = Task { try await pool.run(principal: "loud") { gate.wait() } }
        try await Task.sleep(for: .milliseconds(50))
        var loud: [Task<Void, any Error>] = []
        for _ in 0..<6 {
            loud.append(
                Task {
                    try await pool.run(principal: "loud") {
                        for _ in 0..<3 {
                            order.add("loud")
                            await Task.yield()
                        }
                    }
                })
        }
        try await Task.sleep(for: .milliseconds(50))
        let quiet = Task {
            try await pool.run(principal: "quiet") {
                for _ in 0..<3 {
                    order.add("quiet")
                    await Task.yield()
                }
            }
        }
        try await Task.sleep(for: .milliseconds(50))
        gate.signal()
        try await blocker.value
        try await quiet.value
        for task in loud { try await task.value }
        let last = order.all.lastIndex(of: "quiet") ?? .max
        #expect(order.all.count == 21)
        #expect(last <= 8, "quiet's last slice came as number \(last) of 21")
    }

    /// A prompt that cannot fit is refused by its length, before it is encoded.
    @Test func hopelessPromptsAreRefusedAtOnce() async throws {
        let text = String(repeating: "word ", count: 400_000)
        try await TestServer().test { client in
            for (path, body) in [
                ("/v1/completions", #"{"prompt":"\#(text)"}"#),
                ("/v1/chat/completions", #"{"messages":[{"role":"user","content":"\#(text)"}]}"#),
            ] {
                let answer = try await client.post(path, body)
                #expect(answer.status == 400 && answer.code == "context_length_exceeded")
                #expect(answer.text.contains("at least"))
            }
        }
    }
}

private final class Trace: Sendable {
    private let entries = Mutex<[String]>([])
    func add(_ entry: String) { entries.withLock { $0.append(entry) } }
    var all: [String] { entries.withLock { $0 } }
}
