import CAutoGLMKernels

/// The kernel sets of this build, and which of them this processor can run.
package enum InstructionSet: String, Sendable, CaseIterable, Comparable {
    case scalar
    case avx2
    case avx512
    case avx512VNNI = "avx512-vnni"
    case avx512BF16 = "avx512-bf16"

    var kernels: k_isa {
        switch self {
        case .scalar: K_ISA_SCALAR
        case .avx2: K_ISA_AVX2
        case .avx512: K_ISA_AVX512
        case .avx512VNNI: K_ISA_AVX512_VNNI
        case .avx512BF16: K_ISA_AVX512_BF16
        }
    }

    init(_ kernels: k_isa) {
        switch kernels {
        case K_ISA_AVX2: self = .avx2
        case K_ISA_AVX512: self = .avx512
        case K_ISA_AVX512_VNNI: self = .avx512VNNI
        case K_ISA_AVX512_BF16: self = .avx512BF16
        default: self = .scalar
        }
    }

    /// The largest set this processor runs.
    package static var best: InstructionSet { InstructionSet(k_best_isa()) }
    /// The fastest one, which is not always the largest.
    package static var preferred: InstructionSet { InstructionSet(k_default_isa()) }
    /// Every set that runs here.
    package static var available: [InstructionSet] { allCases.filter { $0 <= best } }

    package static func < (a: InstructionSet, b: InstructionSet) -> Bool {
        a.kernels.rawValue < b.kernels.rawValue
    }

    /// The set a user named, or the best one.
    static func named(_ name: String?) throws(BackendError) -> InstructionSet {
        guard let name else { return preferred }
        guard let set = InstructionSet(rawValue: name) else {
            let known = allCases.map(\.rawValue).joined(separator: ", ")
            throw .unsupported(
                what: "instruction set \"\(name)\"", remedy: "choose one of \(known)")
        }
        guard set <= best else {
            throw .unsupported(
                what: "instruction set \(name) on this processor",
                remedy: "leave it out, or choose \(best.rawValue) or less")
        }
        return set
    }
}

/// What `doctor` prints about the processor.
package struct CPUFeatures: Sendable {
    package let model: String
    /// Names as the kernel prints them, those that the kernels make use of.
    package let flags: [String]
    /// Cores this process may use, by affinity and cgroup quota.
    package let cores: Int

    package init() {
        let cpu = k_cpu_features()
        let brand = unsafe withUnsafeBytes(of: cpu.brand) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let words = brand.split(separator: " ")
        model = words.isEmpty ? "unknown processor" : words.joined(separator: " ")
        let all: [(String, UInt8)] = [
            ("avx2", cpu.avx2), ("fma", cpu.fma), ("f16c", cpu.f16c), ("avx_vnni", cpu.avx_vnni),
            ("avx512f", cpu.avx512f), ("avx512bw", cpu.avx512bw), ("avx512vl", cpu.avx512vl),
            ("avx512dq", cpu.avx512dq), ("avx512_vnni", cpu.avx512vnni),
            ("avx512_bf16", cpu.avx512bf16),
        ]
        flags = all.filter { $0.1 != 0 }.map(\.0)
        cores = Int(k_cores())
    }
}
