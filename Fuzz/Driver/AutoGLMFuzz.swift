import Foundation
import FuzzTargets

/// libFuzzer's own `main` knows one target; this one takes its name first:
///
///     autoglm-fuzz TARGET [libFuzzer's arguments]
///     autoglm-fuzz seeds TARGET DIRECTORY     writes seeds, and the dictionary beside them
///     autoglm-fuzz list
@main
enum AutoGLMFuzz {
    nonisolated(unsafe) static var chosen = FuzzTarget.all[0]

    static func main() throws {
        let words = CommandLine.arguments
        switch words.dropFirst().first {
        case "list": print(FuzzTarget.all.map(\.name).joined(separator: "\n"))
        case "seeds" where words.count == 4: try writeSeeds(target(words[2]), words[3])
        case let name:
            chosen = target(name)
            var count = CommandLine.argc - 1
            let arguments = UnsafeMutablePointer(CommandLine.unsafeArgv).advanced(by: 1)
            // The program's name comes first in every argument list.
            arguments[0] = CommandLine.unsafeArgv[0]
            var pointer = arguments
            exit(
                runDriver(&count, &pointer) { bytes, size in
                    chosen.run(Array(UnsafeBufferPointer(start: bytes, count: size)))
                    return 0
                })
        }
    }

    private static func target(_ name: String?) -> FuzzTarget {
        if let target = FuzzTarget.all.first(where: { $0.name == name }) { return target }
        print("targets: \(FuzzTarget.all.map(\.name).joined(separator: " "))")
        exit(2)
    }

    private static func writeSeeds(_ target: FuzzTarget, _ directory: String) throws {
        for (index, seed) in target.seeds.enumerated() {
            try Data(seed).write(to: URL(fileURLWithPath: "\(directory)/seed-\(index)"))
        }
        let lines = target.words.map { word in
            let hex = word.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            return "\"\(hex.joined())\"\n"
        }
        try Data(lines.joined().utf8).write(to: URL(fileURLWithPath: directory + ".dict"))
    }
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<Int8>?>>,
    _ read: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32
