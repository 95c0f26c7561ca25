import CAutoGLMKernels
import Glibc

func cosine(_ x: Double) -> Double { cos(x) }
func sine(_ x: Double) -> Double { sin(x) }

/// Reads stored rows and packs them, panel by panel, on all threads.
@safe
struct WeightLoader {
    let pool: ThreadPool
    let set: InstructionSet
    let options: ComputeOptions

    /// Rows of one stored type, drawn from the segments of a source.
    struct Run {
        var type: StoredType
        var segments: [MatrixSource.Segment]
        var rows: Int
        var name: String { segments.first?.tensor.name ?? "" }
    }

    /// Checks a source and cuts it where the stored type changes.
    func runs(_ source: MatrixSource) throws(BackendError) -> [Run] {
        guard source.columns > 0, source.columns <= Int(K_INPUTS_MAX), source.rows > 0,
            source.rows <= Int(Int32.max) / 2
        else {
            throw .unreadable(
                tensor: source.segments.first?.tensor.name ?? "(none)",
                reason: "a matrix of \(source.rows) × \(source.columns); columns may be "
                    + "from 1 to \(K_INPUTS_MAX)")
        }
        var runs: [Run] = []
        for segment in source.segments where !segment.rows.isEmpty {
            guard segment.tensor.type.rowBytes(columns: source.columns) != nil else {
                throw .unreadable(
                    tensor: segment.tensor.name,
                    reason: "rows of \(source.columns) do not fill blocks of "
                        + "\(segment.tensor.type.block.values) (\(segment.tensor.type.name))")
            }
            if let last = runs.indices.last, runs[last].type == segment.tensor.type {
                runs[last].segments.append(segment)
                runs[last].rows += segment.rows.count
            } else {
                runs.append(
                    Run(type: segment.tensor.type, segments: [segment], rows: segment.rows.count))
            }
        }
        return runs
    }

    func matrix(_ source: MatrixSource, bias: [Float]?, format: WeightFormat?)
        throws(BackendError) -> CPUMatrix
    {
        let runs = try runs(source)
        if let bias, bias.count != source.rows {
            throw .unreadable(
                tensor: runs.first?.name ?? "",
                reason: "\(bias.count) bias values for \(source.rows) outputs")
        }
        var parts: [WeightPanels] = []
        var first = 0
        for run in runs {
            let layout = try WeightLayout(
                stored: run.type, wanted: format, set: set, options: options)
            let panels = try WeightPanels(
                format: layout, outputs: run.rows, inputs: source.columns, gated: false,
                firstOutput: first, bias: bias.map { $0[first..<first + run.rows] })
            try pack(run, layout.rounding, into: panels, first: 0, step: 1)
            parts.append(panels)
            first += run.rows
        }
        return CPUMatrix(parts: parts, outputs: source.rows, inputs: source.columns)
    }

    func gatedMatrix(gate: MatrixSource, up: MatrixSource, format: WeightFormat?)
        throws(BackendError) -> CPUGatedMatrix
    {
        let gateRuns = try runs(gate)
        let upRuns = try runs(up)
        guard gate.rows == up.rows, gate.columns == up.columns else {
            throw .unreadable(
                tensor: gateRuns.first?.name ?? "",
                reason: "the gate is \(gate.rows) × \(gate.columns), but the up projection "
                    + "\(up.rows) × \(up.columns)")
        }
        guard gateRuns.count == 1, upRuns.count == 1, gateRuns[0].type == upRuns[0].type else {
            let form = CPUGatedMatrix.Form.apart(
                gate: try matrix(gate, bias: nil, format: format),
                up: try matrix(up, bias: nil, format: format))
            return CPUGatedMatrix(form, features: gate.rows, inputs: gate.columns)
        }
        let layout = try WeightLayout(
            stored: gateRuns[0].type, wanted: format, set: set, options: options)
        let panels = try WeightPanels(
            format: layout, outputs: gate.rows, inputs: gate.columns, gated: true, firstOutput: 0,
            bias: nil)
        try pack(gateRuns[0], layout.rounding, into: panels, first: 0, step: 2)
        try pack(upRuns[0], layout.rounding, into: panels, first: 1, step: 2)
        return CPUGatedMatrix(.interleaved(panels), features: gate.rows, inputs: gate.columns)
    }

