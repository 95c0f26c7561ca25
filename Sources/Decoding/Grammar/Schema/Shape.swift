/// The normal form of a formula: for each type, the alternatives a value of it may follow.
struct Shape: Hashable {
    var allowsNull = false
    var allowsTrue = false
    var allowsFalse = false
    var numbers: [NumberRule] = []
    var strings: [StringShape] = []
    var arrays: [ArrayShape] = []
    var objects: [ObjectShape] = []

    static let anything = Shape(
        allowsNull: true, allowsTrue: true, allowsFalse: true, numbers: [NumberRule()],
        strings: [StringShape()], arrays: [ArrayShape()], objects: [ObjectShape()])
    static let nothing = Shape()

    var isEmpty: Bool { self == .nothing }

    var alternativeCount: Int {
        numbers.count + strings.count + arrays.count + objects.count
    }

    mutating func formUnion(_ other: Shape) {
        allowsNull = allowsNull || other.allowsNull
        allowsTrue = allowsTrue || other.allowsTrue
        allowsFalse = allowsFalse || other.allowsFalse
        Self.add(other.numbers, to: &numbers, .init())
        Self.addStrings(other.strings, to: &strings)
        Self.add(other.arrays, to: &arrays, .init())
        Self.add(other.objects, to: &objects, .init())
    }

    private static func add<Alternative: Hashable>(
        _ more: [Alternative], to known: inout [Alternative], _ everything: Alternative
    ) {
        if known.contains(everything) { return }
        if more.contains(everything) {
            known = [everything]
            return
        }
        for alternative in more where !known.contains(alternative) { known.append(alternative) }
    }

    /// Finite sets of strings become one.
    private static func addStrings(_ more: [StringShape], to known: inout [StringShape]) {
        for shape in more {
            if let literals = shape.literals,
                let index = known.firstIndex(where: { $0.literals != nil }) {
                let mine = known[index].literals ?? []
                let seen = Set(mine)
                known[index].literals = mine + literals.filter { !seen.contains($0) }
            } else {
                add([shape], to: &known, StringShape())
            }
        }
    }
}

struct StringShape: Hashable {
    /// All there is, when the set is finite and given by name.
    var literals: [[UInt8]]?
    /// In characters (Unicode scalars).
    var lengthMin = 0
    var lengthMax = Int.max
    /// What the decoded text must match as a whole.
    var pattern: RegexTable.Node = RegexTable.anything
}

struct ArrayShape: Hashable {
    struct Containing: Hashable {
        var item: FormulaTable.Formula
        var least: Int
        var most: Int
    }

    var prefix: [FormulaTable.Formula] = []
    var rest: FormulaTable.Formula = FormulaTable.always
    var countMin = 0
    var countMax = Int.max
    var isUnique = false
    var containing: [Containing] = []

    func item(_ index: Int) -> FormulaTable.Formula {
        index < prefix.count ? prefix[index] : rest
    }
}

struct ObjectShape: Hashable {
    /// `properties`, `patternProperties` and `additionalProperties` of one schema: the last is
    /// about the keys that the first two leave.
    struct Group: Hashable {
        struct Property: Hashable {
            var name: [UInt8]
            var value: FormulaTable.Formula
        }
        struct Pattern: Hashable {
            var keys: RegexTable.Node
            var value: FormulaTable.Formula
        }

        var properties: [Property] = []
        var patterns: [Pattern] = []
        var additional: FormulaTable.Formula = FormulaTable.always
    }

    /// Some key of a language must be there, with such a value.
    struct Existing: Hashable {
        var keys: RegexTable.Node
        var value: FormulaTable.Formula
    }

    var groups: [Group] = []
    var existing: [Existing] = []
    /// Sorted, as UTF-8 like all names: Swift's strings count é and e + ´ as equal, JSON does not.
    var required: [[UInt8]] = []
    var countMin = 0
    var countMax = Int.max
}
