import AutoGLMChat
import AutoGLMEngine
import AutoGLMObservability
import Logging
import ServiceLifecycle

/// What one look at the process and its limits found, in bytes.
struct MemorySample: Sendable {
    /// Of the process, and of the engine's where that has its own; pages of files left out.
    var resident = 0
    /// That can still be taken.
    var available = 0
    /// KV blocks' memory in all, and how much of it has been touched so far.
    var cache = 0
    var cacheTouched = 0
    /// Requests under way, and bytes reserved for any.
    var isIdle = true
}

/// From samples to the share of the room in use.
///
/// The *room* is what was free when nothing was being done, less what untouched KV blocks will
/// still take. What the process has grown by since then, KV blocks aside, is in use.
struct MemoryBalance: Sendable {
    /// Bytes that an operator allows beside the model; nil is what is free.
    let roomMax: Int?
    private(set) var room = 0
    private var baseline = 0
    private var isMeasured = false

    init(roomMax: Int?) {
        self.roomMax = roomMax
    }

    /// Takes an idle process as the new starting point: what it holds then, it holds for good.
    mutating func calibrate(_ sample: MemorySample) {
        isMeasured = true
        baseline = sample.resident - sample.cacheTouched
        let left = sample.available - (sample.cache - sample.cacheTouched)
        room = max(min(left, roomMax ?? .max), 1 << 20)
    }

    func share(_ sample: MemorySample) -> Double {
        guard isMeasured else { return 0 }
        let grown = max(sample.resident - sample.cacheTouched - baseline, 0)
        let own = Double(grown) / Double(room)
        // What others in the same group, or on this machine, have taken meanwhile counts as far as
        // giving way helps: a server that holds next to nothing has nothing to give.
        let left = sample.available - (sample.cache - sample.cacheTouched)
        guard left < room - grown, own > 0.02 else { return own }
        return Double(grown) / Double(grown + max(left, 1))
    }
}

/// Looks at the process four times a second, and takes the steps of
/// ``MemoryBudget/Pressure`` in their order as memory runs short.
struct MemoryMonitor: Service {
    let slot: ModelSlot
    let state: ServerState
    let budget: MemoryBudget
    let census: ConnectionCensus
    let options: ServerOptions
    let metrics: ServerMetrics

    private static let interval = Duration.milliseconds(250)
    /// Memory that the allocator may keep for itself before it is asked to give it back.
    private static let slack = 16 << 20

    func run() async throws {
        await cancelWhenGracefulShutdown { await watch() }
    }

    private func watch() async {
        let limits = MemoryLimits()
        var balance = MemoryBalance(roomMax: options.memoryMax)
        var last = MemoryBudget.Pressure.none
        var trimmed = (resident: 0, at: ContinuousClock.now)
        var idleSince: ContinuousClock.Instant?
        var hasShed = true
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.interval)
            guard slot.loaded != nil else { continue }
            var sample = sample(limits)
            if balance.room == 0 {
                balance.calibrate(sample)
                budget.setRoom(balance.room)
                trimmed.resident = sample.resident
            }
            let now = ContinuousClock.now
            idleSince = sample.isIdle ? idleSince ?? now : nil
            let isQuiet = idleSince.map { now - $0 > .seconds(5) } ?? false
            let pressure = budget.observe(share: balance.share(sample))
            // Once for each idle time and each time of need: what is kept does not grow meanwhile.
            let wantsShed = isQuiet || pressure >= .shrinkCaches
            if wantsShed, !hasShed { shrinkCaches(keepingSome: pressure < .shrinkCaches) }
            hasShed = wantsShed
            let wantsTrim = pressure >= .shrinkCaches || isQuiet || now - trimmed.at > .seconds(15)
            if wantsTrim, now - trimmed.at > .seconds(1),
                sample.resident > trimmed.resident + Self.slack
            {
                // The allocator keeps what was freed for the next one who asks; the system, and
                // the limits of this group, count it as ours.
                MemoryLimits.giveBack()
                sample.resident = self.sample(limits).resident
                trimmed = (sample.resident, now)
            }
            if isQuiet {
                balance.calibrate(sample)
                budget.setRoom(balance.room)
                trimmed.resident = min(trimmed.resident, sample.resident)
            }
            census.setShortOfMemory(pressure >= .closeIdle)
            if pressure >= .closeIdle { census.closeIdle() }
            if pressure != last { tell(pressure, above: last) }
            last = pressure
        }
    }

    /// - Parameter keepingSome: as much prefix cache as some conversations of full length need.
    private func shrinkCaches(keepingSome: Bool) {
        guard let model = slot.loaded else { return }
        model.text.shrinkCaches()
        let some = max(4 * model.facts.contextMax, (32 << 20) / max(model.facts.bytesPerToken, 1))
        model.engine.shedCache(keeping: keepingSome ? some : 0)
    }

    private func sample(_ limits: MemoryLimits) -> MemorySample {
        var sample = MemorySample()
        sample.resident = MemoryLimits.resident()
        sample.available = limits.available()
        if let model = slot.loaded {
            let bytes = model.facts.bytesPerToken * model.engine.shape.blockTokens
            sample.cache = model.engine.shape.blocks * bytes
            sample.cacheTouched = min(model.engine.status.blocksPeak * bytes, sample.cache)
            sample.resident += model.engine.processMemory
        }
        sample.isIdle =
            state.open == 0
            && MemoryBudget.Pool.allCases.allSatisfy { budget.used($0) == 0 }
        return sample
    }

    private func tell(_ pressure: MemoryBudget.Pressure, above last: MemoryBudget.Pressure) {
        for step in MemoryBudget.Pressure.allCases where step > last && step <= pressure {
            metrics.memoryActions.add(1, step.label)
        }
        options.logger.warning(
            pressure == .none ? "memory is no longer short" : "memory is short",
            metadata: [
                "step": "\(pressure.label)",
                "used_percent": .stringConvertible(Int(budget.share * 100)),
                "room_bytes": .stringConvertible(budget.room),
            ])
    }
}

extension MemoryBudget.Pressure {
    var label: String {
        switch self {
        case .none: "none"
        case .stopReading: "stop_reading"
        case .shrinkCaches: "shrink_caches"
        case .refuseWork: "refuse_work"
        case .closeIdle: "close_idle"
        }
    }
}

extension MemoryBudget {
    func report(to metrics: ServerMetrics, _ model: ChatModel?) {
        for pool in Pool.allCases { metrics.memory.set(Double(used(pool)), pool.label) }
        metrics.memoryRoom.set(Double(room))
        metrics.memoryShare.set(share)
        guard let model else { return }
        let shape = model.engine.shape
        let status = model.engine.status
        let kv = model.facts.bytesPerToken * shape.blockTokens * shape.blocks
        metrics.memory.set(Double(kv), "kv_blocks")
        metrics.memory.set(Double(model.facts.weightBytes), "weights")
        metrics.memory.set(
            Double(status.waitingTokens * MemoryLayout<Int32>.stride), "queued_prompts")
    }
}
