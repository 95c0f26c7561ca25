/// A compiled grammar as data: what the machine's frames refer to by number. A value; every
/// machine starts from its own copy and adds states to it.
struct GrammarTables: Sendable {
    var regex = RegexTable()
    var trie = LiteralTrie()
    var values: [ValueRule] = []
    var strings: [StringRule] = []
    var numbers: [NumberRule] = []
    var arrays: [ArrayRule] = []
    var objects: [ObjectRule] = []
    var expressions: [ExpressionRule] = []
    var members: [MembersRule] = []
    /// Tokens without text that expressions ask for.
    var specialTokens: [Int32] = []
    /// Where every text begins.
    var root: Int32 = 0
    /// Members in the order of the schema, as OpenAI promises for `strict`; else in any order.
    var keepsKeyOrder = false
    var style = GrammarStyle.judging
    /// Whether 1.0 is no integer, as until draft 4 and for those who write.
    var integersHaveNoPoint = false
    /// Whether what stood before matters beside the machine: see ``JSONGuard``.
    var isGuarded = false
    var hasGuardedArrays = false
    /// Whether some object has few keys, or some array few unique items: ``Automaton/keepOpen``.
    var hasFewKeys = false
    var mayRunOut = false
    /// Whether there is more to a text than one JSON value.
    var isMixed = true
}

/// The ways to write one value.
struct ValueRule: Sendable {
    static let null: UInt8 = 1, isTrue: UInt8 = 2, isFalse: UInt8 = 4

    var words: UInt8 = 0
    /// Root of a trie of canonical texts, quotes included.
    var literals: Int32 = -1
    /// The same for numbers.
    var numberLiterals: Int32 = -1
    var hasPlainNumber = false
    var hasPlainInteger = false
    var numbers: [Int32] = []
    var strings: [Int32] = []
    var arrays: [Int32] = []
    var objects: [Int32] = []
    /// Canonical texts of all values, sorted, when there are few.
    var texts: [[UInt8]]?

    var isEmpty: Bool {
        words == 0 && literals < 0 && numberLiterals < 0 && !hasPlainNumber && !hasPlainInteger
            && numbers.isEmpty && strings.isEmpty && arrays.isEmpty && objects.isEmpty
    }
}

struct StringRule: Sendable {
    var lengthMin: Int
    var lengthMax: Int
    /// Code of a ``RegexState``, or -1.
    var pattern: Int32
    /// Whether lengths are counted beside the pattern; else it says them itself.
    var isBounded = false
}

struct ArrayRule: Sendable {
    struct Item: Sendable {
        var value: Int32
        /// Which of `containing` such an item counts for.
        var counts: UInt32
    }

    /// What may stand at each place; the last entry is for all further places.
    var items: [[Item]]
    var countMin: Int
    var countMax: Int
    var isUnique: Bool
    /// Whether items are kept different outside of the machine, which has too many of them.
    var isGuarded = false
    /// Whether those that are left may be none.
    var mayRunOut = false
    var containing: [(least: Int, most: Int)]
    /// How many different items there are, when that is few.
    var distinct: Int?
}

struct ObjectRule: Sendable {
    struct Option: Sendable {
        var value: Int32
        /// Which of the keys that must exist such a member is.
        var proves: UInt32
    }
    struct Name: Sendable {
        var options: [Option]
        /// Place in the schema's own order.
        var order: Int32
    }

    var names: [Name]
    var trie: Int32
    /// Names that can be written at all.
    var usable: RankSet
    var required: RankSet
    var requiredCount: Int
    /// For keys without a name, when there are no patterns.
    var free: [Option]
    /// Codes of the states in which the patterns begin.
    var patterns: [Int32]
    /// For keys without a name: which patterns they match → what they may hold.
    var classes: [UInt64: [Option]]
    /// Whether keys of every class can be written.
    var allowsEveryKey = false
    /// Whether there are beginnings after which only a few free keys can come.
    var hasFewKeys = false
    /// So many free keys there are at least.
    var freeLeast = Int.max
    var countMin: Int
    var countMax: Int
    var existing: UInt32

    var allowsFreeKeys: Bool { !free.isEmpty || !classes.isEmpty }
}

/// An object's members outside of JSON: see ``MemberStyle``.
struct MembersRule: Sendable {
    var object: Int32
    /// By the rank of a name: the expression of its value and what follows it.
    var values: [Int32]
    /// Expressions of what stands around a key.
    var beforeKey: Int32
    var afterKey: Int32
    /// The expression of a key without a name and all that follows it, or -1.
    var free: Int32
}

/// What stands around values: rules of GBNF, the words of tool formats.
enum ExpressionRule: Sendable {
    case sequence([Int32])
    case choice([Int32])
    /// Most may be `Int32.max`.
    case repetition(Int32, least: Int32, most: Int32)
    /// Code of a ``RegexState``.
    case match(Int32)
    case value(Int32)
    case members(Int32)
    case special(Int32)
}

/// How an object's members are written where they are not JSON:
/// `<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>\n`. Strings are raw up to what follows
/// a value; other values are JSON.
package struct MemberStyle: Sendable, Hashable {
    package var beforeKey: String
    package var afterKey: String
    package var afterValue: String
    /// Texts that no key and no value holds, at any depth: what a reader takes for their end.
    package var marks: [String]
    /// Those parts of the four that are tokens without text.
    package var tokens: [String: Int32] = [:]
    /// Line breaks around marks may be left out.
    package var linesAreOptional = false

    package init(
        beforeKey: String, afterKey: String, afterValue: String, marks: [String] = []
    ) {
        self.beforeKey = beforeKey
        self.afterKey = afterKey
        self.afterValue = afterValue
        self.marks = marks
    }

    /// A text in which tokens without text are those.
    func pieces(_ text: String) -> [GrammarExpression] {
        GrammarExpression.pieces(
            of: text, tokens: tokens, linesAreOptional: linesAreOptional)
    }
}
