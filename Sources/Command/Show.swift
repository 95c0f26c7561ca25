import ArgumentParser
import AutoGLMChat
import AutoGLMCompute
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMModels
import AutoGLMText
import Foundation

struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a model is and what it needs, without loading it.")

    @OptionGroup(title: "Model") var model: ModelFlags

    @Option(help: "Tokens of prompt and answer per conversation. Default: the model's context.")
    var context: Int?

    @Option(help: "Conversations at the same time.")
    var concurrency: Int = 1

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        try check("--context", context, 1...(1 << 30))
        try check("--concurrency", concurrency, 1...(1 << 20))
    }

    func run() throws {
        var source = try ModelSource(try model.path())
        var options = source.options
        options.weightFormat = model.quantization
        options.cacheFormat = try model.computeOptions(source).cacheFormat
        source = try source.with(options)
        let inspection = ModelInspection(source)
        let text = try ModelText(source)
        let facts = facts(inspection, text)
        if json {
            let value = JSONValue(members: facts.map { ($0.key, $0.bounded) })
            // Escaped wherever it is no ASCII: a terminal obeys what files say there.
            print(value.serialized(JSONWriteOptions(indent: 2)))
            return
        }
        let width = facts.map(\.label.count).max() ?? 0
        for fact in facts {
            let padding = String(repeating: " ", count: width - fact.label.count)
            print("\(fact.label)\(padding)  \(excerpt(fact.text))")
        }
        for warning in inspection.info.warnings + (text.tokenizer?.remarks ?? []) {
            printError("warning: \(excerpt(warning, limit: 600))")
        }
    }

    private struct Fact {
        var key: String
        var label: String
        var value: JSONValue
        var text: String

        init(_ key: String, _ label: String, _ value: JSONValue, _ text: String? = nil) {
            self.key = key
            self.label = label
            self.value = value
            self.text = text ?? value.stringValue ?? value.serialized()
        }

        /// Texts come from files, which may hold a book there.
        var bounded: JSONValue {
            guard let text = value.stringValue, text.unicodeScalars.count > 1_000 else {
                return value
            }
            return .string(String(String.UnicodeScalarView(text.unicodeScalars.prefix(1_000))))
        }

        static func bytes(_ key: String, _ label: String, _ bytes: Int) -> Fact {
            Fact(key, label, .int(Int64(bytes)), formatBytes(bytes))
        }
    }

    private func facts(_ inspection: ModelInspection, _ text: ModelText) -> [Fact] {
        let info = inspection.info
        let tokens = context ?? info.contextLength
        let parameters = Double(info.parameterCount)
        let size = parameters >= 1e9
            ? "\(decimal(parameters / 1e9, 2)) billion" : "\(decimal(parameters / 1e6, 2)) million"
        let types = inspection.storedTypes
            .map { "\($0.type) \(formatBytes($0.bytes))" }.joined(separator: ", ")
        var facts: [Fact] = [
            Fact("name", "name", .string(info.name)),
            Fact("architecture", "architecture", .string(info.architecture)),
            Fact(
                "family", "chat family", .string(text.familyName),
                text.hasTemplate ? text.familyName : "\(text.familyName), without a chat template"),
            Fact("parameters", "parameters", .int(Int64(info.parameterCount)), size),
            Fact("layers", "layers", .int(Int64(info.layers))),
            Fact("hidden", "hidden size", .int(Int64(info.hidden))),
            Fact(
                "heads", "heads", .int(Int64(info.heads)),
                "\(info.heads) of \(info.headDim), \(info.kvHeads) for keys and values"),
            Fact("vocabulary", "vocabulary", .int(Int64(info.vocabulary))),
            Fact("context", "context", .int(Int64(info.contextLength)),
                "\(info.contextLength) tokens"),
            Fact(
                "stop_tokens", "stop tokens",
                .array(info.stopTokens.map { .int(Int64($0)) })),
            Fact("files", "files", .int(Int64(inspection.files.count))),
            .bytes("stored_bytes", "on disk", inspection.storedBytes),
            Fact("quantization", "quantised as", .string(inspection.quantization ?? "not")),
            Fact("stored_types", "stored as", .string(types)),
            .bytes("weight_bytes", "weights in memory", info.weightBytes),
            .bytes("kv_bytes_per_token", "KV per token", info.bytesPerToken),
        ]
        if let memory = inspection.memory(context: tokens, concurrency: concurrency) {
            let label = "memory for \(concurrency) × \(tokens) tokens"
            facts.append(.bytes("memory_bytes", label, memory))
            let available = LoadedEngine.availableMemory()
            facts.append(.bytes("memory_available_bytes", "memory available", available))
            if memory > available {
                facts.append(
                    Fact(
                        "fits", "fits", false,
                        "no: use --quantization, a shorter --context or fewer conversations"))
            } else {
                facts.append(Fact("fits", "fits", true, "yes"))
            }
        }
        return facts
    }
}
