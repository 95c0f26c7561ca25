import ArgumentParser
import AutoGLMCompute
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText
import Foundation

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what this machine has and how fast it is.")

    @Flag(help: "Print JSON.")
    var json = false

    @Option(name: .shortAndLong, help: "Threads that compute. Default: all cores.")
    var threads: Int?

    @Option(help: "Kernels to use: avx512, avx2 or scalar. Default: the best for this CPU.")
    var cpuIsa: String?

    func run() throws {
        var options = ComputeOptions()
        options.threads = threads
        options.instructionSet = cpuIsa
        let backend = try CPUBackend(options: options)
        let features = CPUFeatures()
        let probe = try MachineProbe.measure(threads: backend.threads)
        print(json ? report(backend, features, probe) : table(backend, features, probe))
    }

    private func table(
        _ backend: CPUBackend, _ features: CPUFeatures, _ probe: MachineProbe
    ) -> String {
        let memory = ProcessInfo.processInfo.physicalMemory
        var rows = [
            ("processor", features.model),
            ("features", features.flags.joined(separator: " ")),
            ("kernels", backend.instructionSet.rawValue),
            ("cores", "\(features.cores) usable, \(backend.threads) threads computing"),
            (
                "memory",
                "\(formatBytes(Int(memory))), "
                    + "\(formatBytes(LoadedEngine.availableMemory())) available"
            ),
        ]
        for entry in probe.bandwidth {
            let threads = entry.threads == 1 ? "1 thread" : "\(entry.threads) threads"
            rows.append(
                ("memory bandwidth", "\(decimal(entry.bytesPerSecond / 1e9, 1)) GB/s, \(threads)"))
        }
        for (name, rate) in rates(probe) {
            let text = rate > 0
                ? "\(decimal(rate / 1e9, 0)) Gop/s" : "no instruction for it on this processor"
            rows.append(("\(name) arithmetic", text))
        }
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { label, text in
            label + String(repeating: " ", count: width - label.count) + "  " + text
        }.joined(separator: "\n")
    }

    private func rates(_ probe: MachineProbe) -> [(String, Double)] {
        [
            ("f32", probe.f32PerSecond), ("bf16", probe.bf16PerSecond),
            ("int8", probe.int8PerSecond),
        ]
    }

    private func report(
        _ backend: CPUBackend, _ features: CPUFeatures, _ probe: MachineProbe
    ) -> String {
        let bandwidth = probe.bandwidth.map { entry -> JSONValue in
            [
                "threads": .int(Int64(entry.threads)),
                "bytes_per_second": .double(entry.bytesPerSecond),
            ]
        }
        let value: JSONValue = [
            "processor": .string(features.model),
            "features": .array(features.flags.map { .string($0) }),
            "kernels": .string(backend.instructionSet.rawValue),
            "cores": .int(Int64(features.cores)), "threads": .int(Int64(backend.threads)),
            "memory_bytes": .int(Int64(ProcessInfo.processInfo.physicalMemory)),
            "memory_available_bytes": .int(Int64(LoadedEngine.availableMemory())),
            "memory_bandwidth": .array(bandwidth),
            "f32_operations_per_second": .double(probe.f32PerSecond),
            "bf16_operations_per_second": .double(probe.bf16PerSecond),
            "int8_operations_per_second": .double(probe.int8PerSecond),
        ]
        return value.serialized(JSONWriteOptions(ensureASCII: false, indent: 2))
    }
}
