import AutoGLMCompute
import AutoGLMJSON
import AutoGLMModels
import AutoGLMText

/// What this machine could do at best, measured around a benchmark, and what was reached of it.
struct BenchLimits {
    enum Arithmetic: String { case f32, bf16, int8 }

    /// Probed before and after; they differ where others use the machine.
    let bandwidth: (before: Double, after: Double)
    let operations: (before: Double, after: Double)
    let arithmetic: Arithmetic
    let info: ModelInfo

    init(_ before: MachineProbe, _ after: MachineProbe, _ info: ModelInfo, _ kind: Arithmetic) {
        self.info = info
        arithmetic = kind
        bandwidth = (
            before.bandwidth.last?.bytesPerSecond ?? 0, after.bandwidth.last?.bytesPerSecond ?? 0
        )
        func rate(_ probe: MachineProbe) -> Double {
            switch kind {
            case .f32: probe.f32PerSecond
            case .bf16: probe.bf16PerSecond > 0 ? probe.bf16PerSecond : probe.f32PerSecond
            case .int8: probe.int8PerSecond > 0 ? probe.int8PerSecond : probe.f32PerSecond
            }
        }
        operations = (rate(before), rate(after))
    }

    /// Rows per second that memory and arithmetic allow; what is in cache may exceed the former.
    func limit(_ row: BenchRow) -> (rate: Double, bound: String) {
        let bandwidth = (bandwidth.before + bandwidth.after) / 2
        let operations = (operations.before + operations.after) / 2
        let parameters = Double(info.parametersPerToken)
        // A prompt is read once per 512 rows, which costs next to nothing beside the arithmetic,
        // and needs the output projection for its last row alone.
        if row.kind == .prefill {
            let head = Double(info.vocabulary) * Double(info.hidden)
            return (operations / (2 * (parameters - head)), arithmetic.rawValue)
        }
        let bytes =
            Double(info.weightBytesPerStep)
            + Double(row.batch) * Double(row.depth) * Double(info.bytesPerToken)
        let byMemory = bandwidth / bytes * Double(row.batch)
        let byArithmetic = operations / (2 * parameters)
        return byMemory <= byArithmetic
            ? (byMemory, "memory") : (byArithmetic, arithmetic.rawValue)
    }

    func table(_ rows: [BenchRow]) -> String {
        var lines = [["", "tokens/s", "low", "high", "limit", "share", "bound by"]]
        for row in rows {
            let (limit, bound) = limit(row)
            lines.append([
                name(row), decimal(row.median, 1), decimal(row.low, 1), decimal(row.high, 1),
                decimal(limit, 1), "\(decimal(100 * row.median / limit, 0)) %", bound,
            ])
        }
        return """
            \(formatTable(lines))

            \(info.name): \(formatBytes(info.weightBytesPerStep)) of weights read per step, \
            \(formatBytes(info.bytesPerToken)) of KV cache per token
            memory \(decimal(bandwidth.before / 1e9, 1)) GB/s before, \
            \(decimal(bandwidth.after / 1e9, 1)) after; \(arithmetic.rawValue) \
            \(decimal(operations.before / 1e9, 0)) Gop/s before, \
            \(decimal(operations.after / 1e9, 0)) after
            """
    }

    private func name(_ row: BenchRow) -> String {
        switch row.kind {
        case .prefill: "prefill \(row.depth)"
        case .decode:
            "decode \(row.batch) at \(row.depth)"
        }
    }

    func json(_ rows: [BenchRow]) -> String {
        let results = rows.map { row -> JSONValue in
            let (limit, bound) = limit(row)
            return [
                "kind": .string(row.kind.rawValue), "batch": .int(Int64(row.batch)),
                (row.kind == .prefill ? "prompt" : "depth"): .int(Int64(row.depth)),
                "tokens_per_second": .double(row.median), "low": .double(row.low),
                "high": .double(row.high), "limit": .double(limit),
                "share": .double(row.median / limit), "bound_by": .string(bound),
            ]
        }
        let report: JSONValue = [
            "model": .string(info.name), "results": .array(results),
            "weight_bytes_per_step": .int(Int64(info.weightBytesPerStep)),
            "kv_bytes_per_token": .int(Int64(info.bytesPerToken)),
            "bandwidth_bytes_per_second": [.double(bandwidth.before), .double(bandwidth.after)],
            "operations_per_second": [.double(operations.before), .double(operations.after)],
            "arithmetic": .string(arithmetic.rawValue),
        ]
        return report.serialized(JSONWriteOptions(ensureASCII: false, indent: 2))
    }
}
