import AutoGLMCompute

/// Linear layers of a quantised safetensors checkpoint.
struct QuantizedTensors: Sendable {
    private let config: QuantizationConfig
    private let checkpoint: Checkpoint

    init(_ config: QuantizationConfig, _ checkpoint: Checkpoint) {
        self.config = config
        self.checkpoint = checkpoint
    }

    func contains(_ name: String) -> Bool { false }

    func tensor(_ name: String, rows: Int, columns: Int, _ claim: (String) -> Void)
        throws(CheckpointError) -> StoredTensor?
    {
        nil
    }
}
