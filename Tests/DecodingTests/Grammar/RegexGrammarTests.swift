import AutoGLMDecoding
import AutoGLMJSON
import Foundation
import TestKit
import Testing

@Suite struct RegexGrammarTests {
    private func accepts(_ pattern: String, _ text: String) throws -> Bool {
        Grammars.accepts(try Grammars.compile(.regex(pattern)), text)
    }

    @Test(arguments: [
        ("a{3}", "aaa", true), ("a{3}", "aa", false), ("(a|b)*c", "ababc", true),
        ("[^a-z]+", "ABÉ中", true), ("[^a-z]+", "ABc", false), ("(?i)straße", "STRASSE", false),
        ("(?i)straße", "STRAßE", true), (".", "\n", false), ("(?s).", "\n", true),
        (".", "😀", true), ("\\p{Greek}+", "αβγ", true), ("\\p{Lu}\\P{Lu}", "Éa", true),
        ("a??b+?", "abb", true), ("\\x{4e2d}\\u6587", "中文", true), ("(?P<n>a)(?:b)", "ab", true),
        ("a|", "", true), ("^a$", "a", true), ("(^a|b)c", "bc", true), ("a\\b.*", "a b", true),
        ("a\\b.*", "ab", false), ("(?m)a$\\n^b", "a\nb", true), ("[[:alpha:]]+", "xyz", true),
        ("\\Qa.b\\E", "a.b", true), ("((a{0,100}){0,100}){0,100}", "aaaa", true),
        ("(a*)*b", "aaab", true), ("(a+)+", "aaa", true), ("x{2,3}{2}", "xxxxx", true),
    ])
    func wholeTexts(_ pattern: String, _ text: String, _ isMatch: Bool) throws {
        #expect(try accepts(pattern, text) == isMatch, "\(pattern) on \(text)")
    }

    @Test(arguments: ["(?=a)b", "(?!a)", "(?<=a)b", "(a)\\1", "a++", "(?>a)", "\\p{Nowhere}"])
    func whatHasNoAutomatonIsRefused(_ pattern: String) {
        #expect { try Grammars.compile(.regex(pattern)) } throws: { error in
            (error as? GrammarError)?.code == "grammar_unsupported"
        }
    }

    @Test(arguments: ["(", "a)", "[a", "*a", "a{3,2}", "\\", "[z-a]", "\\q"])
    func malformed(_ pattern: String) {
        #expect { try Grammars.compile(.regex(pattern)) } throws: { error in
            (error as? GrammarError)?.code == "grammar_invalid"
        }
    }

    @Test func invalidUTF8IsNoText() throws {
        var state = try Grammars.compile(.regex("(?s).*")).makeState()
        let read42 = state.accept(text: [0xC0, 0x80])
        #expect(!read42)
        let read44 = state.accept(text: [0xED, 0xA0, 0x80])
        #expect(!read44)
        let read46 = state.accept(text: [0xF4, 0x90, 0x80, 0x80])
        #expect(!read46)
        let read48 = state.accept(text: [0xE4, 0xB8])
        #expect(read48)
        #expect(!state.isComplete)
        let read51 = state.accept(text: [0xAD])
        #expect(read51)
        #expect(state.isComplete)
    }

    /// github.com/rust-lang/regex's own cases: whether a match is found anywhere.
    @Test(.enabled(if: SharedData.isPresent))
    func verdictsEqualThoseOfRust() throws {
        var compared = 0
        var refused: [String] = []
        // The small crate's classes are ASCII whatever its flags say.
        for file in try RustCases.files() where file.lastPathComponent != "regex-lite.toml" {
            for test in RustCases.read(try String(contentsOf: file, encoding: .utf8)) {
                guard let pattern = test.regex, let hasMatch = test.hasMatch else { continue }
                let flags = test.flags.isEmpty ? "" : "(?\(test.flags))"
                let before = test.isAnchored ? "" : "(?s:.*)"
                do {
                    let source = "\(before)(?:\(flags)\(pattern))(?s:.*)"
                    let verdict = try accepts(source, test.haystack)
                    #expect(
                        verdict == hasMatch,
                        "\(file.lastPathComponent) \(test.name): \(pattern) on \(test.haystack)")
                    compared += 1
                } catch let error as GrammarError {
                    refused.append("\(test.name): \(error)")
                }
            }
        }
        #expect(compared >= 440, "compared \(compared)")
        // Nothing but what the parser says it leaves out.
        let known = ["word boundary", "the class \\p{"]
        for reason in refused {
            #expect(known.contains { reason.contains($0) }, "\(reason)")
        }
        #expect(refused.count < 110)
    }

    /// What makes backtracking explode: compiled or refused at once, and read in linear time.
    @Test(.enabled(if: SharedData.isPresent))
    func attackPatternsAreLinear() throws {
        let text = try String(
            contentsOf: #require(SharedData.url("regex/redos/regexlib-vulnerable-patterns.txt")),
            encoding: .utf8)
        let attack = Array(String(repeating: "a", count: 20_000).utf8) + [0x21]
        var compiled = 0
        for pattern in text.split(separator: "\n").prefix(60) {
            let clock = ThreadClock()
            guard let grammar = try? Grammars.compile(.regex("(?:\(pattern))(?s:.*)")) else {
                #expect(clock.seconds < 2, "\(pattern)")
                continue
            }
            compiled += 1
            var state = grammar.makeState()
            state.accept(text: attack)
            #expect(clock.seconds < 5, "\(pattern)")
        }
        #expect(compiled > 20)
    }

    @Test func twiceTheTextTakesTwiceTheTime() throws {
        func time(_ count: Int) throws -> Double {
            let grammar = try Grammars.compile(.regex("(a+)+b|(a|aa)*c"))
            let text = [UInt8](repeating: 0x61, count: count)
            var best = Double.infinity
            for _ in 0..<3 {
                var state = grammar.makeState()
                let clock = ThreadClock()
                let read112 = state.accept(text: text)
                #expect(read112)
                best = min(best, clock.seconds)
            }
            return best
        }
        #expect(try time(1 << 20) / time(1 << 19) < 2.5)
    }
}

