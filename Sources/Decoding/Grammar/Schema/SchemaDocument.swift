import AutoGLMJSON
import OrderedCollections

/// A schema in its document: where it stands and which dialect reads it.
struct SchemaPlace: Sendable {
    let value: JSONValue
    /// `#/properties/a`: how errors name it.
    let path: String
    /// The URI that references in it are resolved against, without fragment; empty without `$id`.
    let base: String
}

/// The document that a schema is part of: resolves `$ref` to places in it and nowhere else.
struct SchemaDocument: Sendable {
    /// What decides about spellings that changed their meaning between drafts.
    enum Draft: Int, Sendable {
        case draft3 = 3, draft4, draft6 = 6, draft7, draft2019 = 2019, draft2020 = 2020
    }

    let root: JSONValue
    let draft: Draft
    /// URI (with `#name` for an anchor) → where it stands.
    private var resources: [String: SchemaPlace] = [:]
    private(set) var dynamicAnchors: [String: Int] = [:]

    init(_ root: JSONValue) {
        self.root = root
        draft = Self.draft(of: root)
        scan(root, path: "#", base: "", isRoot: true)
    }

    private static func draft(of root: JSONValue) -> Draft {
        let name = root["$schema"]?.stringValue ?? ""
        for (mark, draft): (String, Draft) in [
            ("draft-03", .draft3), ("draft-04", .draft4), ("draft-06", .draft6),
            ("draft-07", .draft7), ("2019-09", .draft2019),
        ] where name.contains(mark) { return draft }
        return .draft2020
    }

    /// Whether keywords beside `$ref` count: before 2019 they did not.
    var honoursSiblingsOfReference: Bool { draft.rawValue >= Draft.draft2019.rawValue }

    // MARK: Identifiers

    private static let data: Set<String> = ["enum", "const", "default", "examples"]

    private mutating func scan(_ value: JSONValue, path: String, base: String, isRoot: Bool) {
        switch value {
        case .object(let members):
            let inner = Self.base(of: value, in: base, self)
            let place = SchemaPlace(value: value, path: path, base: inner)
            if isRoot || inner != base { resources[inner] = resources[inner] ?? place }
            for key in ["$anchor", "$dynamicAnchor"] {
                guard let name = members[key]?.stringValue else { continue }
                resources[inner + "#" + name] = place
                if key == "$dynamicAnchor" { dynamicAnchors[name, default: 0] += 1 }
            }
            for key in ["$id", "id"] {
                guard let name = members[key]?.stringValue, name.hasPrefix("#"), name.count > 1
                else { continue }
                resources[inner + name] = place
            }
            for (key, child) in members where !Self.data.contains(key) {
                guard Self.holdsObjects(child) else { continue }
                scan(child, path: path + "/" + Self.escaped(key), base: inner, isRoot: false)
            }
        case .array(let elements):
            for (index, child) in elements.enumerated() where Self.holdsObjects(child) {
                scan(child, path: "\(path)/\(index)", base: base, isRoot: false)
            }
        default: break
        }
    }

    private static func holdsObjects(_ value: JSONValue) -> Bool {
        switch value {
        case .object, .array: true
        default: false
        }
    }

    static func base(of value: JSONValue, in base: String, _ document: SchemaDocument) -> String {
        // Before 2019 an $id beside a $ref means nothing.
        if value["$ref"]?.stringValue != nil, !document.honoursSiblingsOfReference { return base }
        let key = document.draft.rawValue <= 4 ? "id" : "$id"
        guard let name = value[key]?.stringValue, !name.hasPrefix("#") else { return base }
        return resolved(name, against: base).uri
    }

    static func escaped(_ key: String) -> String {
        guard key.utf8.contains(where: { $0 == 0x7E || $0 == 0x2F }) else { return key }
        return key.replacing("~", with: "~0").replacing("/", with: "~1")
    }

    /// A URI reference against a base, as far as names of documents need it (RFC 3986, 5.2).
    private static func resolved(
        _ reference: String, against base: String
    ) -> (uri: String, fragment: String) {
        let parts = reference.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts.first ?? "")
        let fragment = parts.count > 1 ? String(parts[1]) : ""
        if name.isEmpty { return (base, fragment) }
        if let colon = name.firstIndex(of: ":"), !name[..<colon].contains("/") {
            return (name, fragment)
        }
        var root = ""
        var path = base
        if let scheme = base.range(of: "://") {
            let slash = base[scheme.upperBound...].firstIndex(of: "/") ?? base.endIndex
            root = String(base[..<slash])
            path = String(base[slash...])
        }
        if name.hasPrefix("/") { return (root + name, fragment) }
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? (root.isEmpty ? "" : "/")
        return (root + folder + name, fragment)
    }

    // MARK: References

    /// Where a reference leads, or nil when it leads out of the document or nowhere.
    func resolve(_ reference: String, from place: SchemaPlace) -> SchemaPlace? {
        let (uri, fragment) = Self.resolved(reference, against: place.base)
        let pointer = fragment.removingPercentEncoding
        guard pointer.isEmpty || pointer.hasPrefix("/") else {
            return resources[uri + "#" + pointer]
        }
        guard var found = resources[uri] else { return nil }
        for part in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            let key = part.replacing("~1", with: "/").replacing("~0", with: "~")
            guard let next = child(of: found, String(key)) else { return nil }
            found = next
        }
        return found
    }

    private func child(of place: SchemaPlace, _ key: String) -> SchemaPlace? {
        let value: JSONValue?
        switch place.value {
        case .object(let members): value = members[key]
        case .array: value = Int(key).flatMap { place.value[$0] }
        default: value = nil
        }
        guard let value else { return nil }
        return SchemaPlace(
            value: value, path: place.path + "/" + Self.escaped(key),
            base: Self.base(of: value, in: place.base, self))
    }

    /// The schema under a keyword, at the path it has in the document.
    func child(_ place: SchemaPlace, _ keys: String...) -> SchemaPlace? {
        var found = place
        for key in keys {
            guard let next = child(of: found, key) else { return nil }
            found = next
        }
        return found
    }

    var rootPlace: SchemaPlace {
        SchemaPlace(value: root, path: "#", base: Self.base(of: root, in: "", self))
    }
}

extension String {
    /// `%25` as `%`; what is no valid escape stays as written.
    fileprivate var removingPercentEncoding: String {
        guard utf8.contains(0x25) else { return self }
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == 0x25, digits.count == 2,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    fileprivate func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
}
