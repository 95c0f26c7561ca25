import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// What errors say.
@Suite struct MessageTests {
    @Test("a note of Git LFS in place of a file is called what it is", arguments: [
        "config.json", "generation_config.json", "model.safetensors.index.json",
        "model.safetensors", "model.gguf", "model-00001-of-00002.safetensors",
    ])
    func gitLFSPointers(name: String) throws {
        let note = "version https://git-lfs.github.com/spec/v1\noid sha256:"
            + String(repeating: "0a", count: 32) + "\nsize 1949337704\n"
        let directory = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: directory.url)
        if name.hasSuffix("-of-00002.safetensors") {
            try Data("{\"weight_map\": {\"model.norm.weight\": \"\(name)\"}}".utf8).write(
                to: directory.url.appendingPathComponent("model.safetensors.index.json"))
        }
        try Data(note.utf8).write(to: directory.url.appendingPathComponent(name))
        let path = directory.path + (name.hasSuffix(".gguf") ? "/" + name : "")
        #expect(throws: CheckpointError.gitLFSPointer(file: directory.path + "/" + name)) {
            _ = try ModelSource(path)
        }
        let text = "\(CheckpointError.gitLFSPointer(file: directory.path + "/" + name))"
        #expect(text.contains("LFS") && text.contains("`git lfs pull` in \(directory.path)"))
    }

    @Test func sizesAreReadable() {
        for (bytes, text) in [
            (0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_600_000, "1.5 MiB"),
            (4_194_303 << 20, "4.0 TiB"), (Int.max, "8.0 EiB"),
        ] {
            #expect(formatBytes(bytes) == text)
        }
    }

    @Test("errors of a device speak for themselves, alone and inside those of a checkpoint")
    func deviceErrors() {
        for (error, words) in [
            (BackendError.outOfMemory(requestedBytes: 4 << 40), "no memory for 4.0 TiB"),
            (.unreadable(tensor: "a.weight", reason: "it ends early"), "a.weight cannot be read"),
            (.unsupported(what: "int3", remedy: "choose int4"), "int3 is not supported; choose"),
            (.notANumber(row: 3), "not numbers"), (.device("the fan stopped"), "the fan stopped"),
        ] {
            let whole = "\(CheckpointError.backend(error, tensor: "b.weight"))"
            #expect("\(error)".contains(words) && whole.contains("b.weight: \(error)"))
            for internals in ["what:", "requestedBytes", "tensor:", "reason:", "BackendError"] {
                #expect(!whole.contains(internals), "\(whole)")
            }
        }
    }

    @Test("a hostile name in a device's error is escaped")
    func hostileNames() {
        let error = BackendError.unreadable(tensor: "\u{1B}[2J", reason: "x")
        #expect(!"\(CheckpointError.backend(error, tensor: "t"))".contains("\u{1B}"))
    }

    @Test("quantising into a directory that is gone says which file, not which error domain")
    func quantisingIntoNothing() throws {
        let directory = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: directory.url)
        let scheme = try #require(QuantizationScheme("int8"))
        let quantizer = try Quantizer(directory.path, options: .init(scheme: scheme))
        let target = directory.path + "/out"
        try FileManager.default.createDirectory(
            atPath: target + "/config.json", withIntermediateDirectories: true)
        do {
            _ = try quantizer.write(to: target, backend: CPUBackend(options: .init())) { _ in }
            Issue.record("not refused")
        } catch {
            let text = "\(error)"
            #expect(text.contains("out/config.json") && !text.contains("Domain"), "\(text)")
        }
    }
}
