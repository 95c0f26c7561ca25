import CAutoGLMKernels

/// How a file stores the values of a tensor: one line of `formats.def`.
///
/// A struct around the index of that line, so that a further type costs nothing here. Only those
/// have names in Swift that its code makes itself or treats in a way of their own.
package struct StoredType: Sendable, Hashable {
    private let index: UInt32

    private init(_ kernels: k_stored) { index = kernels.rawValue }

    package static let f32 = StoredType(K_STORED_F32)
    package static let f16 = StoredType(K_STORED_F16)
    package static let bf16 = StoredType(K_STORED_BF16)
    package static let q8_0 = StoredType(K_STORED_Q8_0)
    package static let q4_0 = StoredType(K_STORED_Q4_0)

    var kernels: k_stored { k_stored(index) }

    /// `bf16`, `q4_K`, …
    package var name: String { unsafe String(cString: k_stored_type(kernels).name) }

    /// Its number in GGUF files.
    package var ggml: UInt32 { unsafe k_stored_type(kernels).ggml }

    /// Values that share one block, and the bytes of that block.
    package var block: (values: Int, bytes: Int) {
        (Int(k_stored_block_values(kernels)), Int(k_stored_block_bytes(kernels)))
    }

    /// Bytes of a row, or nil where rows do not end at a block border.
    func rowBytes(columns: Int) -> Int? {
        let block = block
        guard columns > 0, columns % block.values == 0 else { return nil }
        let (bytes, overflow) = (columns / block.values).multipliedReportingOverflow(
            by: block.bytes)
        return overflow ? nil : bytes
    }
}

extension StoredType: CaseIterable, CustomStringConvertible {
    package var description: String { name }

    package static let allCases = (0..<K_STORED_COUNT.rawValue).map { StoredType(k_stored($0)) }
}

/// A type of GGUF files that no kernel here reads, known by its size.
package struct ForeignType: Sendable {
    package let name: String
    package let ggml: UInt32
    package let block: (values: Int, bytes: Int)

    package static let all = (0..<k_foreign_count()).map { index in
        let type = unsafe k_foreign_type(index)
        return unsafe ForeignType(
            name: String(cString: type.name), ggml: type.ggml,
            block: (Int(type.values), Int(type.bytes)))
    }
}
