/// The syntax tree of a template. Names are interned: an `Int` is an index into the template's
/// symbol list. Chains of one precedence are flat lists, so that tree depth is nesting, not length.
indirect enum TemplateExpression: Sendable {
    enum Literal: Sendable {
        case none
        case bool(Bool)
        case int(Int)
        case big(String)
        case double(Double)
        case text(TemplateText)
    }
    enum Arithmetic: Sendable { case add, subtract, multiply, divide, floorDivide, modulo, power }
    enum Unary: Sendable { case not, minus, plus }
    enum Comparison: Sendable { case equal, notEqual, less, lessEqual, greater, greaterEqual }
    enum Relation: Sendable {
        case order(Comparison)
        case isIn(negated: Bool)
    }
    struct Slice: Sendable {
        var start: TemplateExpression?
        var stop: TemplateExpression?
        var step: TemplateExpression?
    }

    case literal(Literal)
    case name(Int)
    case attribute(TemplateExpression, TemplateKey)
    case item(TemplateExpression, TemplateExpression)
    case slice(TemplateExpression, Slice)
    case call(TemplateExpression, TemplateArguments)
    /// The value is nil in a `{% filter %}` block, where it is the block's text.
    case filter(TemplateExpression?, TemplateFilter, TemplateArguments)
    case test(TemplateExpression, TemplateTest, TemplateArguments)
    case unary(Unary, TemplateExpression)
    case arithmetic(TemplateExpression, [(Arithmetic, TemplateExpression)])
    case concat([TemplateExpression])
    case and([TemplateExpression])
    case or([TemplateExpression])
    case compare(TemplateExpression, [(Relation, TemplateExpression)])
    case conditional(
        test: TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case dict([(TemplateExpression, TemplateExpression)])
}

struct TemplateArguments: Sendable {
    var positional: [TemplateExpression] = []
    var keywords: [(name: String, value: TemplateExpression)] = []
    var star: TemplateExpression?
    var doubleStar: TemplateExpression?
}

/// An attribute name, with the key under which a mapping would hold it.
struct TemplateKey: Sendable {
    let name: String
    let key: TemplateDictKey

    init(_ name: String) {
        self.name = name
        key = .text(Array(name.utf8))
    }
}

indirect enum TemplateTarget: Sendable {
    case name(Int)
    case tuple([TemplateTarget])
    /// `ns.attribute`: only namespaces may be assigned to.
    case namespace(Int, attribute: String)
}

struct TemplateStatement: Sendable {
    let line: Int
    let kind: Kind

    indirect enum Kind: Sendable {
        case text(TemplateText)
        case print(TemplateExpression)
        case branch([(TemplateExpression, [TemplateStatement])], otherwise: [TemplateStatement])
        case loop(TemplateLoop)
        case set(TemplateTarget, TemplateExpression)
        case setBlock(TemplateTarget, filter: TemplateExpression?, [TemplateStatement])
        case macro(name: Int, TemplateMacro)
        case callBlock(TemplateExpression, TemplateArguments, TemplateMacro)
        case filterBlock(TemplateExpression, [TemplateStatement])
        case with([(TemplateTarget, TemplateExpression)], [TemplateStatement])
        /// A body with variables of its own: `block`, `autoescape`, `generation`.
        case scope([TemplateStatement])
        case breakLoop
        case continueLoop
    }
}

final class TemplateLoop: Sendable {
    let target: TemplateTarget
    let sequence: TemplateExpression
    let filter: TemplateExpression?
    let recursive: Bool
    let body: [TemplateStatement]
    let otherwise: [TemplateStatement]

    init(
        target: TemplateTarget, sequence: TemplateExpression, filter: TemplateExpression?,
        recursive: Bool, body: [TemplateStatement], otherwise: [TemplateStatement]
    ) {
        self.target = target
        self.sequence = sequence
        self.filter = filter
        self.recursive = recursive
        self.body = body
        self.otherwise = otherwise
    }
}

final class TemplateMacro: Sendable {
    struct Parameter: Sendable {
        var name: String
        var symbol: Int
        var fallback: TemplateExpression?
    }
    let name: String
    let parameters: [Parameter]
    let body: [TemplateStatement]
    /// Whether the body names `varargs`, `kwargs`, `caller`; without, such arguments are errors.
    let takesPositional: Bool
    let takesKeywords: Bool
    let takesCaller: Bool

    init(
        name: String, parameters: [Parameter], body: [TemplateStatement], uses: Set<String>
    ) {
        self.name = name
        self.parameters = parameters
        self.body = body
        takesPositional = uses.contains("varargs")
        takesKeywords = uses.contains("kwargs")
        takesCaller = uses.contains("caller")
    }
}