/// Cases of rust-lang/regex, in the part of TOML in which they are written.
struct RustCases {
    var name = ""
    var regex: String?
    var haystack = ""
    var hasMatch: Bool?
    var isAnchored = false
    var flags = "u"
    private var isSkipped = false
    private var isUnescaped = false

    static func files() throws -> [URL] {
        let root = SharedData.root.appendingPathComponent("regex/rust-regex")
        let walker = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil)
        return (walker?.allObjects as? [URL] ?? []).filter { $0.pathExtension == "toml" }
            .sorted { $0.path < $1.path }
    }

    static func read(_ text: String) -> [RustCases] {
        var cases: [RustCases] = []
        for block in text.components(separatedBy: "[[test]]").dropFirst() {
            var test = RustCases()
            for line in block.components(separatedBy: "\n") {
                guard let equals = line.range(of: " = ") else { continue }
                test.read(String(line[..<equals.lowerBound]), String(line[equals.upperBound...]))
            }
            if test.isUnescaped { test.haystack = unescaped(test.haystack) }
            if !test.isSkipped { cases.append(test) }
        }
        return cases
    }

    private mutating func read(_ key: String, _ value: String) {
        switch key {
        case "name": name = Self.string(value) ?? ""
        case "regex": regex = Self.string(value)
        case "haystack":
            if let text = Self.string(value) { haystack = text } else { isSkipped = true }
        case "matches": hasMatch = value.hasPrefix("[") && !value.hasPrefix("[]")
        case "anchored": isAnchored = value == "true"
        case "case-insensitive": if value == "true" { flags += "i" }
        case "unicode": if value == "false" { flags = flags.replacingOccurrences(of: "u", with: "") }
        case "unescape": isUnescaped = value == "true"
        // Bytes that are no text, other line ends, searches of a part or of several patterns.
        case "utf8", "bounds", "line-terminator", "compiles": isSkipped = true
        default: break
        }
    }

    /// A TOML string on one line; nil for anything else.
    private static func string(_ value: String) -> String? {
        for quote in ["'''", "'"] where value.hasPrefix(quote) && value.hasSuffix(quote) {
            return String(value.dropFirst(quote.count).dropLast(quote.count))
        }
        guard value.hasPrefix("\""), !value.hasPrefix("\"\"\"") else { return nil }
        return try? JSONValue.parse(value).stringValue
    }

    private static func unescaped(_ text: String) -> String {
        text.replacingOccurrences(of: "\\n", with: "\n").replacingOccurrences(
            of: "\\r", with: "\r").replacingOccurrences(of: "\\x00", with: "\0")
            .replacingOccurrences(of: "\\x02", with: "\u{2}")
    }
}
