import CAutoGLMKernels

extension CPUBackend {
    package func attention(
        _ qkv: CPUActivations, _ specification: AttentionSpecification<CPURotary, CPUNorm>,
        layer: Int, _ cache: CPUCache, _ batch: borrowing StepBatch
    ) -> CPUActivations {
        let dim = specification.headDim
        let out = activations(rows: qkv.rows, columns: specification.heads * dim)
        guard out.rows > 0 else { return out }
        check(qkv, specification, layer: layer, cache)
        guard reach(specification.rotary, cache, layer: layer, batch) else { return out }
        let mark = mark()
        defer { release(mark) }
        let rotary = specification.rotary
        let halves = if case .halves = rotary.specification.pairing { Int32(1) } else { Int32(0) }
        unsafe batch.positions.withUnsafeBufferPointer { positions in
            unsafe batch.blockTables.withUnsafeBufferPointer { tables in
                unsafe batch.sequences.withUnsafeBytes { sequences in
                    var job = unsafe k_attention(
                        qkv: qkv.base, stride: qkv.stride, out: out.base, out_stride: out.stride,
                        rows: Int32(qkv.rows), heads: Int32(specification.heads),
                        layer: Int32(layer), scale: specification.scale, angles: rotary.angles,
                        rotated: Int32(2 * rotary.pairs), halves: halves,
                        query_norm: specification.queryNorm?.weight,
                        key_norm: specification.keyNorm?.weight,
                        query_epsilon: specification.queryNorm?.epsilon ?? 0,
                        key_epsilon: specification.keyNorm?.epsilon ?? 0,
                        positions: positions.baseAddress, tables: tables.baseAddress,
                        sequences: sequences.baseAddress?.assumingMemoryBound(
                            to: k_sequence_rows.self),
                        sequence_count: Int32(batch.sequences.count))
                    let bytes = unsafe k_attention_bytes(pool.handle, cache.descriptor, &job)
                    guard let memory = unsafe temporary(bytes) else { return }
                    unsafe k_attend(
                        pool.handle, instructionSet.kernels, cache.descriptor, &job, memory)
                }
            }
        }
        return out
    }

    /// Our own mistakes: shapes that do not belong together.
    private func check(
        _ qkv: CPUActivations, _ specification: AttentionSpecification<CPURotary, CPUNorm>,
        layer: Int, _ cache: CPUCache
    ) {
        let layout = cache.layout
        precondition(specification.headDim == layout.headDim)
        precondition(specification.kvHeads == layout.kvHeads)
        precondition((0..<layout.layers).contains(layer))
        precondition(specification.heads % specification.kvHeads == 0)
        let columns = (specification.heads + 2 * specification.kvHeads) * specification.headDim
        precondition(qkv.columns == columns)
        precondition(2 * specification.rotary.pairs <= specification.headDim)
        if let norm = specification.queryNorm { precondition(norm.count == layout.headDim) }
        if let norm = specification.keyNorm { precondition(norm.count == layout.headDim) }
    }

    /// Checks the batch once a step, and makes sure that its positions have angles.
    private func reach(
        _ rotary: CPURotary, _ cache: CPUCache, layer: Int, _ batch: borrowing StepBatch
    ) -> Bool {
        var reached = 0
        for sequence in batch.sequences {
            reached = max(reached, Int(sequence.firstPosition) + Int(sequence.rowCount))
        }
        guard reached <= rotary.specification.positionsMax else {
            fail(
                .unsupported(
                    what: "position \(reached - 1)",
                    remedy: "the model reaches \(rotary.specification.positionsMax) positions"))
            return false
        }
        rotary.fill(upTo: reached)
        guard layer == 0 else { return true }
        precondition(MemoryLayout<StepBatch.SequenceRows>.stride == 16)
        let blockTokens = cache.layout.blockTokens
        for sequence in batch.sequences {
            let rows = Int(sequence.firstRow)..<Int(sequence.firstRow + sequence.rowCount)
            precondition(rows.upperBound <= batch.tokens.count && sequence.firstPosition >= 0)
            let last = Int(sequence.firstPosition) + Int(sequence.rowCount)
            let first = Int(sequence.blockTableOffset)
            let blocks = first..<first + (last + blockTokens - 1) / blockTokens
            precondition(
                blocks.upperBound <= batch.blockTables.count, "a block table that is too short")
            for index in blocks {
                precondition(
                    0..<cache.layout.blocks ~= Int(batch.blockTables[index]), "no such KV block")
            }
        }
        return true
    }
}
