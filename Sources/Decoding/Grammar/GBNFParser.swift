/// Reads llama.cpp's grammars (github.com/ggml-org/llama.cpp/blob/master/grammars/README.md). What
/// is regular inside of a rule becomes one regular expression; references stay rules.
struct GBNFParser {
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var rules: [String: Int32] = [:]
    private var defined: Set<String> = []
    private var depth = 0

    private enum Piece {
        case regex(RegexTable.Node)
        case rule(Int32)
    }

    static func parse(
        _ text: String, into compiler: inout GrammarCompiler
    ) throws(GrammarError) -> Int32 {
        var parser = GBNFParser(scalars: Array(text.unicodeScalars))
        return try parser.grammar(&compiler)
    }

    private init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

    private func error(_ reason: String) -> GrammarError {
        let line = scalars.prefix(position).count { $0 == "\n" } + 1
        return .invalid(reason: "grammar, line \(line): \(reason)")
    }

    private var next: Unicode.Scalar? {
        position < scalars.count ? scalars[position] : nil
    }

    private mutating func skipBlanks() {
        while let scalar = next {
            if scalar == "#" {
                while let other = next, other != "\n" { _ = other; position += 1 }
            } else if scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r" {
                position += 1
            } else {
                return
            }
        }
    }

    private mutating func grammar(
        _ compiler: inout GrammarCompiler
    ) throws(GrammarError) -> Int32 {
        skipBlanks()
        while next != nil {
            guard let name = name() else { throw error("expected the name of a rule") }
            skipBlanks()
            guard takeDefinition() else { throw error("expected ::= after \(name)") }
            let rule = reference(name, &compiler)
            if !defined.insert(name).inserted { throw error("the rule \(name) twice") }
            let body = expression(try alternatives(&compiler), &compiler)
            compiler.replace(rule, by: .choice([body]))
            skipBlanks()
        }
        for name in rules.keys.sorted() where !defined.contains(name) {
            throw .invalid(reason: "grammar: there is no rule \(name)")
        }
        guard let root = rules["root"] else {
            throw .invalid(reason: "grammar: there is no rule root")
        }
        return root
    }

    private mutating func takeDefinition() -> Bool {
        guard position + 3 <= scalars.count, scalars[position] == ":",
            scalars[position + 1] == ":", scalars[position + 2] == "="
        else { return false }
        position += 3
        return true
    }

    private mutating func name() -> String? {
        let start = position
        while let scalar = next,
            scalar.isASCII && scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                || scalar == "-" || scalar == "_" {
            position += 1
        }
        if position == start { return nil }
        return String(String.UnicodeScalarView(scalars[start..<position]))
    }

    private mutating func reference(_ name: String, _ compiler: inout GrammarCompiler) -> Int32 {
        if let rule = rules[name] { return rule }
        let rule = compiler.add(rule: .choice([]))
        rules[name] = rule
        return rule
    }

    private func expression(_ piece: Piece, _ compiler: inout GrammarCompiler) -> Int32 {
        switch piece {
        case .rule(let rule): return rule
        case .regex(let node): return compiler.match(node)
        }
    }

    private mutating func alternatives(
        _ compiler: inout GrammarCompiler
    ) throws(GrammarError) -> Piece {
        depth += 1
        defer { depth -= 1 }
        if depth > 100 { throw .tooLarge("groups of a grammar nested over 100 deep") }
        var pieces = [try sequence(&compiler)]
        skipBlanks()
        while next == "|" {
            position += 1
            pieces.append(try sequence(&compiler))
            skipBlanks()
        }
        if let nodes = Self.nodes(pieces) {
            return .regex(try compiler.withRegex { $0.alternated(nodes) })
        }
        if pieces.count == 1 { return pieces[0] }
        return .rule(compiler.add(rule: .choice(pieces.map { expression($0, &compiler) })))
    }

    private static func nodes(_ pieces: [Piece]) -> [RegexTable.Node]? {
        var nodes: [RegexTable.Node] = []
        for piece in pieces {
            guard case .regex(let node) = piece else { return nil }
            nodes.append(node)
        }
        return nodes
    }

    private mutating func sequence(
        _ compiler: inout GrammarCompiler
    ) throws(GrammarError) -> Piece {
        var pieces: [Piece] = []
        while true {
            skipBlanks()
            guard let scalar = next, scalar != "|", scalar != ")" else { break }
            let start = position
            if let name = name() {
                skipBlanks()
                if takeDefinition() {
                    // The next rule begins.
                    position = start
                    break
                }
                position = start + name.unicodeScalars.count
                pieces.append(try repeated(.rule(reference(name, &compiler)), &compiler))
            } else {
                pieces.append(try repeated(try atom(scalar, &compiler), &compiler))
            }
        }
        // Neighbours that are regular are one expression.
        var joined: [Piece] = []
        for piece in pieces {
            if case .regex(let node) = piece, case .regex(let before)? = joined.last {
                joined[joined.count - 1] = .regex(
                    try compiler.withRegex { $0.concatenated(before, node) })
            } else {
                joined.append(piece)
            }
        }
        if joined.isEmpty { return .regex(RegexTable.epsilon) }
        if joined.count == 1 { return joined[0] }
        return .rule(compiler.add(rule: .sequence(joined.map { expression($0, &compiler) })))
    }

    private mutating func atom(
        _ scalar: Unicode.Scalar, _ compiler: inout GrammarCompiler
    ) throws(GrammarError) -> Piece {
        try compiler.spend(2)
        position += 1
        switch scalar {
        case "\"":
            var node = RegexTable.epsilon
            while let character = next, character != "\"" {
                let set = ScalarSet(try self.character())
                node = try compiler.withRegex { $0.concatenated(node, $0.set(set)) }
            }
            guard next == "\"" else { throw error("a text without closing quote") }
            position += 1
            return .regex(node)
        case "[":
            let set = try bracket()
            return .regex(try compiler.withRegex { $0.set(set) })
        case ".": return .regex(try compiler.withRegex { $0.set(.all) })
        case "(":
            let piece = try alternatives(&compiler)
            skipBlanks()
            guard next == ")" else { throw error("missing )") }
            position += 1
            return piece
        default: throw error("unexpected \(scalar)")
        }
    }

    private mutating func bracket() throws(GrammarError) -> ScalarSet {
        var isInverted = false
        if next == "^" {
            isInverted = true
            position += 1
        }
        var ranges: [ClosedRange<UInt32>] = []
        while let scalar = next, scalar != "]" {
            let low = try character()
            var high = low
            if next == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                position += 1
                high = try character()
            }
            if high < low { throw error("a class that ends before it begins") }
            ranges.append(low...high)
        }
        guard next == "]" else { throw error("missing ]") }
        position += 1
        let set = ScalarSet(ranges)
        return isInverted ? set.inverted : set
    }

    private mutating func character() throws(GrammarError) -> UInt32 {
        guard let scalar = next else { throw error("a text that does not end") }
        position += 1
        guard scalar == "\\" else { return scalar.value }
        guard let escape = next else { throw error("a backslash at the end") }
        position += 1
        switch escape {
        case "n": return 10
        case "r": return 13
        case "t": return 9
        case "x": return try hexadecimal(2)
        case "u": return try hexadecimal(4)
        case "U": return try hexadecimal(8)
        default: return escape.value
        }
    }

    private mutating func hexadecimal(_ digits: Int) throws(GrammarError) -> UInt32 {
        let end = min(position + digits, scalars.count)
        let text = String(String.UnicodeScalarView(scalars[position..<end]))
        guard text.count == digits, let value = UInt32(text, radix: 16),
            value <= ScalarSet.scalarMax
        else { throw error("a malformed code point") }
        position = end
        return value
    }

    private mutating func repeated(
        _ piece: Piece, _ compiler: inout GrammarCompiler
    ) throws(GrammarError) -> Piece {
        var piece = piece
        while let scalar = next {
            var least = 0
            var most: Int?
            switch scalar {
            case "*": position += 1
            case "+": position += 1; least = 1
            case "?": position += 1; most = 1
            case "{": (least, most) = try counts()
            default: return piece
            }
            if least > RegexParser.countMax || most ?? 0 > RegexParser.countMax {
                throw .tooLarge("a count over \(RegexParser.countMax) in a grammar")
            }
            let low = Int32(least)
            let high = most.map { Int32($0) } ?? .max
            switch piece {
            case .regex(let node):
                piece = .regex(try compiler.withRegex { $0.repeated(node, low, high) })
            case .rule(let rule):
                piece = .rule(compiler.add(rule: .repetition(rule, least: low, most: high)))
            }
        }
        return piece
    }

    private mutating func counts() throws(GrammarError) -> (Int, Int?) {
        position += 1
        let least = number()
        var most = least
        if next == "," {
            position += 1
            most = number()
        }
        guard let least, next == "}" else { throw error("a malformed count") }
        position += 1
        if let most, most < least { throw error("a count that ends before it begins") }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = next, ("0"..."9").contains(scalar) {
            value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), 1 << 40)
            position += 1
        }
        return value
    }
}
