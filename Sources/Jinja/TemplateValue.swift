import OrderedCollections

/// A value of the template language, with Python's kinds and Python's names for them.
///
/// Lists and mappings cannot change once made (templates run in Jinja's *immutable* sandbox), so
/// only namespaces and loops have identity.
enum TemplateValue {
    case undefined(TemplateUndefined)
    case none
    case bool(Bool)
    case int(Int)
    /// An integer beyond 64 bits, as its digits: it can be printed and compared, not computed with.
    case big(String)
    case double(Double)
    case text(TemplateText)
    case list(TemplateList)
    case tuple(TemplateList)
    case dict(TemplateDict)
    case view(TemplateView)
    case range(TemplateRange)
    case generator(TemplateGenerator)
    case namespace(TemplateNamespace)
    case macro(TemplateMacroValue)
    case loop(TemplateLoopState)
    case joiner(TemplateJoiner)
    case cycler(TemplateCycler)
    case method(TemplateMethod)
    case function(TemplateFunction)

    static func text(_ string: String, trusted: Bool = true) -> TemplateValue {
        .text(TemplateText(string, trusted: trusted))
    }

    /// `type(x).__name__` in Python.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .int, .big: "int"
        case .double: "float"
        case .text(let text): text.isMarkup ? "Markup" : "str"
        case .list: "list"
        case .tuple: "tuple"
        case .dict: "dict"
        case .view(let view): "dict_\(view.kind.rawValue)"
        case .range: "range"
        case .generator: "generator"
        case .namespace: "Namespace"
        case .macro: "Macro"
        case .loop: "LoopContext"
        case .joiner: "Joiner"
        case .cycler: "Cycler"
        case .method: "builtin_function_or_method"
        case .function: "function"
        }
    }

    /// How Jinja names the type in messages about undefined attributes.
    var typeDescription: String {
        switch self {
        case .none: "None"
        case .text(let text) where text.isMarkup: "markupsafe.Markup object"
        case .namespace, .macro, .loop, .joiner, .cycler:
            "jinja2.\(typeName) object"
        default: "\(typeName) object"
        }
    }

    var containerDepth: Int {
        switch self {
        case .list(let list), .tuple(let list): list.depth
        case .dict(let dict): dict.depth
        case .view(let view): view.dict.depth + 1
        case .generator(let generator): generator.depth
        default: 0
        }
    }

    var isNone: Bool { if case .none = self { true } else { false } }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .double(let value): value != 0
        case .text(let text): !text.isEmpty
        case .list(let list), .tuple(let list): !list.items.isEmpty
        case .dict(let dict): !dict.entries.isEmpty
        case .view(let view): !view.dict.entries.isEmpty
        case .range(let range): range.count > 0
        default: true
        }
    }
}

final class TemplateUndefined {
    enum Origin {
        case name(String)
        case attribute(of: String, name: String)
        case element(of: String, key: String)
        case hint(String)
        case unsafe(attribute: String, of: String)
    }
    let origin: Origin

    init(_ origin: Origin) { self.origin = origin }

    /// The error that using this value raises.
    var error: TemplateError {
        switch origin {
        case .name(let name): TemplateError(.undefined, "'\(name)' is undefined")
        case .attribute(let type, let name):
            TemplateError(.undefined, "'\(type)' has no attribute '\(name)'")
        case .element(let type, let key):
            TemplateError(.undefined, "\(type) has no element \(key)")
        case .hint(let words): TemplateError(.undefined, words)
        case .unsafe(let attribute, let type):
            TemplateError(
                .security, "access to attribute '\(attribute)' of '\(type)' object is unsafe.")
        }
    }
}

final class TemplateList {
    let items: [TemplateValue]
    /// Levels of containers in this one, itself included: bounds recursion into values.
    let depth: Int
    /// Field names of a named tuple (`groupby`).
    let fields: [String]

    init(_ items: [TemplateValue], fields: [String] = []) {
        self.items = items
        self.fields = fields
        depth = 1 + items.reduce(0) { max($0, $1.containerDepth) }
    }
}

/// What Python would hash a key to: equal numbers of any type are one key.
enum TemplateDictKey: Hashable, Sendable {
    case none
    case int(Int)
    case big(String)
    case double(Double)
    case text([UInt8])
    case tuple([TemplateDictKey])
}

struct TemplateEntry {
    let key: TemplateValue
    let value: TemplateValue
}

