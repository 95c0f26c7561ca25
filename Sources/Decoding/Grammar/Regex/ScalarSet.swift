/// A set of Unicode scalars, as sorted ranges that neither touch nor overlap. Surrogates are never
/// members: no text has them, and what is not in a set cannot be generated.
struct ScalarSet: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>]

    static let scalarMax: UInt32 = 0x10FFFF
    static let all = ScalarSet([0...scalarMax])

    init(_ unordered: [ClosedRange<UInt32>] = []) {
        ranges = []
        for range in unordered.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            append(range)
        }
    }

    init(_ scalar: UInt32) { self.init([scalar...scalar]) }

    /// Adds a range that begins at or after the beginning of the last.
    private mutating func append(_ range: ClosedRange<UInt32>) {
        if range.lowerBound <= 0xDFFF, range.upperBound >= 0xD800 {
            if range.lowerBound < 0xD800 { join(range.lowerBound...0xD7FF) }
            if range.upperBound > 0xDFFF { join(0xE000...range.upperBound) }
        } else {
            join(range)
        }
    }

    private mutating func join(_ range: ClosedRange<UInt32>) {
        if let last = ranges.last, range.lowerBound <= last.upperBound &+ 1 {
            ranges[ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
        } else {
            ranges.append(range)
        }
    }

    var isEmpty: Bool { ranges.isEmpty }

    /// The first range that does not end before `scalar`.
    private func index(endingFrom scalar: UInt32) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func contains(_ scalar: UInt32) -> Bool { intersects(scalar...scalar) }

    func intersects(_ range: ClosedRange<UInt32>) -> Bool {
        let index = index(endingFrom: range.lowerBound)
        return index < ranges.count && ranges[index].lowerBound <= range.upperBound
    }

    func covers(_ range: ClosedRange<UInt32>) -> Bool {
        let index = index(endingFrom: range.lowerBound)
        return index < ranges.count && ranges[index].lowerBound <= range.lowerBound
            && ranges[index].upperBound >= range.upperBound
    }

    func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    var inverted: ScalarSet {
        var gaps: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= Self.scalarMax { gaps.append(next...Self.scalarMax) }
        return ScalarSet(gaps)
    }

    func intersection(_ other: ScalarSet) -> ScalarSet {
        inverted.union(other.inverted).inverted
    }

    /// Whether all scalars beyond ASCII are members, or none: then one of them stands for all.
    var isUniformBeyondASCII: Bool {
        guard let last = ranges.last, last.upperBound >= 0x80 else { return true }
        return covers(0x80...0xD7FF) && covers(0xE000...Self.scalarMax)
    }

    /// With every scalar whose simple case folding equals that of a member.
    var caseFolded: ScalarSet {
        var found = ranges
        for range in ranges {
            // Case differs below U+1E944 only, and not in the wide scripts between.
            for value in range where value < 0x1_E944 {
                if (0x3000...0xA63F).contains(value) || (0xAC00...0xD7A3).contains(value) {
                    continue
                }
                found += (CaseFolding.variants[value] ?? []).map { $0...$0 }
            }
        }
        return ScalarSet(found)
    }
}

/// Which scalars differ only by case: from the standard library's mappings of one scalar to one.
enum CaseFolding {
    static let variants: [UInt32: [UInt32]] = {
        var classes: [UInt32: [UInt32]] = [:]
        for value: UInt32 in 0x41..<0x1_E944 {
            if (0x3000...0xA63F).contains(value) || (0xAC00...0xF8FF).contains(value) { continue }
            guard let scalar = Unicode.Scalar(value) else { continue }
            let folded = fold(scalar)
            if folded != value { classes[folded, default: [folded]].append(value) }
        }
        var variants: [UInt32: [UInt32]] = [:]
        for members in classes.values {
            for member in members { variants[member] = members.filter { $0 != member } }
        }
        return variants
    }()

    private static func fold(_ scalar: Unicode.Scalar) -> UInt32 {
        // ẞ folds to ß, which has no upper case of one scalar.
        if scalar.value == 0x1E9E { return 0xDF }
        let upper = scalar.properties.uppercaseMapping.unicodeScalars
        let base = upper.count == 1 ? upper.first ?? scalar : scalar
        let lower = base.properties.lowercaseMapping.unicodeScalars
        return lower.count == 1 ? (lower.first ?? scalar).value : base.value
    }
}

/// Classes with names: Perl's, POSIX's and Unicode's general categories.
enum NamedSets {
    static let digit = ScalarSet([0x30...0x39])
    static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    static let space = ScalarSet([0x09...0x0A, 0x0C...0x0D, 0x20...0x20])
    /// ECMA-262 counts more characters as white space than RE2.
    static let spaceECMA = ScalarSet([
        0x09...0x0D, 0x20...0x20, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A,
        0x2028...0x2029, 0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
    ])

