package import AutoGLMCompute

/// Reads the weights of a model into a backend.
package enum ModelLoader {
    /// Reads and checks everything, and hands every weight to `backend`.
    /// - Throws: ``CheckpointError`` with file, tensor, value and remedy.
    package static func load<B: Backend>(_ source: ModelSource, backend: B)
        throws(CheckpointError) -> any CausalLM
    {
        let options = source.options
        if let scheme = options.weightFormat?.scheme, scheme.activations == .fixed {
            throw .unsupported(
                what: "\(scheme.name) on load", file: source.path,
                remedy: "fixed scales are measured on a text: write a quantised model with "
                    + "`autoglm quantize --calibration`, or load with "
                    + "\(QuantizationScheme(bits: scheme.bits).name)")
        }
        let store = WeightStore(source, options, backend)
        let decoder = try Decoder(source.architecture, source.config, Weights(store))
        try store.finish { source.architecture.ignores($0, source.config) }
        let info = source.info(weightBytes: store.weightBytes)
        return DecoderModel(info, decoder, backend)
    }

    /// The same for a model that nothing else is asked of.
    package static func load<B: Backend>(
        _ path: String, options: LoadOptions = LoadOptions(), backend: B
    ) throws(CheckpointError) -> any CausalLM {
        try load(ModelSource(path, options: options), backend: backend)
    }
}
