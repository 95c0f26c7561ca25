import ArgumentParser
import AutoGLMCompute
import AutoGLMJSON
import AutoGLMModels
import AutoGLMText
import Foundation
import Glibc

struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a quantised copy of a model, laid out for the kernels.",
        discussion: """
            SCHEME is int8 or int4, then, where wanted and in this order:
              -asym                      a minimum beside each scale
              -channel, -g32, -g64, -g128   inputs that share a scale (default: 32)
              -dynamic                   activations in 8 bits, scaled per row and 32 (default)
              -static                    activations in 8 bits, by scales measured on --calibration
              -weights                   activations stay floating-point
            The output projection keeps 8 bits, embeddings and norms stay as they are.

            A text file is UTF-8, or JSON lines: conversations ({"messages": …}), texts \
            ({"text": …}) or token ids ({"ids": …}).
            """)

    @Argument(help: "Model to quantise: a directory with safetensors, or a .safetensors file.")
    var source: String

    @Argument(help: "Directory to write; it must not be there yet.")
    var destination: String

    @Option(
        help: ArgumentHelp("How to round, such as int8 or int4-asym-g64.", valueName: "scheme"),
        transform: Self.scheme)
    var scheme: QuantizationScheme

    @Option(
        help: ArgumentHelp("Text that -static schemes measure activations on.", valueName: "file"))
    var calibration: String?

    @Option(
        help: ArgumentHelp(
            "Text for the NLL before and after. Default: the calibration text, else a short one "
                + "inside the program.", valueName: "file"))
    var evaluate: String?

    @Flag(help: "Do not measure the NLL; the original is then never loaded whole.")
    var noEvaluate = false

    @Option(help: "Tokens taken from each text at most.")
    var textTokens: Int = 4096

    @Option(name: .shortAndLong, help: "Threads that compute. Default: all cores.")
    var threads: Int?

    @Option(help: "Kernels to use: avx512, avx2 or scalar. Default: the best for this CPU.")
    var cpuIsa: String?

    @Flag(help: "Replace DESTINATION where it is a model directory.")
    var force = false

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: ArgumentHelp("YAML file with the long flags as keys.", valueName: "file"))
    var config: String?

    /// Fewer say too little about the ranges of activations.
    static let calibrationTokensMin = 64

    static func scheme(_ text: String) throws -> QuantizationScheme {
        guard let scheme = QuantizationScheme(text) else {
            throw ValidationError("expected \(QuantizationScheme.grammar)")
        }
        return scheme
    }

    func validate() throws {
        try check("--text-tokens", textTokens, Self.calibrationTokensMin...(1 << 24))
        try check("--threads", threads, 1...1024)
        if scheme.activations == .fixed, calibration == nil {
            throw ValidationError(
                "--scheme \(scheme.name) measures activations on a text; give one with "
                    + "--calibration FILE")
        }
        if scheme.activations != .fixed, calibration != nil {
            throw ValidationError(
                "--scheme \(scheme.name) measures nothing; leave --calibration out, or choose "
                    + "a scheme that ends in -static")
        }
        if noEvaluate, evaluate != nil {
            throw ValidationError("give --evaluate or --no-evaluate, not both")
        }
    }

    func run() throws {
        let result = try result()
        print(json ? result.json : result.table)
    }

    /// Does the work.
    func result() throws -> Result {
        let target = try Destination(destination, source: source, replaces: force)
        let bar = ProgressBar()
        defer { bar.clear() }
        var options = Quantizer.Options(scheme: scheme)
        options.program = "autoglm \(buildVersion)"
        options.progress = { bar.update("quantising", $0.bytesRead, $0.bytesTotal) }
        let quantizer = try Quantizer(source, options: options)
        try target.checkSpace(for: quantizer.bytesEstimated)
        let texts = try texts()
        var result = Result(
            scheme: scheme, source: source, destination: target.path,
            bytesBefore: quantizer.sourceBytes)
        let clock = ContinuousClock()
        if let text = texts.evaluation {
            result.evaluated = (text.name, text.count)
            result.nllBefore = try text.meanNLL(load(source, bar))
        }
        let partial = try target.makePartial()
        do {
            result.duration = try clock.measure {
                let backend = try CPUBackend(options: computeOptions(ModelSource(source)))
                let report = try quantizer.write(to: partial, backend: backend) { model in
                    bar.clear()
                    if let text = texts.calibration { _ = try text.meanNLL(model) }
                }
                result.note(report, calibration: texts.calibration?.count)
            }
            if let text = texts.evaluation {
                result.nllAfter = try text.meanNLL(load(partial, bar))
            }
            try target.publish(partial)
        } catch {
            try? FileManager.default.removeItem(atPath: partial)
            throw error
        }
        return result
    }

    private func texts() throws -> (calibration: TokenSequences?, evaluation: TokenSequences?) {
        // Long enough for what attention sees of a context, short enough for little memory.
        let length = min(try ModelInspection(source).info.contextLength, 2048)
        func read(_ file: String) throws -> TokenSequences {
            let text = try TokenSequences(
                file: file, model: source, limit: textTokens, length: length)
            guard text.count > 0 else { throw CommandError("\(file) holds no tokens") }
            return text
        }
        let calibration = try calibration.map(read)
        if let calibration, calibration.count < Self.calibrationTokensMin {
            throw CommandError(
                "\(calibration.name) has \(calibration.count) tokens; activations are measured on "
                    + "\(Self.calibrationTokensMin) or more (some thousands are better)")
        }
        if noEvaluate { return (calibration, nil) }
        let evaluation = try evaluate.map(read) ?? calibration
            ?? TokenSequences(builtInFor: source, limit: textTokens, length: length)
        return (calibration, evaluation)
    }

    private func computeOptions(_ source: ModelSource) throws -> ComputeOptions {
        var options = ComputeOptions()
        if try isKeptInF32(source) { options.precision = .f32 }
        options.cacheFormat = options.precision == .f32 ? .f32 : .bf16
        options.threads = threads
        options.instructionSet = cpuIsa
        return options
    }

    private func load(_ path: String, _ bar: ProgressBar) throws -> any CausalLM {
        defer { bar.clear() }
        let source = try ModelSource(path)
        let compute = try computeOptions(source)
        var options = source.options
        options.cacheFormat = compute.cacheFormat
        options.progress = { bar.update("loading", $0.bytesRead, $0.bytesTotal) }
        return try ModelLoader.load(
            source.with(options), backend: try CPUBackend(options: compute))
    }

    // MARK: What came of it

    struct Result {
        var scheme: QuantizationScheme
        var source: String
        var destination: String
        var bytesBefore: Int
        var bytesAfter = 0
        var calibrationTokens: Int?
        var uncalibrated = 0
        var evaluated: (name: String, tokens: Int)?
        var nllBefore: Double?
        var nllAfter: Double?
        /// Of rounding, calibrating and writing.
        var duration = Duration.zero

        init(scheme: QuantizationScheme, source: String, destination: String, bytesBefore: Int) {
            self.scheme = scheme
            self.source = source
            self.destination = destination
            self.bytesBefore = bytesBefore
        }

        mutating func note(_ report: Quantizer.Report, calibration: Int?) {
            bytesAfter = report.bytes
            calibrationTokens = calibration
            uncalibrated = report.uncalibrated
        }

        var table: String {
            let share = decimal(Double(bytesAfter) / Double(max(bytesBefore, 1)) * 100, 1)
            var lines = [
                "\(destination): \(scheme.name)",
                "size       \(formatBytes(bytesBefore)) -> \(formatBytes(bytesAfter)) (\(share) %)",
                "time       \(decimal(duration / .seconds(1), 1)) s",
            ]
            if let calibrationTokens {
                lines.append("calibrated on \(calibrationTokens) tokens")
                if uncalibrated > 0 {
                    lines.append(
                        "\(uncalibrated) matrices were never reached by the text and keep dynamic "
                            + "scales")
                }
            }
            if let evaluated, let nllBefore, let nllAfter {
                lines.append(
                    "mean NLL   \(decimal(nllBefore, 4)) -> \(decimal(nllAfter, 4)) over "
                        + "\(evaluated.tokens) tokens of \(evaluated.name)")
            } else {
                lines.append("mean NLL   not measured")
            }
            return lines.joined(separator: "\n")
        }

        var json: String {
            let members: [(String, JSONValue)] = [
                ("scheme", .string(scheme.name)), ("source", .string(source)),
                ("destination", .string(destination)),
                ("bytes_before", .int(Int64(bytesBefore))),
                ("bytes_after", .int(Int64(bytesAfter))),
                ("seconds", .double(duration / .seconds(1))),
                ("calibration_tokens", calibrationTokens.map { .int(Int64($0)) } ?? .null),
                ("uncalibrated_matrices", .int(Int64(uncalibrated))),
                ("evaluation_text", evaluated.map { .string($0.name) } ?? .null),
                ("evaluation_tokens", evaluated.map { .int(Int64($0.tokens)) } ?? .null),
                ("nll_before", nllBefore.map { .double($0) } ?? .null),
                ("nll_after", nllAfter.map { .double($0) } ?? .null),
            ]
            return JSONValue(members: members).serialized(JSONWriteOptions(ensureASCII: false))
        }
    }
}

