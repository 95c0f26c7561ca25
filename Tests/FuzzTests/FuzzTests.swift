import Foundation
import FuzzTargets
import TestKit
import Testing

/// Inputs of unknown origin, without an instrumented build: what once crashed a target, its seeds,
/// and a minute of seeded mutations of them. `make fuzz` searches with libFuzzer.
///
/// A crash ends the tests; the input that caused it is then in the temporary directory under the
/// name that the test has printed.
@Suite(.serialized) struct FuzzTests {
    private static let crashers = SharedData.repository.appendingPathComponent("Fuzz/crashers")

    @Test(arguments: FuzzTarget.all.map(\.name))
    func crashersAreMended(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let folder = Self.crashers.appendingPathComponent(name)
        let files = try? FileManager.default.contentsOfDirectory(atPath: folder.path)
        for file in (files ?? []).sorted() where !file.hasPrefix(".") {
            let start = ContinuousClock.now
            target.run(Array(try Data(contentsOf: folder.appendingPathComponent(file))))
            #expect(ContinuousClock.now - start < .seconds(5), "\(name)/\(file)")
        }
    }

    /// A folder without a target is one that nobody runs.
    @Test func everyFolderHasATarget() throws {
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: Self.crashers.path)) ?? []
        let names = Set(FuzzTarget.all.map(\.name))
        for folder in folders where !folder.hasPrefix(".") && folder != "README.md" {
            #expect(names.contains(folder), "Fuzz/crashers/\(folder)")
        }
        #expect(names.count == 9)
    }

    /// `AUTOGLM_FUZZ_SECONDS` for all targets together, `AUTOGLM_FUZZ_SEED` to repeat a run.
    @Test(arguments: FuzzTarget.all.map(\.name))
    func mutationsAreSurvived(name: String) throws {
        let environment = ProcessInfo.processInfo.environment
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let all = environment["AUTOGLM_FUZZ_SECONDS"].flatMap(Double.init) ?? 60
        let seed = environment["AUTOGLM_FUZZ_SEED"].flatMap(UInt64.init)
            ?? UInt64(Date().timeIntervalSince1970)
        let last = NSTemporaryDirectory() + "autoglm-fuzz-\(name).last"
        print("fuzzing \(name), AUTOGLM_FUZZ_SEED=\(seed), input in \(last)")
        for bytes in target.seeds { target.run(bytes) }
        var mutator = Mutator(target, seed: seed)
        let file = open(last, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer {
            close(file)
            unlink(last)
        }
        let end = ContinuousClock.now + .seconds(all / Double(FuzzTarget.all.count))
        var count = 0
        while ContinuousClock.now < end {
            let bytes = mutator.next()
            ftruncate(file, 0)
            pwrite(file, bytes, bytes.count, 0)
            let start = ContinuousClock.now
            target.run(bytes)
            let duration = ContinuousClock.now - start
            count += 1
            guard duration < .seconds(5) else {
                let text = Data(bytes).base64EncodedString()
                Issue.record("\(name) took \(duration) for the input \(text)")
                break
            }
        }
        print("fuzzed \(name): \(count) inputs")
        #expect(count > 100)
    }
}
