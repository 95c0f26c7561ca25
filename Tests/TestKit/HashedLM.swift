import AutoGLMCompute
import AutoGLMEngine
import AutoGLMModels

/// A model whose next token is a hash of the whole history *as its KV blocks hold it*: a row
/// that reads a wrong, stale or unwritten block gives other logits. It can be told to fail.
package final class HashedLM: CausalLM {
    package struct Faults: Sendable {
        /// Steps of more than one sequence fail as a whole.
        package var refusesBatches = false
        /// A sequence whose prompt begins with this token gives logits that are not numbers.
        package var poison: Int32?
        /// Every step fails.
        package var isBroken = false
        /// Takes this long for each step.
        package var stepTime: Duration = .zero
        /// A step with a sequence whose prompt begins with this token waits for the gate.
        package var hang: Int32?
        package var gate: StepGate?

        package init(
            refusesBatches: Bool = false, poison: Int32? = nil, isBroken: Bool = false,
            stepTime: Duration = .zero, hang: Int32? = nil, gate: StepGate? = nil
        ) {
            self.refusesBatches = refusesBatches
            self.poison = poison
            self.isBroken = isBroken
            self.stepTime = stepTime
            self.hang = hang
            self.gate = gate
        }
    }

    package static let vocabulary = 64
    /// The last rows are padding and have the highest logits.
    package static let rowWidth = 80
    package static let stopToken: Int32 = 63

    package let blockTokens: Int
    package let faults: Faults
    private var memory: [UInt64] = []
    private var firstTokens: [Int32] = []

    package init(blockTokens: Int = 4, faults: Faults = Faults()) {
        self.blockTokens = blockTokens
        self.faults = faults
    }

    package var info: ModelInfo { preconditionFailure("the engine does not ask") }

    package func allocateCache(blocks: Int) {
        memory = Array(repeating: 0, count: blocks * blockTokens)
        firstTokens = Array(repeating: -1, count: blocks * blockTokens)
    }

    package func copyBlocks(_ pairs: [(from: Int32, to: Int32)]) {}

    package func eraseBlocks(_ blocks: [Int32]) {
        faults.gate?.noteZeroed(blocks.count)
        for block in blocks {
            for slot in Int(block) * blockTokens..<(Int(block) + 1) * blockTokens {
                memory[slot] = 0
                firstTokens[slot] = -1
            }
        }
    }

    package var spare: (any ModelSpare)? {
        faults.gate.map { HashedSpare(blockTokens: blockTokens, faults: faults, gate: $0) }
    }

    package static func mix(_ history: UInt64, _ token: Int32) -> UInt64 {
        var z = (history ^ UInt64(UInt32(bitPattern: token))) &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    package static func logits(_ history: UInt64) -> [Float] {
        (0..<rowWidth).map { token in
            token < vocabulary
                ? Float(mix(history, Int32(token)) >> 40) / Float(1 << 22) : 100
        }
    }

    /// What the model says when asked alone, greedily.
    package static func expected(_ prompt: [Int32], count: Int) -> (tokens: [Int32], stopped: Bool) {
        var history = prompt.reduce(1, mix)
        var tokens: [Int32] = []
        while tokens.count < count {
            let row = logits(history)[..<vocabulary]
            let best = Int32(row.firstIndex(of: row.max()!)!)
            if best == stopToken { return (tokens, true) }
            tokens.append(best)
            history = mix(history, best)
        }
        return (tokens, false)
    }

    package func logits(
        _ batch: borrowing StepBatch, into logits: UnsafeMutableBufferPointer<Float>
    ) throws(BackendError) {
        if faults.stepTime > .zero {
            let end = ContinuousClock.now + faults.stepTime
            while ContinuousClock.now < end {}
        }
        if faults.isBroken { throw .device("broken on purpose") }
        if faults.refusesBatches, batch.sequences.count > 1 {
            throw .outOfMemory(requestedBytes: 1)
        }
        var histories: [UInt64] = []
        var poisoned: [Bool] = []
        var hangs = false
        for rows in batch.sequences {
            for row in Int(rows.firstRow)..<Int(rows.firstRow + rows.rowCount) {
                let position = Int(batch.positions[row])
                let token = batch.tokens[row]
                let history = position == 0 ? 1 : memory[slot(batch, rows, position - 1)]
                let first = position == 0 ? token : firstTokens[slot(batch, rows, position - 1)]
                memory[slot(batch, rows, position)] = Self.mix(history, token)
                firstTokens[slot(batch, rows, position)] = first
                histories.append(Self.mix(history, token))
                poisoned.append(first == faults.poison)
                if let hang = faults.hang, first == hang { hangs = true }
            }
        }
        if let gate = faults.gate, hangs { gate.pass() }
        for (index, row) in batch.outputRows.enumerated() {
            let values = Self.logits(histories[Int(row)])
            for column in 0..<Self.rowWidth {
                logits[index * Self.rowWidth + column] =
                    poisoned[Int(row)] ? .nan : values[column]
            }
        }
    }

    private func slot(
        _ batch: borrowing StepBatch, _ rows: StepBatch.SequenceRows, _ position: Int
    ) -> Int {
        let block = batch.blockTables[Int(rows.blockTableOffset) + position / blockTokens]
        return Int(block) * blockTokens + position % blockTokens
    }

    /// An engine around a fake model.
    package static func engine(
        blocks: Int = 64, blockTokens: Int = 4, contextMax: Int = 120, faults: Faults = Faults(),
        _ change: (inout EngineOptions) -> Void = { _ in }
    ) throws -> Engine {
        let model = HashedLM(blockTokens: blockTokens, faults: faults)
        model.allocateCache(blocks: blocks)
        var options = EngineOptions()
        options.blockTokens = blockTokens
        change(&options)
        return try Engine(
            model,
            shape: EngineShape(
                rowWidth: rowWidth, vocabulary: vocabulary, contextMax: contextMax,
                blocks: blocks, blockTokens: blockTokens, stopTokens: [stopToken]),
            options: options)
    }
}

private struct HashedSpare: ModelSpare {
    let blockTokens: Int
    let faults: HashedLM.Faults
    let gate: StepGate

    var pulse: any StepPulse { gate }

    func model(blocks: Int) throws(BackendError) -> any CausalLM {
        try gate.noteModel()
        let model = HashedLM(blockTokens: blockTokens, faults: faults)
        model.allocateCache(blocks: blocks)
        return model
    }

    func discardCache() {}
}