/// The directory a command writes: all of it appears at once, at the end.
struct Destination {
    let path: String
    private let parent: String
    private let replaces: Bool
    private var isThere: Bool { FileManager.default.fileExists(atPath: path) }

    /// - Throws: what stands in the way of writing there.
    init(_ path: String, source: String, replaces: Bool) throws {
        let url = URL(fileURLWithPath: path).standardizedFileURL
        self.path = url.path
        parent = url.deletingLastPathComponent().path
        self.replaces = replaces
        let origin = URL(fileURLWithPath: source).standardizedFileURL.resolvingSymlinksInPath().path
        let here = url.resolvingSymlinksInPath().path
        guard here != origin, !here.hasPrefix(origin + "/"), !origin.hasPrefix(here + "/") else {
            throw CommandError(
                "\(path) and the model \(source) lie in one another; write elsewhere")
        }
        var isDirectory: ObjCBool = false
        guard unsafe FileManager.default.fileExists(atPath: parent, isDirectory: &isDirectory),
            isDirectory.boolValue
        else { throw CommandError("\(parent) is no directory; make it first") }
        guard isThere else { return }
        guard replaces else {
            throw CommandError(
                "\(path) is there already; choose another name, or replace it with --force")
        }
        // Whatever else lies there is not ours to remove.
        guard FileManager.default.fileExists(atPath: self.path + "/config.json") else {
            throw CommandError("\(path) is no model directory; --force replaces nothing else")
        }
    }