final class TemplateDict {
    typealias Entries = OrderedDictionary<TemplateDictKey, TemplateEntry>
    let entries: Entries
    let depth: Int

    init(_ entries: Entries) {
        self.entries = entries
        depth =
            1
            + entries.values.reduce(0) {
                max($0, max($1.key.containerDepth, $1.value.containerDepth))
            }
    }
}

final class TemplateView {
    enum Kind: String { case keys, values, items }
    let kind: Kind
    let dict: TemplateDict

    init(_ kind: Kind, of dict: TemplateDict) {
        self.kind = kind
        self.dict = dict
    }
}

final class TemplateRange {
    let start: Int
    let step: Int
    let count: Int

    /// Nil when the count exceeds `limit` or a sum overflows.
    init?(start: Int, stop: Int, step: Int, limit: Int) {
        let (span, overflow) = stop.subtractingReportingOverflow(start)
        if overflow || step == 0 || step == Int.min { return nil }
        let size = abs(step)
        let distance = step > 0 ? span : 0 &- span
        self.start = start
        self.step = step
        count = distance <= 0 ? 0 : (distance - 1) / size + 1
        if count > limit { return nil }
    }

    private init(start: Int, step: Int, count: Int) {
        self.start = start
        self.step = step
        self.count = count
    }

    subscript(index: Int) -> Int { start + step * index }
    var stop: Int { start + step * count }

    func sliced(start first: Int, count: Int, step by: Int) -> TemplateRange {
        TemplateRange(start: start + step * first, step: step * by, count: count)
    }
}

/// The result of a lazy filter (`map`, `select`, …): can be walked through once.
final class TemplateGenerator {
    typealias Producer = (TemplateInterpreter) throws(TemplateError) -> [TemplateValue]
    /// The Python function it would come from; part of what printing it shows.
    let name: String
    let depth: Int
    private var producer: Producer?

    init(name: String, depth: Int, _ producer: @escaping Producer) {
        self.name = name
        self.depth = depth + 1
        self.producer = producer
    }

    func drain(_ interpreter: TemplateInterpreter) throws(TemplateError) -> [TemplateValue] {
        guard let run = producer else { return [] }
        producer = nil
        return try interpreter.nested { () throws(TemplateError) in try run(interpreter) }
    }
}

/// `namespace()`: the only thing a template can assign attributes of.
final class TemplateNamespace {
    var values: OrderedDictionary<String, TemplateValue> = [:]
}

/// Variables of one block; looked up innermost first.
final class TemplateScope {
    private var symbols: [Int] = []
    private var values: [TemplateValue] = []
    let parent: TemplateScope?

    init(parent: TemplateScope?) { self.parent = parent }

    func set(_ symbol: Int, _ value: TemplateValue) {
        if let index = symbols.firstIndex(of: symbol) {
            values[index] = value
        } else {
            symbols.append(symbol)
            values.append(value)
        }
    }

    func own(_ symbol: Int) -> TemplateValue? {
        symbols.firstIndex(of: symbol).map { values[$0] }
    }

    func clear() {
        symbols.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
    }
}

final class TemplateMacroValue {
    let definition: TemplateMacro
    let scope: TemplateScope

    init(_ definition: TemplateMacro, scope: TemplateScope) {
        self.definition = definition
        self.scope = scope
    }
}

/// The `loop` variable of a running loop.
final class TemplateLoopState {
    var items: [TemplateValue]
    var index = 0
    let depth: Int
    let definition: TemplateLoop
    let scope: TemplateScope
    /// Arguments of the last `loop.changed(…)`.
    var lastChecked: TemplateList?

    init(
        _ items: [TemplateValue], depth: Int, definition: TemplateLoop, scope: TemplateScope
    ) {
        self.items = items
        self.depth = depth
        self.definition = definition
        self.scope = scope
    }
}

final class TemplateJoiner {
    let separator: TemplateValue
    var isUsed = false

    init(_ separator: TemplateValue) { self.separator = separator }
}

final class TemplateCycler {
    let items: [TemplateValue]
    var position = 0

    init(_ items: [TemplateValue]) { self.items = items }
}

/// A method taken from a value and not yet called.
final class TemplateMethod {
    let receiver: TemplateValue
    let name: String

    init(_ receiver: TemplateValue, _ name: String) {
        self.receiver = receiver
        self.name = name
    }
}

/// The functions every template can call. There is no other way out of the values given.
enum TemplateFunction: String, CaseIterable {
    case range, dict, namespace, joiner, cycler
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}
