/// What `\d`, `\w`, `\s` and a few other things mean.
package enum RegexDialect: Sendable {
    /// RE2 (github.com/google/re2/wiki/Syntax): what users write.
    case re2
    /// ECMA-262 with the `u` flag, as JSON Schema's `pattern` says; RE2's spellings are also read.
    case ecma
}

/// Reads a regular expression into nodes of a ``RegexTable``: RE2's syntax without what has no
/// automaton (look-around and back-references are refused by name). `\b` is ASCII, as RE2's.
struct RegexParser {
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private let dialect: RegexDialect
    private var flags = RegexFlags()
    private var depth = 0

    private struct RegexFlags {
        var ignoresCase = false
        var isMultiline = false
        var dotMatchesNewline = false
        var isVerbose = false
        var isUnicode = false
    }

    /// Counts beyond this are refused, as the sum of nested ones: a minimum of a billion is no
    /// text that anyone waits for.
    static let countMax = 1_000_000
    static let depthMax = 200

    private init(_ pattern: String, _ dialect: RegexDialect) {
        scalars = Array(pattern.unicodeScalars)
        self.dialect = dialect
    }

    /// The texts that match as a whole.
    static func parse(
        _ pattern: String, into table: inout RegexTable, dialect: RegexDialect = .re2
    ) throws(GrammarError) -> RegexTable.Node {
        var parser = RegexParser(pattern, dialect)
        let node = try parser.alternatives(&table)
        if parser.position < parser.scalars.count { throw parser.error("unmatched )") }
        return node
    }

    /// The texts in which the pattern is found, as JSON Schema means it.
    static func parseSearch(
        _ pattern: String, into table: inout RegexTable, dialect: RegexDialect = .ecma
    ) throws(GrammarError) -> RegexTable.Node {
        let node = try parse(pattern, into: &table, dialect: dialect)
        return table.found(node)
    }

    private func error(_ reason: String) -> GrammarError {
        .invalid(reason: "regular expression, character \(position + 1): \(reason)")
    }

    private func unsupported(_ thing: String) -> GrammarError {
        .unsupported(
            "\(thing) in a regular expression, at character \(position + 1); "
                + "write it without, as RE2 would need it")
    }

    private var next: Unicode.Scalar? {
        position < scalars.count ? scalars[position] : nil
    }

    private func peek(_ text: String) -> Bool {
        let wanted = Array(text.unicodeScalars)
        return position + wanted.count <= scalars.count
            && Array(scalars[position..<position + wanted.count]) == wanted
    }

    private mutating func take(_ text: String) -> Bool {
        guard peek(text) else { return false }
        position += text.unicodeScalars.count
        return true
    }

    // MARK: Structure

    private mutating func alternatives(
        _ table: inout RegexTable
    ) throws(GrammarError) -> RegexTable.Node {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthMax { throw .tooLarge("groups nested over \(Self.depthMax) deep") }
        var options = [try sequence(&table)]
        while take("|") { options.append(try sequence(&table)) }
        return table.alternated(options)
    }

