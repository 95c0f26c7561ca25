import Foundation
import TestKit
import Testing

/// Imports go one way (docs/architecture.md). A module that starts to import another changes
/// the architecture, and that should be a decision.
@Suite struct ImportTests {
    static let ours = [
        "CAutoGLMKernels", "AutoGLMCompute", "AutoGLMJSON", "AutoGLMModels", "AutoGLMText",
        "AutoGLMDecoding", "AutoGLMScheduling", "AutoGLMEngine", "AutoGLMAPI", "AutoGLMServer",
        "AutoGLMJinja", "AutoGLMChat", "AutoGLMObservability", "AutoGLM", "CAutoGLMDefaultModel",
    ]
    /// The C library and Foundation's two halves; every Swift module may use them.
    static let platform: Set<String> = [
        "Glibc", "Musl", "Darwin", "FoundationEssentials", "Foundation", "Synchronization",
        "Dispatch",
    ]
    static let allowed: [String: Set<String>] = [
        "Compute": ["CAutoGLMKernels", "SystemPackage"],
        "JSON": ["OrderedCollections"],
        "Jinja": ["AutoGLMJSON", "OrderedCollections"],
        "Models": ["AutoGLMCompute", "AutoGLMJSON"],
        "Text": ["AutoGLMJSON", "Collections", "OrderedCollections", "DequeModule", "HeapModule"],
        "Chat": ["AutoGLMText", "AutoGLMJinja", "AutoGLMJSON", "OrderedCollections"],
        "Decoding": ["AutoGLMText"],
        "Scheduling": [
            "Collections", "OrderedCollections", "DequeModule", "HeapModule",
        ],
        "Engine": [
            "AutoGLMModels", "AutoGLMCompute", "AutoGLMDecoding", "AutoGLMText",
            "AutoGLMChat", "AutoGLMJinja", "AutoGLMJSON", "AutoGLMScheduling", "Logging",
        ],
        "API": ["AutoGLMJSON"],
        "Observability": ["AutoGLMJSON", "Logging"],
        "Server": [
            "AutoGLMAPI", "AutoGLMEngine", "AutoGLMText", "AutoGLMJSON", "AutoGLMDecoding",
            "AutoGLMChat", "AutoGLMJinja", "AutoGLMObservability", "AutoGLMModels",
            "Hummingbird", "HummingbirdCore", "HTTPTypes", "NIOCore", "NIOPosix", "NIOHTTP1", "NIOHTTPTypes", "Logging",
            "ServiceLifecycle", "UnixSignals", "AsyncAlgorithms", "NIOHTTPTypesHTTP1",
        ],
        "AutoGLM": [
            "AutoGLMEngine", "AutoGLMModels", "AutoGLMCompute", "AutoGLMText", "AutoGLMJSON",
            "AutoGLMDecoding", "AutoGLMChat",
        ],
    ]

    @Test(arguments: allowed.keys.sorted())
    func importsStayWithinTheArchitecture(module: String) throws {
        let permitted = try #require(Self.allowed[module]).union(Self.platform)
        for (file, line, imported) in try imports(of: module) where !permitted.contains(imported) {
            Issue.record("\(file):\(line): Sources/\(module) may not import \(imported)")
        }
    }

    @Test func everySourceFolderHasItsList() throws {
        let folders = try FileManager.default.contentsOfDirectory(
            at: SharedData.repository.appendingPathComponent("Sources"),
            includingPropertiesForKeys: nil)
        let swift = folders.filter { folder in
            let walker = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
            return walker?.contains { ($0 as? URL)?.pathExtension == "swift" } ?? false
        }.map(\.lastPathComponent)
        #expect(Set(swift) == Set(Self.allowed.keys).union(["Command"]))
    }

    /// File, line and module of every import in a module's sources.
    private func imports(of module: String) throws -> [(String, Int, String)] {
        let root = SharedData.repository.appendingPathComponent("Sources/\(module)")
        let walker = try #require(
            FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil))
        var found: [(String, Int, String)] = []
        for case let url as URL in walker where url.pathExtension == "swift" {
            let text = try String(contentsOf: url, encoding: .utf8)
            for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
                .enumerated()
            {
                var words = line.split(separator: " ").map(String.init)
                while let first = words.first,
                    first.hasPrefix("@")
                        || ["public", "package", "internal", "private"].contains(first)
                {
                    words.removeFirst()
                }
                guard words.first == "import", words.count >= 2 else { continue }
                let kinds = ["struct", "class", "enum", "func", "protocol", "typealias", "var"]
                let name = kinds.contains(words[1]) ? words[safe: 2] : words[1]
                if let name {
                    let base = name.split(separator: ".").first.map(String.init) ?? name
                    found.append((url.lastPathComponent, index + 1, base))
                }
            }
        }
        return found
    }
}

extension Array {
    fileprivate subscript(safe index: Int) -> Element? {
        indices.contains(index) ? self[index] : nil
    }
}
