import ArgumentParser
import AutoGLMCompute
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
        let probe = try MachineProbe(options: options)
        if json {
            print(probe.report.json)
        } else {
            print(probe.report.table)
        }
    }
}