    private mutating func sequence(
        _ table: inout RegexTable
    ) throws(GrammarError) -> RegexTable.Node {
        var parts: [RegexTable.Node] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            if flags.isVerbose, skipsBlank(scalar) { continue }
            guard let atom = try atom(&table) else { continue }
            parts.append(try repeated(atom, &table))
        }
        return parts.reversed().reduce(RegexTable.epsilon) { table.concatenated($1, $0) }
    }

    private mutating func skipsBlank(_ scalar: Unicode.Scalar) -> Bool {
        if scalar == "#" {
            while let other = next, other != "\n" { _ = other; position += 1 }
            return true
        }
        guard scalar.properties.isWhitespace else { return false }
        position += 1
        return true
    }

    private mutating func repeated(
        _ atom: RegexTable.Node, _ table: inout RegexTable
    ) throws(GrammarError) -> RegexTable.Node {
        var node = atom
        while let scalar = next {
            if flags.isVerbose, skipsBlank(scalar) { continue }
            var least = 0
            var most = Int(RegexTable.unbounded)
            switch scalar {
            case "*": position += 1
            case "+": position += 1; least = 1
            case "?": position += 1; most = 1
            case "{":
                guard let (low, high) = try counts() else { return node }
                least = low
                most = high ?? most
            default: return node
            }
            // Greedy or not, the same texts match; possessive ones would not.
            if !take("?"), next == "+" { throw unsupported("a possessive quantifier") }
            if least > Self.countMax || most > Self.countMax && most != RegexTable.unbounded {
                throw .tooLarge("a count over \(Self.countMax) in a regular expression")
            }
            node = table.repeated(node, Int32(least), Int32(most))
        }
        return node
    }

    /// `{n}`, `{n,}`, `{n,m}`; nil, and nothing read, when the brace is a character.
    private mutating func counts() throws(GrammarError) -> (Int, Int?)? {
        let start = position
        position += 1
        let least = number()
        var most = least
        let hasComma = take(",")
        if hasComma { most = number() }
        guard least != nil || (hasComma && most != nil && dialect == .ecma), take("}") else {
            position = start
            return nil
        }
        let low = least ?? 0
        if let most, most < low {
            throw error("a count {\(low),\(most)} that ends before it begins")
        }
        return (low, hasComma ? most : low)
    }

    private mutating func number() -> Int? {
        let start = position
        var value = 0
        while let scalar = next, ("0"..."9").contains(scalar) {
            value = min(value * 10 + Int(scalar.value - 0x30), Int(Int32.max))
            position += 1
        }
        return position > start ? value : nil
    }

    /// One piece that can be repeated; nil for what matches nothing of its own, such as flags.
    private mutating func atom(
        _ table: inout RegexTable
    ) throws(GrammarError) -> RegexTable.Node? {
        guard let scalar = next else { return nil }
        switch scalar {
        case "(": return try group(&table)
        case "[": return table.set(try bracket())
        case ".":
            position += 1
            if flags.dotMatchesNewline { return table.set(.all) }
            let lines: [ClosedRange<UInt32>] =
                dialect == .ecma ? [10...10, 13...13, 0x2028...0x2029] : [10...10]
            return table.set(ScalarSet(lines).inverted)
        case "^":
            position += 1
            return table.assertion(flags.isMultiline ? .lineStart : .start)
        case "$":
            position += 1
            return table.assertion(flags.isMultiline ? .lineEnd : .end)
        case "*", "+", "?": throw error("nothing to repeat before \(scalar)")
        case "{":
            if try counts() != nil { throw error("nothing to repeat before a count") }
            position += 1
            return literal("{", &table)
        case "\\": return try escape(&table)
        default:
            position += 1
            return literal(scalar, &table)
        }
    }

    private func literal(
        _ scalar: Unicode.Scalar, _ table: inout RegexTable
    ) -> RegexTable.Node {
        table.set(folded(ScalarSet(scalar.value)))
    }

    private func folded(_ set: ScalarSet) -> ScalarSet {
        flags.ignoresCase ? set.caseFolded : set
    }

    private mutating func group(
        _ table: inout RegexTable
    ) throws(GrammarError) -> RegexTable.Node? {
        position += 1
        let outer = flags
        if take("?") {
            if peek("=") || peek("!") || peek("<=") || peek("<!") {
                throw unsupported("look-around")
            }
            if peek(">") { throw unsupported("an atomic group") }
            if take("P<") || take("<") {
                while let scalar = next, scalar != ">" { _ = scalar; position += 1 }
                guard take(">") else { throw error("a group's name without >") }
            } else if peek("P=") || peek("P>") {
                throw unsupported("a back-reference")
            } else if try readFlags() == .here {
                return nil
            }
        }
        let node = try alternatives(&table)
        guard take(")") else { throw error("missing )") }
        flags = outer
        return node
    }

    private enum FlagScope { case here, group }

    private mutating func readFlags() throws(GrammarError) -> FlagScope {
        var isOn = true
        while let scalar = next {
            position += 1
            switch scalar {
            case ":": return .group
            case ")": return .here
            case "-": isOn = false
            case "i": flags.ignoresCase = isOn
            case "m": flags.isMultiline = isOn
            case "s": flags.dotMatchesNewline = isOn
            case "x": flags.isVerbose = isOn
            case "u": flags.isUnicode = isOn
            case "U", "R": break
            default: throw error("unknown flag \(scalar)")
            }
        }
        throw error("flags without )")
    }

    // MARK: Escapes and classes

    private mutating func escape(
        _ table: inout RegexTable
    ) throws(GrammarError) -> RegexTable.Node? {
        let start = position
        position += 1
        guard let scalar = next else { throw error("a backslash at the end") }
        switch scalar {
        case "A": position += 1; return table.assertion(.start)
        case "z", "Z": position += 1; return table.assertion(.end)
        case "b", "B":
            if flags.isUnicode { throw unsupported("a Unicode word boundary") }
            position += 1
            if next == "{" { throw unsupported("half a word boundary") }
            return table.assertion(scalar == "b" ? .boundary : .noBoundary)
        case "Q":
            position += 1
            var node = RegexTable.epsilon
            while let quoted = next, !take("\\E") {
                position += 1
                node = table.concatenated(node, literal(quoted, &table))
            }
            return node
        case "1"..."9", "k": throw unsupported("a back-reference")
        case "C", "G", "K", "X", "R": throw unsupported("\\\(scalar)")
        default:
            position = start
            let (set, isClass) = try classEscape()
            return table.set(isClass ? set : folded(set))
        }
    }

    /// What a backslash and its letter stand for, in a class or outside.
    private mutating func classEscape() throws(GrammarError) -> (ScalarSet, isClass: Bool) {
        position += 1
        guard let scalar = next else { throw error("a backslash at the end") }
        position += 1
        switch scalar {
        case "d": return (perl("nd", NamedSets.digit), true)
        case "D": return (perl("nd", NamedSets.digit).inverted, true)
        case "w": return (perl("word", NamedSets.word), true)
        case "W": return (perl("word", NamedSets.word).inverted, true)
        case "s": return (space, true)
        case "S": return (space.inverted, true)
        case "p", "P":
            let set = try property()
            return (folded(scalar == "P" ? set.inverted : set), true)
        case "n": return (ScalarSet(10), false)
        case "r": return (ScalarSet(13), false)
        case "t": return (ScalarSet(9), false)
        case "f": return (ScalarSet(12), false)
        case "v": return (ScalarSet(11), false)
        case "a": return (ScalarSet(7), false)
        case "e": return (ScalarSet(27), false)
        case "0": return (ScalarSet(octal()), false)
        case "c":
            guard let letter = next, letter.isASCII, letter.properties.isAlphabetic else {
                throw error("\\c without a letter")
            }
            position += 1
            return (ScalarSet(letter.value & 31), false)
        case "x": return (ScalarSet(try hexadecimal(2, braces: true)), false)
        case "u": return (ScalarSet(try unicodeEscape()), false)
        case "U": return (ScalarSet(try hexadecimal(8, braces: true)), false)
        default:
            if scalar.properties.isAlphabetic, scalar.isASCII {
                throw error("unknown escape \\\(scalar)")
            }
            return (ScalarSet(scalar.value), false)
        }
    }

    private var space: ScalarSet {
        if flags.isUnicode { return NamedSets.unicode("whitespace") ?? NamedSets.space }
        return dialect == .ecma ? NamedSets.spaceECMA : NamedSets.space
    }

    private func perl(_ name: String, _ ascii: ScalarSet) -> ScalarSet {
        flags.isUnicode ? NamedSets.unicode(name) ?? ascii : ascii
    }

    private mutating func octal() -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<2 {
            guard let digit = next, ("0"..."7").contains(digit) else { break }
            value = value * 8 + digit.value - 0x30
            position += 1
        }
        return value
    }

    private mutating func hexadecimal(_ digits: Int, braces: Bool) throws(GrammarError) -> UInt32 {
        let isBraced = braces && take("{")
        var text = ""
        while let scalar = next, scalar.isASCII, scalar.properties.isASCIIHexDigit,
            text.count < (isBraced ? 8 : digits) {
            text.unicodeScalars.append(scalar)
            position += 1
        }
        guard isBraced ? take("}") : text.count == digits, let value = UInt32(text, radix: 16),
            value <= ScalarSet.scalarMax
        else { throw error("a malformed code point") }
        return value
    }

    /// `\uXXXX`, two of them for a surrogate pair, or `\u{X…}`.
    private mutating func unicodeEscape() throws(GrammarError) -> UInt32 {
        let high = try hexadecimal(4, braces: true)
        guard (0xD800...0xDBFF).contains(high), take("\\u") else { return high }
        let low = try hexadecimal(4, braces: false)
        guard (0xDC00...0xDFFF).contains(low) else { throw error("half of a surrogate pair") }
        return 0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)
    }

    private mutating func property() throws(GrammarError) -> ScalarSet {
        var name = ""
        if take("{") {
            while let scalar = next, scalar != "}" {
                name.unicodeScalars.append(scalar)
                position += 1
            }
            guard take("}") else { throw error("\\p{ without }") }
        } else if let scalar = next {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        var isInverted = false
        if name.hasPrefix("^") {
            isInverted = true
            name.removeFirst()
        }
        if let equals = name.firstIndex(where: { $0 == "=" || $0 == ":" }) {
            name = String(name[name.index(after: equals)...])
        }
        guard let set = NamedSets.unicode(name) else {
            throw unsupported("the class \\p{\(name.prefix(40))}")
        }
        return isInverted ? set.inverted : set
    }

    private mutating func bracket() throws(GrammarError) -> ScalarSet {
        position += 1
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthMax { throw .tooLarge("classes nested over \(Self.depthMax) deep") }
        let isInverted = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        var isFirst = true
        while true {
            guard let scalar = next else { throw error("missing ]") }
            // RE2 reads a first ] as a character; ECMA-262 as the end.
            if scalar == "]", !isFirst || dialect == .ecma { break }
            isFirst = false
            if peek("[:"), let set = try posix() {
                ranges += set.ranges
                continue
            }
            let (low, isClass) = try classItem(scalar)
            guard !isClass, peek("-"), position + 1 < scalars.count,
                scalars[position + 1] != "]", let begin = low.ranges.first?.lowerBound
            else {
                ranges += low.ranges
                continue
            }
            position += 1
            let (high, highIsClass) = try classItem(scalars[position])
            guard !highIsClass, let end = high.ranges.first?.lowerBound else {
                ranges += low.ranges + [0x2D...0x2D] + high.ranges
                continue
            }
            if end < begin { throw error("a class that ends before it begins") }
            ranges.append(begin...end)
        }
        position += 1
        let set = folded(ScalarSet(ranges))
        return isInverted ? set.inverted : set
    }

    private mutating func classItem(
        _ scalar: Unicode.Scalar
    ) throws(GrammarError) -> (ScalarSet, isClass: Bool) {
        if scalar == "\\" {
            if peek("\\b") {
                position += 2
                return (ScalarSet(8), false)
            }
            return try classEscape()
        }
        position += 1
        return (ScalarSet(scalar.value), false)
    }

    private mutating func posix() throws(GrammarError) -> ScalarSet? {
        let start = position
        position += 2
        let isInverted = take("^")
        var name = ""
        while let scalar = next, scalar.properties.isAlphabetic {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard take(":]") else {
            position = start
            return nil
        }
        guard let set = NamedSets.posix(name) else { throw error("unknown class [:\(name):]") }
        return isInverted ? set.inverted : set
    }
}
