import ArgumentParser
import AutoGLMModels
import Foundation
import TestKit
import Testing

@testable import AutoGLMCommand

/// `autoglm quantize`, from its flags to the files.
@Suite(.serialized) struct QuantizeTests {
    let source: TemporaryDirectory
    let work: TemporaryDirectory

    init() throws {
        source = try TemporaryDirectory()
        work = try TemporaryDirectory()
        try TinyCheckpoint.llama().write(to: source.url)
        let lines = (0..<4).map { row in
            "{\"ids\": [" + (0..<30).map { "\(($0 * 7 + row * 13) % 64)" }.joined(separator: ",")
                + "]}"
        }
        try lines.joined(separator: "\n").write(
            toFile: work.path + "/ids.jsonl", atomically: false, encoding: .utf8)
        try "[1,2,3]".write(
            toFile: work.path + "/short.jsonl", atomically: false, encoding: .utf8)
    }

    private func quantize(_ words: String...) throws -> Quantize {
        try Quantize.parse([source.path] + words)
    }

    private func refusal(_ words: String...) -> String {
        do {
            try Quantize.parse([source.path] + words).run()
        } catch {
            return Quantize.fullMessage(for: error) + " \(error)"
        }
        return "done"
    }

    @Test func flagsThatCannotBeAreExplained() {
        let target = work.path + "/out"
        let ids = work.path + "/ids.jsonl"
        #expect(refusal(target, "--scheme", "int3").contains("int8 or int4"))
        #expect(refusal(target).contains("--scheme"))
        #expect(refusal(target, "--scheme", "int8-static").contains("--calibration"))
        #expect(
            refusal(target, "--scheme", "int8", "--calibration", ids).contains("measures nothing"))
        #expect(
            refusal(target, "--scheme", "int8-static", "--calibration", work.path + "/short.jsonl")
                .contains("64 or more"))
        #expect(
            refusal(target, "--scheme", "int8-static", "--calibration", work.path + "/none")
                .contains("cannot read"))
        #expect(!FileManager.default.fileExists(atPath: target))
    }

    @Test func nothingIsOverwrittenByMistake() throws {
        let target = work.path + "/out"
        #expect(
            refusal(work.path + "/no/where", "--scheme", "int8").contains("make it first"))
        #expect(refusal(source.path, "--scheme", "int8").contains("write elsewhere"))
        #expect(refusal(source.path + "/out", "--scheme", "int8").contains("write elsewhere"))
        try FileManager.default.createDirectory(
            atPath: target, withIntermediateDirectories: false)
        #expect(refusal(target, "--scheme", "int8").contains("--force"))
        #expect(refusal(target, "--scheme", "int8", "--force").contains("no model directory"))
        try FileManager.default.removeItem(atPath: target)
        try quantize(target, "--scheme", "int8", "--no-evaluate").run()
        let first = try Data(contentsOf: URL(fileURLWithPath: target + "/model.safetensors"))
        #expect(refusal(target, "--scheme", "int4").contains("--force"))
        try quantize(target, "--scheme", "int4", "--no-evaluate", "--force").run()
        let second = try Data(contentsOf: URL(fileURLWithPath: target + "/model.safetensors"))
        #expect(second.count < first.count)
        // A quantised model is no source.
        do {
            try Quantize.parse([target, work.path + "/again", "--scheme", "int4"]).run()
            Issue.record("quantised twice")
        } catch { #expect("\(error)".contains("original")) }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: work.path).sorted()
                == ["ids.jsonl", "out", "short.jsonl"])
    }

    @Test func spaceIsCheckedBefore() throws {
        let target = try Destination(work.path + "/out", source: source.path, replaces: false)
        #expect(throws: CommandError.self) { try target.checkSpace(for: .max) }
        try target.checkSpace(for: 1)
    }

    @Test(arguments: ["int8", "int4-asym-g64", "int8-static", "int4-weights"])
    func nllIsMeasuredBeforeAndAfter(_ scheme: String) throws {
        let ids = work.path + "/ids.jsonl"
        let target = work.path + "/out"
        let calibration = scheme.hasSuffix("static") ? ["--calibration", ids] : []
        let command = try Quantize.parse(
            [source.path, target, "--scheme", scheme, "--evaluate", ids, "--json"] + calibration)
        let result = try command.result()
        let before = try #require(result.nllBefore)
        let after = try #require(result.nllAfter)
        #expect(before > 3 && abs(after - before) < 0.3)
        #expect(result.evaluated?.tokens == 120)
        #expect(result.bytesAfter < result.bytesBefore)
        #expect(result.calibrationTokens == (calibration.isEmpty ? nil : 120))
        let loaded = try loadWeights(
            try ModelFlags.parse(["--model", target]), try ModelSource(target))
        let text = try TokenSequences(file: ids, model: target, limit: 4096, length: 2048)
        #expect(try text.meanNLL(loaded) == after)
    }
}
