import CAutoGLMKernels

// Panels from and to files, and what a calibration measures of their inputs.

extension WeightLoader {
    /// Reads a matrix that lies in panels: one sequential read where they are as wide as the
    /// kernels' own, else rearranged on the way, without loss.
    func panels(_ packed: PackedMatrix, bias: [Float]?) throws(BackendError) -> WeightPanels {
        guard packed.outputs > 0, packed.outputs <= Int(Int32.max) / 2,
            let stored = packed.form.panelBytes(
                inputs: packed.inputs, panelOutputs: packed.panelOutputs),
            bias.map({ $0.count == packed.outputs }) ?? true,
            packed.inputScales.map({ $0.count == (packed.inputs + 31) / 32 }) ?? true
        else {
            throw .unreadable(
                tensor: packed.name,
                reason: "no panels of \(packed.panelOutputs) outputs hold a matrix of "
                    + "\(packed.outputs) × \(packed.inputs)")
        }
        let layout = try WeightLayout(
            packed.form.format, packed.activations, name: "panels of \(packed.form.rawValue)",
            set: set, options: options)
        let panels = try WeightPanels(
            format: layout, outputs: packed.outputs, inputs: packed.inputs, gated: packed.isGated,
            firstOutput: 0, bias: bias.map { $0[...] }, inputScales: packed.inputScales)
        if packed.panelOutputs == PackedMatrix.ownWidth {
            let piece = 1 << 20
            try share((panels.bytes + piece - 1) / piece) { index, _ throws(BackendError) in
                let start = index * piece
                try unsafe packed.reader.read(
                    UnsafeMutableRawBufferPointer(
                        start: panels.panel(0) + start, count: min(piece, panels.bytes - start)),
                    at: start)
            }
        } else {
            try rearrange(packed, panelBytes: stored, into: panels)
        }
        return panels
    }

    private func rearrange(_ packed: PackedMatrix, panelBytes: Int, into panels: WeightPanels)
        throws(BackendError)
    {
        let (own, width) = (PackedMatrix.ownWidth, packed.panelOutputs)
        let room = (panelBytes + 4095) & ~4095
        let (bytes, overflow) = room.multipliedReportingOverflow(by: pool.threads)
        guard !overflow else { throw .outOfMemory(requestedBytes: .max) }
        let scratch = try OwnedBuffer(bytes: bytes)
        let halves = packed.isGated ? 2 : 1
        let count = unsafe Int(panels.descriptor.pointee.panels)
        try share(count) { index, thread throws(BackendError) in
            let base = unsafe scratch.base + thread * room
            let (block, half) = (index / halves, index % halves)
            var output = block * own
            let end = min(packed.outputs, output + own)
            while output < end {
                let from = output / width
                let taken = min(end, (from + 1) * width) - output
                try unsafe packed.reader.read(
                    UnsafeMutableRawBufferPointer(start: base, count: panelBytes),
                    at: (from * halves + half) * panelBytes)
                unsafe k_panel_move(
                    packed.form.kernels, Int32(packed.inputs),
                    base.assumingMemoryBound(to: UInt8.self), Int32(width),
                    Int32(output - from * width), panels.panel(index), Int32(own),
                    Int32(output - block * own), Int32(taken))
                output += taken
            }
        }
    }
}

/// The panels of a loaded matrix, as they are written to a file.
package struct PanelImage {
    private let panels: WeightPanels
    package let form: PanelForm
    package var outputs: Int { panels.outputs }
    package var inputs: Int { unsafe Int(panels.descriptor.pointee.inputs) }
    package var isGated: Bool { unsafe panels.descriptor.pointee.gated != 0 }

    fileprivate init?(_ panels: WeightPanels) {
        guard let form = unsafe PanelForm(format: panels.descriptor.pointee.format) else {
            return nil
        }
        self.panels = panels
        self.form = form
    }

    /// Hands over all panels in their order, `panelOutputs` wide; each is whole.
    package func write<Failure: Error>(
        panelOutputs width: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        if width == PackedMatrix.ownWidth {
            try unsafe body(UnsafeRawBufferPointer(start: panels.panel(0), count: panels.bytes))
            return
        }
        guard let bytes = form.panelBytes(inputs: inputs, panelOutputs: width) else {
            preconditionFailure("panels of \(width) outputs")
        }
        let own = PackedMatrix.ownWidth
        let halves = isGated ? 2 : 1
        let count = PackedMatrix.panels(outputs: outputs, isGated: isGated, panelOutputs: width)
        let buffer = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes)
        defer { unsafe buffer.deallocate() }
        for index in 0..<count {
            let (block, half) = (index / halves, index % halves)
            unsafe buffer.update(repeating: 0, count: bytes)
            var output = block * width
            let end = min(outputs, output + width)
            while output < end {
                let from = output / own
                let taken = min(end, (from + 1) * own) - output
                unsafe k_panel_move(
                    form.kernels, Int32(inputs), panels.panel(from * halves + half), Int32(own),
                    Int32(output - from * own), buffer, Int32(width),
                    Int32(output - block * width), Int32(taken))
                output += taken
            }
            try unsafe body(UnsafeRawBufferPointer(start: buffer, count: bytes))
        }
    }

    /// From now on the greatest magnitudes of the inputs are kept.
    package func observeInputs() {
        panels.inputMagnitudes = [Float](repeating: 0, count: (inputs + 31) / 32)
    }

    /// One per 32 inputs.
    package var inputMagnitudes: [Float]? { panels.inputMagnitudes }
}

extension CPUMatrix {
    /// nil where the weights are no panels of one quantised form.
    package var image: PanelImage? { parts.count == 1 ? PanelImage(parts[0]) : nil }
}

extension CPUGatedMatrix {
    package var image: PanelImage? {
        if case .interleaved(let panels) = form { PanelImage(panels) } else { nil }
    }
}

extension CPUBackend {
    /// Notes the magnitudes of what is about to be multiplied.
    func observe(_ x: CPUActivations, _ norm: CPUNorm?, _ weight: WeightPanels) {
        let mark = mark()
        defer { release(mark) }
        let rows = norm.map { normalized(x, $0) } ?? x
        guard failure == nil, var magnitudes = weight.inputMagnitudes else { return }
        for row in 0..<rows.rows {
            for column in 0..<rows.columns {
                let value = unsafe abs(rows.base[row * rows.stride + column])
                if value > magnitudes[column / 32] { magnitudes[column / 32] = value }
            }
        }
        weight.inputMagnitudes = magnitudes
    }
}
