package import AutoGLMCompute
import AutoGLMJSON

/// What the values of a tensor are, as the file says.
package enum ElementType: Sendable, Equatable {
    /// A form that a backend can take.
    case stored(StoredType)
    /// Two's complement integers, or unsigned ones: parts of quantised weights.
    case integer(bits: Int, signed: Bool)
    /// Known to the file format, but of no use to any model here.
    case other(String)
}

/// One tensor of a checkpoint: where it lies and what it is. Its bytes are inside the file.
package struct CheckpointTensor: Sendable {
    /// As the file names it.
    package let name: String
    package let type: ElementType
    /// Outermost dimension first.
    package let shape: [Int]
    package let file: CheckpointFile
    /// Bytes from the start of the file.
    package let offset: Int
    package let byteCount: Int

    package var elementCount: Int { shape.reduce(1, *) }

    /// The bytes as a backend reads them.
    func stored() throws(CheckpointError) -> StoredTensor {
        guard case .stored(let type) = type else {
            throw .unsupported(
                what: "tensor \(excerpt(name)) with values of type \(describedType)",
                file: file.path, remedy: "convert the checkpoint to bf16")
        }
        return StoredTensor(name: name, type: type, shape: shape, reader: reader)
    }

    var reader: FileTensorReader {
        FileTensorReader(name: name, file: file, offset: offset, byteCount: byteCount)
    }

    private var describedType: String {
        switch type {
        case .stored(let type): type.name
        case .integer(let bits, let signed): (signed ? "int" : "uint") + String(bits)
        case .other(let name): name
        }
    }
}

/// All tensors of a model, whatever files they lie in, under the names the architectures use.
package struct Checkpoint: Sendable {
    /// The directory or file the user named.
    package let path: String
    /// By canonical name (``TensorNames``).
    package let tensors: [String: CheckpointTensor]
    /// How the files spell the canonical names; for messages.
    let names: TensorNames
    /// GGUF stores query and key rows of Llama models in the order of interleaved rotary pairs.
    let isGGUF: Bool

    init(
        path: String, tensors: [CheckpointTensor], names: TensorNames, isGGUF: Bool
    ) throws(CheckpointError) {
        var byName: [String: CheckpointTensor] = [:]
        byName.reserveCapacity(tensors.count)
        for tensor in tensors {
            let name = names.canonical(tensor.name)
            if let earlier = byName.updateValue(tensor, forKey: name) {
                throw .malformed(
                    file: tensor.file.path, offset: nil, field: "tensor \(excerpt(tensor.name))",
                    reason: "also in \(earlier.file.path) as \(excerpt(earlier.name))")
            }
        }
        self.path = path
        self.tensors = byName
        self.names = names
        self.isGGUF = isGGUF
    }

    /// The files that hold tensors, each once, in the order of their paths.
    var files: [CheckpointFile] {
        var byPath: [String: CheckpointFile] = [:]
        for tensor in tensors.values { byPath[tensor.file.path] = tensor.file }
        return byPath.values.sorted { $0.path < $1.path }
    }

    package var byteCount: Int { tensors.values.reduce(0) { $0 + $1.byteCount } }
}

/// Translates the tensor names of a file layout into those the architectures use, which are the
/// ones of Hugging Face transformers: `model.layers.3.input_layernorm.weight`.
struct TensorNames: Sendable {
    /// What stands before the number of a layer.
    let layers: String
    /// Names outside the layers; `.weight` and `.bias` are carried over.
    let outside: [String: String]
    /// Names within a layer.
    let inside: [String: String]

    static let canonicalLayers = DecoderNames.layers + "."
    static let identity = TensorNames(layers: canonicalLayers, outside: [:], inside: [:])

    func canonical(_ name: String) -> String {
        guard name.hasPrefix(layers) else {
            return translate(name, outside) ?? name
        }
        let rest = name.dropFirst(layers.count)
        guard let dot = rest.firstIndex(of: "."), let layer = Int(rest[..<dot]),
            let translated = translate(String(rest[rest.index(after: dot)...]), inside)
        else { return name }
        return "\(Self.canonicalLayers)\(layer).\(translated)"
    }

    /// The file's spelling of a canonical name, as far as the tables tell.
    func original(_ name: String) -> String {
        guard name.hasPrefix(Self.canonicalLayers) else {
            return untranslate(name, outside) ?? name
        }
        let rest = name.dropFirst(Self.canonicalLayers.count)
        guard let dot = rest.firstIndex(of: "."),
            let original = untranslate(String(rest[rest.index(after: dot)...]), inside)
        else { return name }
        return "\(layers)\(rest[..<dot]).\(original)"
    }

    private func translate(_ name: String, _ table: [String: String]) -> String? {
        if let whole = table[name] { return whole }
        guard let dot = name.lastIndex(of: "."), let stem = table[String(name[..<dot])]
        else { return nil }
        return stem + name[dot...]
    }

    private func untranslate(_ name: String, _ table: [String: String]) -> String? {
        if let whole = table.first(where: { $0.value == name }) { return whole.key }
        guard let dot = name.lastIndex(of: "."),
            let stem = table.first(where: { $0.value == name[..<dot] })
        else { return nil }
        return stem.key + name[dot...]
    }
}
