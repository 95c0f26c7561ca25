import CAutoGLMKernels

// What a step is made of, apart from attention and mixtures.
extension CPUBackend {
    package func embed(_ table: CPUEmbedding, _ batch: borrowing StepBatch) -> CPUActivations {
        let x = activations(rows: batch.tokens.count, columns: table.hidden)
        guard x.rows > 0 else { return x }
        for token in batch.tokens {
            precondition(0..<table.vocabulary ~= Int(token), "a token outside the vocabulary")
        }
        unsafe batch.tokens.withUnsafeBufferPointer { tokens in
            switch table.form {
            case .rows(let buffer, let type, let rowBytes):
                unsafe k_lookup_rows(
                    pool.handle, type.kernels, buffer.base.assumingMemoryBound(to: UInt8.self),
                    rowBytes, tokens.baseAddress, Int32(x.rows), Int32(x.columns), x.base, x.stride)
            case .tied(let head):
                let panels = head.parts[0]
                unsafe k_unpack_rows(
                    pool.handle, panels.descriptor, panels.operations, tokens.baseAddress,
                    Int32(x.rows), x.base, x.stride)
            }
        }
        return x
    }

    package func normalized(_ x: CPUActivations, _ norm: CPUNorm) -> CPUActivations {
        let out = activations(rows: x.rows, columns: x.columns)
        guard out.rows > 0 else { return out }
        precondition(norm.count == x.columns, "a norm over another width")
        unsafe k_norm_rows(
            pool.handle, instructionSet.kernels, x.base, x.stride, Int32(x.rows), Int32(x.columns),
            norm.weight, norm.epsilon, out.base, out.stride)
        return out
    }

    package func linear(_ x: CPUActivations, norm: CPUNorm?, _ weight: CPUMatrix) -> CPUActivations
    {
        let out = activations(rows: x.rows, columns: weight.outputs)
        unsafe multiply(x, norm: norm, weight, into: out.base, stride: out.stride)
        return out
    }

    package func gated(_ x: CPUActivations, norm: CPUNorm?, _ weight: CPUGatedMatrix)
        -> CPUActivations
    {
        let out = activations(rows: x.rows, columns: weight.features)
        guard out.rows > 0 else { return out }
        switch weight.form {
        case .interleaved(let panels):
            unsafe run(x, norm: norm, panels, panels.operations, K_GATED, out.base, out.stride)
        case .apart(let gateWeight, let upWeight):
            let mark = mark()
            let gate = linear(x, norm: norm, gateWeight)
            let up = linear(x, norm: norm, upWeight)
            if failure == nil {
                unsafe k_silu_multiply(
                    pool.handle, instructionSet.kernels, gate.base, gate.stride, up.base, up.stride,
                    Int32(x.rows), Int32(weight.features), out.base, out.stride)
            }
            release(mark)
        }
        return out
    }

    package func addLinear(
        _ x: CPUActivations, _ weight: CPUMatrix, postNorm: CPUNorm?, to residual: CPUActivations
    ) {
        guard failure == nil, x.rows > 0 else { return }
        precondition(residual.rows == x.rows && residual.columns == weight.outputs)
        guard let postNorm else {
            unsafe multiply(
                x, norm: nil, weight, K_ADD, into: residual.base, stride: residual.stride)
            return
        }
        precondition(postNorm.count == weight.outputs, "a norm over another width")
        let mark = mark()
        let y = linear(x, norm: nil, weight)
        if failure == nil {
            unsafe k_add_norm_rows(
                pool.handle, instructionSet.kernels, y.base, y.stride, Int32(y.rows),
                Int32(y.columns), postNorm.weight, postNorm.epsilon, residual.base, residual.stride)
        }
        release(mark)
    }

    package func readLogits(
        _ x: CPUActivations, norm: CPUNorm, head: CPUMatrix, _ batch: borrowing StepBatch,
        into logits: UnsafeMutableBufferPointer<Float>
    ) throws(BackendError) {
        let count = batch.outputRows.count
        precondition(logits.count >= count * head.outputs, "too little room for the logits")
        if failure == nil, count > 0, let target = logits.baseAddress {
            let mark = mark()
            let rows = activations(rows: count, columns: x.columns)
            if rows.rows > 0 {
                for row in batch.outputRows {
                    precondition(0..<x.rows ~= Int(row), "logits of a row that is not there")
                }
                unsafe batch.outputRows.withUnsafeBufferPointer { wanted in
                    unsafe k_gather_rows(
                        pool.handle, x.base, x.stride, wanted.baseAddress, Int32(count),
                        Int32(x.columns), rows.base, rows.stride)
                }
                unsafe multiply(rows, norm: norm, head, into: target, stride: head.outputs)
                if failure == nil {
                    let bad = unsafe k_first_not_finite(
                        pool.handle, target, head.outputs, Int32(count), Int32(head.outputs))
                    if bad >= 0 { fail(.notANumber(row: Int(batch.outputRows[Int(bad)]))) }
                }
            }
            release(mark)
        }
        if let failure { throw failure }
    }

    /// `x · Wᵀ + bias`, all parts of the matrix, to or onto `target`.
    func multiply(
        _ x: CPUActivations, norm: CPUNorm?, _ weight: CPUMatrix, _ epilogue: k_epilogue = K_STORE,
        exact: Bool = false, into target: UnsafeMutablePointer<Float>, stride: Int
    ) {
        for part in weight.parts {
            unsafe run(
                x, norm: norm, part, exact ? part.exact : part.operations, epilogue,
                target + part.firstOutput, stride)
        }
    }

    private func run(
        _ x: CPUActivations, norm: CPUNorm?, _ weight: WeightPanels,
        _ operations: UnsafePointer<k_format_ops>, _ epilogue: k_epilogue,
        _ target: UnsafeMutablePointer<Float>, _ stride: Int
    ) {
        guard failure == nil, x.rows > 0 else { return }
        let inputs = unsafe weight.descriptor.pointee.inputs
        precondition(x.columns == Int(inputs), "a matrix for another width")
        if let norm { precondition(norm.count == x.columns, "a norm over another width") }
        let mark = mark()
        defer { release(mark) }
        if weight.inputMagnitudes != nil { observe(x, norm, weight) }
        let bytes = unsafe operations.pointee.prepared_bytes(inputs, Int32(x.rows))
        guard let prepared = unsafe temporary(bytes) else { return }
        let rows = unsafe k_rows(
            x: x.base, stride: x.stride, rows: Int32(x.rows), norm: norm?.weight,
            epsilon: norm?.epsilon ?? 0, scaling: K_SCALING_DEFAULT)
        var job = unsafe k_linear(
            w: weight.descriptor, ops: operations, x: rows, epilogue: epilogue, out: target,
            out_stride: stride, prepared: prepared)
        unsafe k_linear_run(pool.handle, instructionSet.kernels, &job)
    }
}
