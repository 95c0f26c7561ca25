import AutoGLMCompute
import AutoGLMModels
import Foundation
import TestKit
import Testing

/// Files broken on purpose: each must be refused with one line, or accepted, and nothing else.
@Suite("Malformed files", .enabled(if: SharedData.isPresent))
struct MalformedFileTests {
    struct Verdicts: Decodable {
        struct Verdict: Decodable {
            let verdict: String
            let tensors: Int?
        }
        let files: [String: Verdict]
    }

    /// Stricter than the reference library, with a reason.
    static let refusedBesides: Set<String> = [
        // Which of the two is meant?
        "header-duplicate-key",
        // No tensor of a model has more than a handful of dimensions.
        "shape-10000-dims",
    ]

    @Test func safetensorsVerdicts() throws {
        let folder = SharedData.path("malformed/safetensors") + "/"
        let verdicts = try JSONDecoder().decode(
            Verdicts.self, from: Data(contentsOf: URL(fileURLWithPath: folder + "verdicts.json")))
        #expect(verdicts.files.count > 100)
        for (name, verdict) in verdicts.files {
            let start = ContinuousClock.now
            do throws(CheckpointError) {
                let file = try CheckpointFile(path: folder + name + ".safetensors")
                let tensors = try Safetensors.weights(of: file).tensors
                #expect(verdict.verdict == "accepted", "\(name) must be refused")
                #expect(tensors.count == verdict.tensors, "\(name)")
            } catch {
                #expect(
                    verdict.verdict == "rejected" || Self.refusedBesides.contains(name),
                    "\(name): \(error)")
                checkMessage(error, file: name)
            }
            #expect(ContinuousClock.now - start < .seconds(1), "\(name)")
        }
    }

    /// The plainly valid containers; of the others, all that counts is an orderly end.
    static let valid: Set<String> = [
        "ok.gguf", "ok-v2.gguf", "alignment-64-ok.gguf", "array-empty.gguf", "array-of-arrays.gguf",
    ]

    @Test func ggufFiles() throws {
        let folder = SharedData.path("malformed/gguf")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        #expect(names.count > 100)
        var refused = 0
        for name in names {
            let start = ContinuousClock.now
            do throws(CheckpointError) {
                let file = try GGUF(path: folder + "/" + name)
                for tensor in file.tensors {
                    _ = try tensor.file.bytes(at: tensor.offset, count: tensor.byteCount)
                }
            } catch {
                #expect(!Self.valid.contains(name), "\(name): \(error)")
                checkMessage(error, file: name)
                refused += 1
            }
            // The same through the whole loader, which must not get further than it should.
            do throws(CheckpointError) {
                _ = ModelInspection(try ModelSource(folder + "/" + name))
            } catch {
                checkMessage(error, file: name)
            }
            #expect(ContinuousClock.now - start < .seconds(1), "\(name)")
        }
        #expect(refused > 60)
    }

    @Test func ggufWithConcreteFaultsIsRefused() {
        for name in [
            "alignment-0", "alignment-3", "array-count-huge", "array-nested-1000", "bad-magic",
            "big-endian-magic", "bool-2", "data-cut", "dim-bytes-overflow", "dim-larger-than-file",
            "dim-negative", "dim-not-multiple-of-block", "dim-product-overflow", "dim-zero",
            "dims-0", "dims-5", "dims-huge-count", "empty", "header-cut", "key-duplicate",
            "key-length-max", "kv-count-max", "kv-count-one-more", "offset-max", "offset-overlap",
            "offset-past-end", "offset-unaligned", "string-length-huge", "tensor-count-2^32",
            "tensor-count-one-more", "tensor-info-cut", "tensor-name-1MB", "tensor-name-duplicate",
            "tensor-type-max", "tensor-type-unknown", "type-13", "version-0", "version-1",
            "version-4", "version-swapped",
        ] {
            let path = SharedData.path("malformed/gguf/\(name).gguf")
            #expect(throws: CheckpointError.self, "\(name)") { _ = try GGUF(path: path) }
        }
    }

    @Test("a valid file cut anywhere is refused")
    func cutFiles() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/model.gguf"
        let whole = try Data(
            contentsOf: URL(
                fileURLWithPath: SharedData.path("models/stories260K/stories260K-Q8_0.gguf")))
        var generator = SplitMix64(seed: 5)
        for _ in 0..<300 {
            let size = Int.random(in: 0..<whole.count, using: &generator)
            try whole.prefix(size).write(to: URL(fileURLWithPath: path))
            #expect(throws: CheckpointError.self, "cut to \(size) bytes") {
                _ = try GGUF(path: path)
            }
        }
    }

    /// One line, of bounded length, that names the file.
    private func checkMessage(_ error: CheckpointError, file: String) {
        let text = "\(error)"
        #expect(text.contains(file), "\(text)")
        #expect(text.utf8.count < 1_500 && !text.contains("\n"), "\(text)")
    }
}
