import CAutoGLMKernels

extension CPUBackend {
    package func addMixture(
        norm: CPUNorm, _ mixture: Mixture<CPUMatrix, CPUGatedMatrix>, to residual: CPUActivations
    ) {
        guard failure == nil, residual.rows > 0 else { return }
        precondition(mixture.experts.count == mixture.router.outputs)
        precondition(mixture.correctionBias.count == mixture.experts.count)
        let mark = mark()
        defer { release(mark) }
        let x = normalized(residual, norm)
        let sum = activations(rows: x.rows, columns: x.columns)
        guard failure == nil else { return }
        for row in 0..<sum.rows {
            unsafe (sum.base + row * sum.stride).update(repeating: 0, count: sum.columns)
        }
        guard let routes = route(x, mixture) else { return }
        for (index, expert) in mixture.experts.enumerated() {
            let first = unsafe Int(routes.first[index])
            let count = unsafe Int(routes.first[index + 1]) - first
            if count > 0 {
                let inner = self.mark()
                let rows = activations(rows: count, columns: x.columns)
                guard failure == nil else { return }
                unsafe k_gather_rows(
                    pool.handle, x.base, x.stride, routes.rows + first, Int32(count),
                    Int32(x.columns), rows.base, rows.stride)
                let y = feedForward(rows, expert)
                guard failure == nil else { return }
                unsafe k_scatter_add(
                    pool.handle, y.base, y.stride, routes.rows + first, routes.weights + first,
                    Int32(count), Int32(y.columns), sum.base, sum.stride)
                release(inner)
            }
        }
        if let shared = mixture.shared {
            add(feedForward(x, shared), to: sum)
        }
        add(sum, to: residual)
    }

    private func feedForward(_ x: CPUActivations, _ expert: Expert<CPUMatrix, CPUGatedMatrix>)
        -> CPUActivations
    {
        linear(gated(x, norm: nil, expert.gated), norm: nil, expert.down)
    }

    private func add(_ x: CPUActivations, to target: CPUActivations) {
        guard failure == nil, x.rows > 0 else { return }
        unsafe k_scatter_add(
            pool.handle, x.base, x.stride, nil, nil, Int32(x.rows), Int32(x.columns), target.base,
            target.stride)
    }

    /// Rows and their weights, sorted by expert.
    @safe
    private struct Routes {
        let first: UnsafeMutablePointer<Int32>
        let rows: UnsafeMutablePointer<Int32>
        let weights: UnsafeMutablePointer<Float>
    }

    private func route(_ x: CPUActivations, _ mixture: Mixture<CPUMatrix, CPUGatedMatrix>)
        -> Routes?
    {
        let experts = mixture.experts.count
        let chosen = mixture.expertsPerToken
        precondition(mixture.groups > 0 && experts % mixture.groups == 0)
        precondition(
            (1...experts / mixture.groups * min(mixture.groups, mixture.groupsPerToken)).contains(
                chosen), "more experts per token than may be chosen")
        let logits = activations(rows: x.rows, columns: experts)
        unsafe multiply(
            x, norm: nil, mixture.router, exact: true, into: logits.base, stride: logits.stride)
        let pairs = x.rows * chosen
        guard let first = unsafe temporary((experts + 1) * 4),
            let rows = unsafe temporary(pairs * 4), let weights = unsafe temporary(pairs * 4),
            let scratch = unsafe temporary((2 * experts + mixture.groups + 2 * pairs) * 4)
        else { return nil }
        let routes = unsafe Routes(
            first: first.assumingMemoryBound(to: Int32.self),
            rows: rows.assumingMemoryBound(to: Int32.self),
            weights: weights.assumingMemoryBound(to: Float.self))
        unsafe mixture.correctionBias.withUnsafeBufferPointer { bias in
            var routing = unsafe k_routing(
                experts: Int32(experts), per_token: Int32(chosen), groups: Int32(mixture.groups),
                groups_per_token: Int32(mixture.groupsPerToken),
                normalizes: mixture.normalizesWeights ? 1 : 0, scale: mixture.scale,
                correction: bias.baseAddress)
            unsafe k_route_rows(
                &routing, logits.base, logits.stride, Int32(x.rows), routes.first, routes.rows,
                routes.weights, scratch.assumingMemoryBound(to: Float.self))
        }
        return routes
    }
}
