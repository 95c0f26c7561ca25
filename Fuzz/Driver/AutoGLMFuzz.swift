import Foundation
import FuzzTargets

// `main` is libFuzzer's own. The environment says which target it gets:
//     AUTOGLM_FUZZ_TARGET=gguf autoglm-fuzz [libFuzzer's arguments]
//     AUTOGLM_FUZZ_TARGET=gguf AUTOGLM_FUZZ_SEEDS=DIRECTORY autoglm-fuzz   writes the seeds, and the
//                                                       dictionary beside them
//     autoglm-fuzz                                      lists the targets

private let environment = ProcessInfo.processInfo.environment
private let chosen = FuzzTarget.all.first { $0.name == environment["AUTOGLM_FUZZ_TARGET"] }

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_ count: UnsafeRawPointer?, _ arguments: UnsafeRawPointer?) -> Int32 {
    guard let chosen else {
        print(FuzzTarget.all.map(\.name).joined(separator: "\n"))
        exit(0)
    }
    guard let directory = environment["AUTOGLM_FUZZ_SEEDS"] else { return 0 }
    do { try writeSeeds(chosen, directory) } catch {
        print("cannot write seeds: \(error)")
        exit(1)
    }
    exit(0)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func test(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    chosen?.run(Array(UnsafeBufferPointer(start: bytes, count: size)))
    return 0
}

private func writeSeeds(_ target: FuzzTarget, _ directory: String) throws {
    for (index, seed) in target.seeds.enumerated() {
        try Data(seed).write(to: URL(fileURLWithPath: "\(directory)/seed-\(index)"))
    }
    let lines = target.words.map { word in
        let hex = word.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return "\"\(hex.joined())\"\n"
    }
    try Data(lines.joined().utf8).write(to: URL(fileURLWithPath: directory + ".dict"))
}
