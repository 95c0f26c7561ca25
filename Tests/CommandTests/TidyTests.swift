import Foundation
import TestKit
import Testing

/// What keeps files readable in one sitting: their length, that of functions and lines, and a few
/// words that are not used in this house.
@Suite struct TidyTests {
    private struct Source {
        let path: String
        let lines: [Substring]
        /// Tables made by a script say so in their head.
        var isGenerated: Bool { lines.prefix(12).contains { $0.contains("do not edit") } }
    }

    private static let fileLines = 600
    private static let functionLines = 70
    private static let lineLength = 100

    private let sources: [Source]

    init() throws {
        let root = SharedData.repository.path
        var sources: [Source] = []
        for folder in ["Sources", "Tests"] {
            let walker = FileManager.default.enumerator(atPath: root + "/" + folder)
            while let path = walker?.nextObject() as? String {
                guard path.hasSuffix(".swift") || path.hasSuffix(".c") || path.hasSuffix(".h") else {
                    continue
                }
                let text = try String(
                    contentsOfFile: "\(root)/\(folder)/\(path)", encoding: .utf8)
                sources.append(
                    Source(
                        path: "\(folder)/\(path)",
                        lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
            }
        }
        self.sources = sources
        #expect(sources.count > 200)
    }

    private var swift: [Source] { sources.filter { $0.path.hasSuffix(".swift") } }
    private var product: [Source] { swift.filter { $0.path.hasPrefix("Sources/") } }

    @Test func filesAreShort() {
        for source in sources where !source.isGenerated && source.lines.count > Self.fileLines {
            Issue.record("\(source.path) has \(source.lines.count) lines")
        }
    }

    @Test func linesAreShort() {
        for source in product where !source.isGenerated {
            for (index, line) in source.lines.enumerated() where line.count > Self.lineLength {
                Issue.record("\(source.path):\(index + 1) has \(line.count) columns")
            }
        }
    }

    /// A function ends where a brace closes in the column in which it begins.
    @Test func functionsAreShort() {
        for source in product where !source.isGenerated {
            for (index, line) in source.lines.enumerated() where Self.beginsFunction(line) {
                // Over where it began.
                if line.hasSuffix("}") { continue }
                let indent = line.prefix { $0 == " " }
                let rest = source.lines[(index + 1)...]
                guard Self.hasBody(line, rest, indent),
                    let end = rest.firstIndex(where: { $0.hasPrefix(indent + "}") })
                else { continue }
                if end - index + 1 > Self.functionLines {
                    Issue.record("\(source.path):\(index + 1) has \(end - index + 1) lines")
                }
            }
        }
    }

    private static func beginsFunction(_ line: Substring) -> Bool {
        let words = line.split(separator: " ").map(String.init)
        guard let word = words.first(where: { !modifiers.contains($0) && !$0.hasPrefix("@") }) else {
            return false
        }
        return word == "func" || word.hasPrefix("init(") || word.hasPrefix("init<")
    }

    /// Whether a body follows in lines of its own.
    private static func hasBody(
        _ line: Substring, _ rest: ArraySlice<Substring>, _ indent: Substring
    ) -> Bool {
        if line.hasSuffix("{") { return true }
        guard line.hasSuffix("("), let close = rest.firstIndex(where: { $0.hasPrefix(indent + ")") })
        else { return false }
        return rest[close...].prefix(2).contains { $0.hasSuffix("{") }
    }

    private static let modifiers: Set<String> = [
        "public", "package", "private", "fileprivate", "internal", "static", "mutating",
        "override", "final", "convenience", "nonisolated", "consuming", "borrowing",
    ]

    @Test func someWordsAreNotUsed() {
        let words = ["fatalError(", "try!", " as! ", "TODO", "FIXME"]
        for source in product {
            for (index, line) in source.lines.enumerated() {
                // `\\uXXXX` is a form of escapes, no mark of something left undone.
                let line = line.replacing("XXXX", with: "")
                for word in words where line.contains(word) {
                    Issue.record("\(source.path):\(index + 1) says \(word)")
                }
                // Whoever takes the compiler's word away gives a reason.
                if line.contains("@unchecked Sendable") {
                    let above = source.lines[max(0, index - 6)..<index].joined()
                    #expect(above.contains("Unchecked:"), "\(source.path):\(index + 1)")
                }
            }
        }
        for source in sources {
            let name = source.path.split(separator: "/").last?.lowercased() ?? ""
            for word in ["util", "helper", "common", "misc"] where name.contains(word) {
                Issue.record("\(source.path): no file is called so")
            }
        }
    }
}
