import Foundation
import TestKit
import Testing

/// Imports go one way (docs/architecture.md). The table here, the dependencies in Package.swift and
/// what the sources import are the same, both ways: a module that starts to import another changes
/// the architecture, which should be a decision, and a dependency that nobody imports is deleted.
@Suite struct ImportTests {
    /// The C library and Foundation's two halves; every Swift module may use them.
    static let platform: Set<String> = [
        "Glibc", "Musl", "Darwin", "FoundationEssentials", "Foundation", "Synchronization",
        "Dispatch",
    ]
    /// Modules that a product of another package brings.
    static let products: [String: Set<String>] = [
        "Collections": ["Collections", "OrderedCollections", "DequeModule", "HeapModule"],
        "Logging": ["Logging"],
        "Hummingbird": [
            "Hummingbird", "HummingbirdCore", "HTTPTypes", "NIOCore", "NIOPosix", "NIOHTTP1",
            "NIOHTTPTypes", "NIOHTTPTypesHTTP1",
        ],
        "ServiceLifecycle": ["ServiceLifecycle", "UnixSignals", "AsyncAlgorithms"],
        "Yams": ["Yams"],
        "ArgumentParser": ["ArgumentParser"],
    ]
    /// By folder under Sources.
    static let allowed: [String: Set<String>] = [
        "Compute": ["CAutoGLMKernels"],
        "JSON": ["Collections"],
        "Jinja": ["AutoGLMJSON", "Collections"],
        "Models": ["AutoGLMCompute", "AutoGLMJSON"],
        "Text": ["AutoGLMJSON", "Collections"],
        "Decoding": ["AutoGLMJSON", "Collections"],
        "Scheduling": [],
        "Engine": [
            "AutoGLMModels", "AutoGLMCompute", "AutoGLMDecoding", "AutoGLMScheduling",
        ],
        "Chat": [
            "AutoGLMEngine", "AutoGLMModels", "AutoGLMCompute", "AutoGLMText", "AutoGLMJinja",
            "AutoGLMDecoding", "AutoGLMJSON", "Collections",
        ],
        "API": ["AutoGLMJSON", "AutoGLMDecoding"],
        "Observability": ["AutoGLMJSON", "Logging"],
        "Server": [
            "AutoGLMAPI", "AutoGLMChat", "AutoGLMEngine", "AutoGLMDecoding", "AutoGLMJinja",
            "AutoGLMJSON", "AutoGLMText", "AutoGLMObservability", "Hummingbird",
            "ServiceLifecycle", "Logging",
        ],
        "AutoGLM": ["AutoGLMChat", "AutoGLMDecoding"],
        "Command": [
            "CAutoGLMDefaultModel", "AutoGLMServer", "AutoGLMChat", "AutoGLMEngine",
            "AutoGLMModels", "AutoGLMCompute", "AutoGLMText", "AutoGLMJinja", "AutoGLMJSON",
            "AutoGLMDecoding", "AutoGLMObservability", "AutoGLMAPI", "ArgumentParser", "Yams",
            "Logging",
        ],
    ]

    @Test(arguments: allowed.keys.sorted())
    func importsAreTheArchitectures(module: String) throws {
        let table = try #require(Self.allowed[module])
        var used: Set<String> = []
        for (file, line, imported) in try imports(of: module)
        where !Self.platform.contains(imported) {
            let dependency = Self.products.first { $0.value.contains(imported) }?.key ?? imported
            if table.contains(dependency) {
                used.insert(dependency)
            } else {
                Issue.record("\(file):\(line): Sources/\(module) may not import \(imported)")
            }
        }
        for dependency in table.subtracting(used).sorted() {
            Issue.record("Sources/\(module) imports nothing of \(dependency); strike it out")
        }
    }

    @Test func thePackageDeclaresTheSame() throws {
        let declared = try declaredDependencies()
        #expect(Set(declared.keys) == Set(Self.allowed.keys))
        for (module, table) in Self.allowed {
            let mine = declared[module] ?? []
            #expect(mine.subtracting(table).isEmpty, "Sources/\(module): too many")
            #expect(table.subtracting(mine).isEmpty, "Sources/\(module): too few")
        }
        // Every package is there for a product that someone uses.
        let products = Set(Self.allowed.values.flatMap { $0 }.filter { Self.products[$0] != nil })
        #expect(products == Set(Self.products.keys))
        let packages = try manifest().split(separator: "\n").count { $0.contains(".package(url:") }
        #expect(packages == products.count)
    }

    @Test func everySourceFolderHasItsList() throws {
        let folders = try FileManager.default.contentsOfDirectory(
            at: SharedData.repository.appendingPathComponent("Sources"),
            includingPropertiesForKeys: nil)
        let swift = folders.filter { folder in
            let walker = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
            return walker?.contains { ($0 as? URL)?.pathExtension == "swift" } ?? false
        }.map(\.lastPathComponent)
        #expect(Set(swift) == Set(Self.allowed.keys))
    }

    // MARK: Package.swift

    private func manifest() throws -> String {
        try String(
            contentsOf: SharedData.repository.appendingPathComponent("Package.swift"),
            encoding: .utf8)
    }

    /// What Package.swift declares, by folder: its own helper `module` and the one executable.
    private func declaredDependencies() throws -> [String: Set<String>] {
        let text = try manifest()
        var products: [String: String] = [:]
        for match in text.matches(
            of: /let (\w+) = Target\.Dependency\.product\(\s*name: "(\w+)"/)
        {
            products[String(match.1)] = String(match.2)
        }
        func names(_ list: Substring) -> Set<String> {
            Set(
                list.split(whereSeparator: { ", \n".contains($0) }).map { item in
                    item.hasPrefix("\"")
                        ? String(item.dropFirst().dropLast()) : products[String(item)] ?? "?\(item)"
                })
        }
        var result: [String: Set<String>] = [:]
        for match in text.matches(
            of: /module\(\s*"\w+",\s*path: "(\w+)",\s*\[([^\]]*)\]/)
        {
            result[String(match.1)] = names(match.2)
        }
        let executable = try #require(
            text.firstMatch(
                of: /executableTarget\([^\[]*dependencies: \[([^\]]*)\],\s*path: "Sources\/(\w+)"/))
        result[String(executable.2)] = names(executable.1)
        return result
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