    static func posix(_ name: String) -> ScalarSet? {
        switch name {
        case "alnum": ScalarSet([0x30...0x39, 0x41...0x5A, 0x61...0x7A])
        case "alpha": ScalarSet([0x41...0x5A, 0x61...0x7A])
        case "ascii": ScalarSet([0...0x7F])
        case "blank": ScalarSet([9...9, 0x20...0x20])
        case "cntrl": ScalarSet([0...0x1F, 0x7F...0x7F])
        case "digit": digit
        case "graph": ScalarSet([0x21...0x7E])
        case "lower": ScalarSet([0x61...0x7A])
        case "print": ScalarSet([0x20...0x7E])
        case "punct": ScalarSet([0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E])
        case "space": ScalarSet([9...0xD, 0x20...0x20])
        case "upper": ScalarSet([0x41...0x5A])
        case "word": word
        case "xdigit": ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])
        default: nil
        }
    }

    /// A general category (`L`, `Lu`, `Letter`), a property or a script that is known here.
    static func unicode(_ name: String) -> ScalarSet? {
        let key = name.lowercased().filter { $0 != "_" && $0 != " " && $0 != "-" }
        if key == "any" { return .all }
        if let tags = categories[key] { return ofCategories(Set(tags)) }
        if let property = properties[key] { return matching(property) }
        return Scripts.ranges[key].map { ScalarSet($0) }
    }

    private static func ofCategories(_ tags: Set<String>) -> ScalarSet {
        matching { tags.contains(tag(of: $0.generalCategory)) }
    }

    private static func matching(_ test: (Unicode.Scalar.Properties) -> Bool) -> ScalarSet {
        var ranges: [ClosedRange<UInt32>] = []
        var start: UInt32?
        for value in 0...ScalarSet.scalarMax + 1 {
            let isMember = Unicode.Scalar(value).map { test($0.properties) } ?? false
            if isMember {
                start = start ?? value
            } else if let begin = start {
                ranges.append(begin...value - 1)
                start = nil
            }
        }
        return ScalarSet(ranges)
    }

    private static let properties: [String: @Sendable (Unicode.Scalar.Properties) -> Bool] = [
        "alphabetic": { $0.isAlphabetic }, "alpha": { $0.isAlphabetic },
        "lowercase": { $0.isLowercase }, "uppercase": { $0.isUppercase },
        "whitespace": { $0.isWhitespace }, "emoji": { $0.isEmoji },
        "idstart": { $0.isIDStart }, "idcontinue": { $0.isIDContinue },
        "xidstart": { $0.isXIDStart }, "xidcontinue": { $0.isXIDContinue },
        "word": {
            $0.isAlphabetic || $0.isJoinControl
                || ["Mn", "Mc", "Me", "Nd", "Pc"].contains(tag(of: $0.generalCategory))
        },
    ]

    private static let categories: [String: [String]] = {
        var table: [String: [String]] = [:]
        for (tag, name) in names { table[tag.lowercased()] = [tag]; table[name] = [tag] }
        let groups = [
            ("l", "letter"), ("m", "mark"), ("n", "number"), ("p", "punctuation"),
            ("s", "symbol"), ("z", "separator"), ("c", "other"),
        ]
        for (letter, name) in groups {
            let members = names.map(\.0).filter { $0.lowercased().hasPrefix(letter) }
            table[letter] = members
            table[name] = members
        }
        table["lc"] = ["Lu", "Ll", "Lt"]
        table["l&"] = ["Lu", "Ll", "Lt"]
        table["casedletter"] = ["Lu", "Ll", "Lt"]
        table["punct"] = table["p"]
        table["digit"] = ["Nd"]
        return table
    }()

    private static let names = [
        ("Lu", "uppercaseletter"), ("Ll", "lowercaseletter"), ("Lt", "titlecaseletter"),
        ("Lm", "modifierletter"), ("Lo", "otherletter"), ("Mn", "nonspacingmark"),
        ("Mc", "spacingmark"), ("Me", "enclosingmark"), ("Nd", "decimalnumber"),
        ("Nl", "letternumber"), ("No", "othernumber"), ("Pc", "connectorpunctuation"),
        ("Pd", "dashpunctuation"), ("Ps", "openpunctuation"), ("Pe", "closepunctuation"),
        ("Pi", "initialpunctuation"), ("Pf", "finalpunctuation"), ("Po", "otherpunctuation"),
        ("Sm", "mathsymbol"), ("Sc", "currencysymbol"), ("Sk", "modifiersymbol"),
        ("So", "othersymbol"), ("Zs", "spaceseparator"), ("Zl", "lineseparator"),
        ("Zp", "paragraphseparator"), ("Cc", "control"), ("Cf", "format"),
        ("Co", "privateuse"), ("Cn", "unassigned"),
    ]

    private static func tag(of category: Unicode.GeneralCategory) -> String {
        switch category {
        case .uppercaseLetter: "Lu"
        case .lowercaseLetter: "Ll"
        case .titlecaseLetter: "Lt"
        case .modifierLetter: "Lm"
        case .otherLetter: "Lo"
        case .nonspacingMark: "Mn"
        case .spacingMark: "Mc"
        case .enclosingMark: "Me"
        case .decimalNumber: "Nd"
        case .letterNumber: "Nl"
        case .otherNumber: "No"
        case .connectorPunctuation: "Pc"
        case .dashPunctuation: "Pd"
        case .openPunctuation: "Ps"
        case .closePunctuation: "Pe"
        case .initialPunctuation: "Pi"
        case .finalPunctuation: "Pf"
        case .otherPunctuation: "Po"
        case .mathSymbol: "Sm"
        case .currencySymbol: "Sc"
        case .modifierSymbol: "Sk"
        case .otherSymbol: "So"
        case .spaceSeparator: "Zs"
        case .lineSeparator: "Zl"
        case .paragraphSeparator: "Zp"
        case .control: "Cc"
        case .format: "Cf"
        case .surrogate: "Cs"
        case .privateUse: "Co"
        case .unassigned: "Cn"
        @unknown default: "Cn"
        }
    }
}
