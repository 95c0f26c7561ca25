import FuzzTargets
import Glibc

// libFuzzer's own `main` knows one target; this one takes its name first:
//     autoglm-fuzz TARGET [libFuzzer's arguments]
//     autoglm-fuzz seeds TARGET DIRECTORY     writes seeds, and the dictionary beside them
//     autoglm-fuzz list

@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ read: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

nonisolated(unsafe) var chosen: FuzzTarget = FuzzTarget.all[0]

func target(_ name: String?) -> FuzzTarget {
    if let target = FuzzTarget.all.first(where: { $0.name == name }) { return target }
    fputs("targets: \(FuzzTarget.all.map(\.name).joined(separator: " "))\n", stderr)
    exit(2)
}

func save(_ bytes: [UInt8], _ path: String) {
    guard let file = fopen(path, "w") else {
        fputs("cannot write \(path)\n", stderr)
        exit(2)
    }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
}

func writeSeeds(_ target: FuzzTarget, _ directory: String) {
    for (index, seed) in target.seeds.enumerated() { save(seed, "\(directory)/seed-\(index)") }
    let lines = target.words.map { word in
        "\"" + word.map { byte in
            let hex = String(byte, radix: 16)
            return "\\x" + (hex.count < 2 ? "0" : "") + hex
        }.joined() + "\"\n"
    }
    save(Array(lines.joined().utf8), directory + ".dict")
}

let words = CommandLine.arguments
switch words.dropFirst().first {
case "list": print(FuzzTarget.all.map(\.name).joined(separator: "\n"))
case "seeds" where words.count == 4: writeSeeds(target(words[2]), words[3])
case let name:
    chosen = target(name)
    var count = CommandLine.argc - 1
    var arguments = UnsafeMutablePointer(CommandLine.unsafeArgv).advanced(by: 1)
    // The program's name comes first in every argument list.
    arguments[0] = CommandLine.unsafeArgv[0]
    exit(
        arguments.withMemoryRebound(
            to: UnsafeMutablePointer<CChar>?.self, capacity: Int(count) + 1
        ) { pointer in
            var pointer = pointer
            return runDriver(&count, &pointer) { bytes, size in
                chosen.run(Array(UnsafeBufferPointer(start: bytes, count: size)))
                return 0
            }
        })
}
