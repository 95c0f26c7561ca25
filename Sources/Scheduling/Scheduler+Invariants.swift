extension Scheduler {
    /// Blocks held by sequences; 0 when nothing runs.
    package var blocksUsed: Int { pool.usedCount }

    /// Checks everything that must hold between steps: every block is free, cached or held by as
    /// many sequences as it counts; a sequence holds enough blocks; lists are in order of rank.
    /// For tests; it looks at all blocks and sequences.
    /// - Returns: the first thing that is wrong; nil when all is well.
    package func firstFault() -> String? {
        var holders: [BlockID: Int] = [:]
        for slot in running {
            let sequence = state(slot)
            let name = "sequence \(sequence.request.id.value)"
            for block in sequence.blocks { holders[block, default: 0] += 1 }
            if Set(sequence.blocks).count != sequence.blocks.count {
                return "\(name) holds a block twice"
            }
            if sequence.computed > sequence.blocks.count * limits.blockTokens {
                return "\(name) has computed more tokens than its blocks hold"
            }
            if sequence.computed >= sequence.tokens.count {
                return "\(name) has nothing to compute"
            }
            if sequence.registeredBlocks * limits.blockTokens > sequence.computed {
                return "\(name) registered what it has not computed"
            }
            if let fault = sharingFault(slot) { return fault }
        }
        for slot in waiting {
            let sequence = state(slot)
            if !sequence.blocks.isEmpty || sequence.computed != 0 {
                return "waiting sequence \(sequence.request.id.value) holds blocks"
            }
        }
        for list in [running, waiting] {
            for (a, b) in zip(list, list.dropFirst()) where !(state(a).rank < state(b).rank) {
                return "slots \(a) and \(b) are out of order"
            }
        }
        if running.count > limits.sequencesMax { return "\(running.count) sequences run" }
        if running.count + waiting.count != slotOf.count { return "a sequence is lost" }
        return pool.firstFault(holders: holders)
    }

    /// Two sequences may share a block only where all their tokens up to its end are equal, and
    /// never one that either still writes to.
    private func sharingFault(_ slot: Int) -> String? {
        let mine = state(slot)
        for other in running where other > slot {
            let theirs = state(other)
            for (index, block) in theirs.blocks.enumerated() {
                guard let at = mine.blocks.firstIndex(of: block) else { continue }
                let end = (index + 1) * limits.blockTokens
                guard at == index, min(mine.computed, theirs.computed) >= end,
                    mine.tokens[..<end] == theirs.tokens[..<end],
                    mine.request.tenant == theirs.request.tenant
                else {
                    return "block \(block.index) is shared by unlike sequences "
                        + "\(mine.request.id.value) and \(theirs.request.id.value)"
                }
            }
        }
        return nil
    }
}