    func embedding(_ source: MatrixSource) throws(BackendError) -> CPUEmbedding {
        let runs = try runs(source)
        guard runs.count == 1, let rowBytes = runs[0].type.rowBytes(columns: source.columns) else {
            throw .unreadable(
                tensor: runs.first?.name ?? "", reason: "embeddings of more than one stored type")
        }
        let (bytes, overflow) = rowBytes.multipliedReportingOverflow(by: source.rows)
        guard !overflow else { throw .outOfMemory(requestedBytes: .max) }
        let buffer = try OwnedBuffer(bytes: bytes)
        let perPiece = max(1, (1 << 20) / rowBytes)
        try share((source.rows + perPiece - 1) / perPiece) { piece, _ throws(BackendError) in
            let rows = piece * perPiece..<min(source.rows, (piece + 1) * perPiece)
            try unsafe read(
                runs[0], rows, rowBytes: rowBytes,
                into: UnsafeMutableRawBufferPointer(
                    start: buffer.base + rows.lowerBound * rowBytes, count: rows.count * rowBytes))
        }
        return CPUEmbedding(
            .rows(buffer, runs[0].type, rowBytes: rowBytes), vocabulary: source.rows,
            hidden: source.columns)
    }

    /// Packs every 32 rows of `run` into panels `first`, `first + step`, ….
    private func pack(
        _ run: Run, _ rounding: QuantizationScheme?, into panels: WeightPanels, first: Int,
        step: Int
    ) throws(BackendError) {
        let inputs = Int(unsafe panels.descriptor.pointee.inputs)
        let width = Int(K_PANEL)
        guard let rowBytes = run.type.rowBytes(columns: inputs) else { return }
        // One thread's room: the rows as stored, then as f32 for formats that go through it.
        let stored = (width * rowBytes + 63) & ~63
        let room = (stored + width * inputs * 4 + 4095) & ~4095
        let scratch = try OwnedBuffer(bytes: room * pool.threads)
        try share((run.rows + width - 1) / width) { panel, thread throws(BackendError) in
            let rows = panel * width..<min(run.rows, (panel + 1) * width)
            let base = unsafe scratch.base + thread * room
            try unsafe read(
                run, rows, rowBytes: rowBytes,
                into: UnsafeMutableRawBufferPointer(start: base, count: rows.count * rowBytes))
            unsafe withUnsafeTemporaryAllocation(of: UnsafePointer<UInt8>?.self, capacity: width) {
                pointers in
                for row in 0..<width {
                    unsafe pointers[row] =
                        row < rows.count
                        ? UnsafePointer(
                            (base + row * rowBytes).assumingMemoryBound(to: UInt8.self)) : nil
                }
                let floats = unsafe (base + stored).assumingMemoryBound(to: Float.self)
                let target = unsafe panels.panel(first + panel * step)
                if let rounding {
                    unsafe k_scheme_pack(
                        rounding.kernels, target, Int32(inputs), run.type.kernels,
                        pointers.baseAddress, floats)
                } else {
                    unsafe panels.operations.pointee.pack(
                        target, Int32(inputs), run.type.kernels, pointers.baseAddress, floats)
                }
            }
        }
    }

    /// Reads rows of a run, which may lie in several tensors.
    private func read(
        _ run: Run, _ rows: Range<Int>, rowBytes: Int, into buffer: UnsafeMutableRawBufferPointer
    ) throws(BackendError) {
        var before = 0
        for segment in run.segments {
            let here = (rows.lowerBound - before)..<(rows.upperBound - before)
            let taken = here.clamped(to: 0..<segment.rows.count)
            if !taken.isEmpty {
                let start = (before + taken.lowerBound - rows.lowerBound) * rowBytes
                try unsafe segment.tensor.reader.read(
                    UnsafeMutableRawBufferPointer(
                        rebasing: buffer[start..<start + taken.count * rowBytes]),
                    at: (segment.rows.lowerBound + taken.lowerBound) * rowBytes)
            }
            before += segment.rows.count
        }
    }

    /// Runs `body` for every item on all threads; throws the first error of the lowest thread.
    func share(_ items: Int, _ body: (Int, Int) throws(BackendError) -> Void)
        throws(BackendError)
    {
        let failures = UnsafeMutableBufferPointer<BackendError?>.allocate(capacity: pool.threads)
        unsafe failures.initialize(repeating: nil)
        defer {
            unsafe failures.deinitialize()
            unsafe failures.deallocate()
        }
        pool.share(items) { range, thread in
            for item in range {
                guard unsafe failures[thread] == nil else { return }
                do throws(BackendError) {
                    try body(item, thread)
                } catch {
                    unsafe failures[thread] = error
                }
            }
        }
        for thread in 0..<pool.threads {
            if let failure = unsafe failures[thread] { throw failure }
        }
    }
}
