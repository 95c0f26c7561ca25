import AutoGLMCompute

/// What can be counted from the headers of the files.
extension ModelSource {
    /// - Parameter weightBytes: of the weights in memory.
    func info(weightBytes: Int) -> ModelInfo {
        var info = ModelInfo(
            config, options, parameters: parameterCount, weightBytes: weightBytes)
        countStep(&info)
        return info
    }

    /// Parameters of the model: of quantised layers the weights, not their scales.
    var parameterCount: Int {
        if let panels { return panels.parameterCount }
        return checkpoint.tensors.reduce(0) { sum, entry in
            architecture.ignores(entry.key, config) ? sum : sum + parameters(entry.key, entry.value)
        }
    }

    /// Counts what one decoded token multiplies with and reads: the whole model but the input
    /// embedding (one row of it) and the experts that are not chosen.
    private func countStep(_ info: inout ModelInfo) {
        info.parametersPerToken = 0
        info.weightBytesPerStep = 0
        let hasHead = checkpoint.tensors.keys.contains { architecture.role(of: $0) == .head }
        for (name, tensor) in checkpoint.tensors where !architecture.ignores(name, config) {
            let role = architecture.role(of: name)
            if hasHead, role == .embedding { continue }
            var share = 1.0
            if let experts = config.mixture, role == .expert {
                share = Double(experts.expertsPerToken) / Double(experts.experts)
            }
            let bytes =
                tensor.shape.count >= 2 && panels == nil
                ? options.weightFormat?.bytes(values: tensor.elementCount) ?? tensor.byteCount
                : tensor.byteCount
            info.parametersPerToken += Int(share * Double(parameters(name, tensor)))
            info.weightBytesPerStep += Int(share * Double(bytes))
        }
    }

    private func parameters(_ name: String, _ tensor: CheckpointTensor) -> Int {
        if panels != nil {
            if let form = PanelTensors.form(name) { return tensor.byteCount / form.groupBytes * 32 }
            return name.hasSuffix(PanelTensors.scalesSuffix) ? 0 : tensor.elementCount
        }
        return config.quantization.map { QuantizedTensors.parameters(of: tensor, name, $0) }
            ?? tensor.elementCount
    }
}
