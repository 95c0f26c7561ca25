import AutoGLMScheduling
import Synchronization

/// A sequence that has been accepted and has not ended, as callers and the watch know it.
struct LiveSequence {
    let submission: Submission
    let channel: TokenChannel
    /// A step that computes it has begun.
    var hasStarted = false
    /// The admission gate has been told that it waits no more.
    var hasLeftQueue = false

    init(_ submission: Submission, _ channel: TokenChannel) {
        self.submission = submission
        self.channel = channel
    }

    var choice: Int { submission.choice }

    func fail(_ error: GenerationError) { channel.fail(error, choice: choice, from: nil) }
}

// What ends a sequence takes it out of `live`, under the lock: the engine at a step's end, the
// watch when a deadline passes or the engine hangs, a caller that shuts the engine down. Whoever
// comes second finds nothing, so all accounts are settled once.
extension EngineShared {
    /// Enters admitted sequences and posts them to the present run.
    func enter(_ submissions: [Submission], _ channel: TokenChannel) {
        let isLate = state.withLock { state in
            for submission in submissions {
                state.live[submission.sequence.id] = LiveSequence(submission, channel)
            }
            guard let run = state.run, !state.status.isStopped, !state.status.hasFailed,
                !state.isClosing
            else {
                return true
            }
            for submission in submissions {
                channel.handOver(submission.choice, to: run.epoch)
                run.post(.submit(submission))
            }
            return false
        }
        if isLate { for submission in submissions { fail(submission.sequence.id, .shuttingDown) } }
    }

    /// The consumer needs no more of a sequence.
    func abort(_ id: SequenceID) {
        state.withLock { state in
            if state.live[id] != nil { state.run?.post(.abort(id)) }
        }
    }

    // MARK: The engine thread's reports

    func started(_ ids: [SequenceID], epoch: Int) {
        state.withLock { state in
            guard state.run?.epoch == epoch else { return }
            for id in ids { state.live[id]?.hasStarted = true }
        }
    }

    func leftQueue(_ id: SequenceID, epoch: Int) {
        let now = self.now
        state.withLock { state in
            guard state.run?.epoch == epoch, var sequence = state.live[id],
                !sequence.hasLeftQueue
            else { return }
            sequence.hasStarted = true
            sequence.hasLeftQueue = true
            state.live[id] = sequence
            state.leaveGate(sequence, started: true, now: now)
        }
    }

    func ended(_ id: SequenceID, epoch: Int) {
        let now = self.now
        state.withLock { state in
            guard state.run?.epoch == epoch else { return }
            _ = state.remove(id, now: now)
        }
    }

    // MARK: Ends from outside of the engine thread

    /// Ends one sequence, unless something else has. What came before is still delivered.
    func fail(_ id: SequenceID, _ error: GenerationError) {
        let now = self.now
        state.withLock { state in
            let sequence = state.remove(id, now: now)
            if sequence != nil { state.run?.post(.abort(id)) }
            return sequence
        }?.fail(error)
    }

    func failAll(_ error: GenerationError) {
        for id in state.withLock({ Array($0.live.keys) }) { fail(id, error) }
    }

    /// Ends what has outlived its time. The engine does so between two steps; this holds while a
    /// step is long or never ends.
    func expire(now: Duration) {
        var expired: [(SequenceID, GenerationError)] = []
        state.withLock { state in
            for (id, sequence) in state.live {
                let times = sequence.submission.sequence
                if let finishBy = times.finishBy, now >= finishBy {
                    let limit = sequence.submission.request.deadline ?? .zero
                    expired.append((id, .deadlineExceeded(limit: limit)))
                } else if let startBy = times.startBy, now >= startBy, !sequence.hasStarted {
                    let limit = queueLimit(sequence.submission.request)
                    expired.append(
                        (id, .queueTimeout(waited: now - times.arrival, limit: limit)))
                }
            }
        }
        for (id, error) in expired { fail(id, error) }
    }

    // MARK: Restart

    /// Puts another run into the place of one that hangs or has died: what it had begun fails, what
    /// waited is given to the new one.
    /// - Returns: how many failed and how many were handed over.
    func replace(_ old: any EngineRun, with new: any EngineRun) -> (failed: Int, kept: Int) {
        let now = self.now
        let suspects = Set(old.suspects)
        let blames = old.blamesSuspects
        let isProcess = old.processMemory != nil
        let (lost, kept) = state.withLock { state in
            var lost: [LiveSequence] = []
            var kept: [LiveSequence] = []
            for (id, sequence) in state.live {
                let submission = sequence.submission
                if blames, suspects.contains(id) {
                    state.quarantine.strike(submission.request.fingerprint, now: now)
                }
                if sequence.hasStarted || suspects.contains(id)
                    || !sequence.channel.isOpen(sequence.choice)
                {
                    lost.append(sequence)
                } else {
                    kept.append(sequence)
                }
            }
            for sequence in lost { _ = state.remove(sequence.submission.sequence.id, now: now) }
            state.run = new
            if isProcess {
                state.status.processRestarts += 1
            } else {
                state.status.restarts += 1
            }
            state.failedStepsBefore += old.failedSteps
            (state.status.running, state.status.blocksUsed, state.status.blocksCached) = (0, 0, 0)
            state.status.blocksPeak = 0
            kept.sort { $0.submission.sequence.id < $1.submission.sequence.id }
            for sequence in kept {
                sequence.channel.handOver(sequence.choice, to: new.epoch)
                new.post(.submit(sequence.submission))
            }
            return (lost, kept.count)
        }
        for sequence in lost { sequence.fail(.engineRestarted) }
        return (lost.count, kept)
    }
}

extension EngineShared.State {
    fileprivate mutating func remove(_ id: SequenceID, now: Duration) -> LiveSequence? {
        guard let sequence = live.removeValue(forKey: id) else { return nil }
        if !sequence.hasLeftQueue { leaveGate(sequence, started: false, now: now) }
        liveCount -= 1
        return sequence
    }

    fileprivate mutating func leaveGate(
        _ sequence: LiveSequence, started: Bool, now: Duration
    ) {
        let request = sequence.submission.request
        gate.leave(
            promptTokens: request.prompt.count, tenant: request.tenant, started: started, now: now)
    }
}
