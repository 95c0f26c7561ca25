/// What a value must satisfy: a combination of the document's schemas, hash-consed so that equal
/// combinations are one number and are worked out once. Negation stands at the schemas only.
struct FormulaTable {
    typealias Formula = Int32

    enum Content: Hashable {
        case always, never
        case schema(Int32)
        case not(Int32)
        case all([Formula])
        case any([Formula])
    }

    static let always: Formula = 0
    static let never: Formula = 1

    private(set) var contents: [Content] = []
    private var index: [Content: Formula] = [:]

    init() {
        _ = intern(.always)
        _ = intern(.never)
    }

    subscript(formula: Formula) -> Content { contents[Int(formula)] }

    private mutating func intern(_ content: Content) -> Formula {
        if let known = index[content] { return known }
        let formula = Formula(contents.count)
        contents.append(content)
        index[content] = formula
        return formula
    }

    mutating func schema(_ id: Int32) -> Formula { intern(.schema(id)) }

    mutating func all(_ parts: [Formula]) -> Formula {
        var found: Set<Formula> = []
        for part in parts {
            if part == Self.never { return part }
            if case .all(let inner) = self[part] { found.formUnion(inner) } else {
                found.insert(part)
            }
        }
        found.remove(Self.always)
        for part in found {
            if case .schema(let id) = self[part], let opposite = index[.not(id)],
                found.contains(opposite) {
                return Self.never
            }
        }
        if found.count <= 1 { return found.first ?? Self.always }
        return intern(.all(found.sorted()))
    }

    mutating func any(_ parts: [Formula]) -> Formula {
        var found: Set<Formula> = []
        for part in parts {
            if part == Self.always { return part }
            if case .any(let inner) = self[part] { found.formUnion(inner) } else {
                found.insert(part)
            }
        }
        found.remove(Self.never)
        if found.count <= 1 { return found.first ?? Self.never }
        return intern(.any(found.sorted()))
    }

    mutating func not(_ formula: Formula) -> Formula {
        switch self[formula] {
        case .always: return Self.never
        case .never: return Self.always
        case .schema(let id): return intern(.not(id))
        case .not(let id): return intern(.schema(id))
        case .all(let parts): return any(parts.map { not($0) })
        case .any(let parts): return all(parts.map { not($0) })
        }
    }
}