    func checkSpace(for bytes: Int) throws {
        let attributes = try FileManager.default.attributesOfFileSystem(forPath: parent)
        guard let free = (attributes[.systemFreeSize] as? NSNumber)?.int64Value else { return }
        guard Int64(bytes) <= free else {
            throw CommandError(
                "\(parent) has \(formatBytes(Int(free))) free, but the quantised model needs about "
                    + "\(formatBytes(bytes)); free space or write to another disk")
        }
    }

    /// A directory beside the destination.
    func makePartial() throws -> String {
        let partial = "\(path).partial-\(ProcessInfo.processInfo.processIdentifier)"
        do {
            try FileManager.default.createDirectory(
                atPath: partial, withIntermediateDirectories: false)
        } catch {
            throw CommandError("cannot write to \(parent): \(error.localizedDescription)")
        }
        return partial
    }

    /// Gives the finished directory its name. Whatever fails, a model lies under it: the former
    /// one, or all of the new one.
    func publish(_ partial: String) throws {
        try sync(partial)
        guard isThere else {
            try rename(partial, to: path)
            try sync(parent)
            return
        }
        guard replaces else { throw CommandError("\(path) has appeared meanwhile") }
        let former = "\(path).former-\(ProcessInfo.processInfo.processIdentifier)"
        try rename(path, to: former)
        do {
            try rename(partial, to: path)
        } catch {
            do { try rename(former, to: path) } catch {
                throw CommandError("\(error); the model that was there is now \(former)")
            }
            throw error
        }
        // Until the new name is on the disk, the former model is the only sure one.
        do {
            try sync(parent)
            try FileManager.default.removeItem(atPath: former)
        } catch {
            printError("warning: \(path) is written, but \(former) was kept: \(error)")
        }
    }

    private func rename(_ old: String, to new: String) throws {
        guard unsafe Glibc.rename(old, new) == 0 else {
            throw CommandError(
                "\(old) cannot be renamed to \(new): \(unsafe String(cString: strerror(errno)))")
        }
    }

    /// Brings the names in a directory to the disk.
    private func sync(_ directory: String) throws {
        let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if descriptor >= 0 { close(descriptor) } }
        // Some file systems cannot do it for directories.
        guard descriptor >= 0, fsync(descriptor) == 0 || errno == EINVAL else {
            throw CommandError(
                "\(directory) cannot be brought to the disk: "
                    + "\(unsafe String(cString: strerror(errno)))")
        }
    }
}
