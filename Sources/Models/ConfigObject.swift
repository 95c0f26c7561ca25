import AutoGLMJSON
import FoundationEssentials

/// One object of a configuration file, with errors that name the file and the key.
struct ConfigObject {
    let file: String
    /// Where this object lies in the file: `rope_parameters.`
    var prefix = ""
    let members: [String: JSONValue]
    /// The object itself, its keys in the order of the file.
    let json: JSONValue

    /// Reads a whole file.
    init(file: String) throws(CheckpointError) {
        let opened = try CheckpointFile(path: file)
        let bytes = try opened.bytes(at: 0, count: opened.byteCount, limit: 16 << 20)
        let json: JSONValue
        do { json = try JSONValue.parse(bytes, options: .checkpointFile) } catch {
            throw .malformed(
                file: file, offset: error.offset, field: "JSON", reason: error.explanation)
        }
        guard let members = json.dictionary else {
            throw .malformed(file: file, offset: 0, field: "JSON", reason: "no object")
        }
        self.file = file
        self.members = members
        self.json = json
    }

    private init(file: String, prefix: String, members: [String: JSONValue], json: JSONValue) {
        self.file = file
        self.prefix = prefix
        self.members = members
        self.json = json
    }

    /// The first of `keys` that is there and not null.
    private func first(_ keys: [String]) -> (key: String, value: JSONValue)? {
        for key in keys {
            if let value = members[key], value != .null { return (prefix + key, value) }
        }
        return nil
    }

    func has(_ key: String) -> Bool { first([key]) != nil }

    func integer(_ keys: String...) throws(CheckpointError) -> Int? {
        guard let (key, value) = first(keys) else { return nil }
        guard let whole = value.intValue else {
            throw refuse(key, value, "must be a whole number")
        }
        return Int(whole)
    }

    func required(_ keys: String...) throws(CheckpointError) -> Int {
        for key in keys {
            if let value = try integer(key) { return value }
        }
        throw .configuration(
            file: file, key: prefix + keys[0], value: "missing",
            reason: "the model cannot do without")
    }

    func number(_ keys: String...) throws(CheckpointError) -> Double? {
        guard let (key, value) = first(keys) else { return nil }
        guard let number = value.doubleValue else {
            throw refuse(key, value, "must be a number")
        }
        return number
    }

    func bool(_ keys: String...) throws(CheckpointError) -> Bool? {
        guard let (key, value) = first(keys) else { return nil }
        guard case .bool(let flag) = value else {
            throw refuse(key, value, "must be true or false")
        }
        return flag
    }

    func string(_ keys: String...) throws(CheckpointError) -> String? {
        guard let (key, value) = first(keys) else { return nil }
        guard case .string(let text) = value else { throw refuse(key, value, "must be a string") }
        return text
    }

    func object(_ key: String) throws(CheckpointError) -> ConfigObject? {
        guard let (_, value) = first([key]) else { return nil }
        guard let members = value.dictionary else {
            throw refuse(prefix + key, value, "must be an object")
        }
        return ConfigObject(
            file: file, prefix: prefix + key + ".", members: members, json: value)
    }

    func strings(_ key: String) throws(CheckpointError) -> [String] {
        guard let (_, value) = first([key]) else { return [] }
        guard case .array(let values) = value else {
            throw refuse(prefix + key, value, "must be a list")
        }
        return values.compactMap(\.stringValue)
    }

    /// One token id or a list of them.
    func tokens(_ key: String) throws(CheckpointError) -> [Int] {
        guard let (_, value) = first([key]) else { return [] }
        let values = if case .array(let list) = value { list } else { [value] }
        var tokens: [Int] = []
        for value in values {
            guard case .int(let token) = value else {
                throw refuse(prefix + key, value, "must be a token id or a list of them")
            }
            // Some makers write -1 for "none".
            if token >= 0 { tokens.append(Int(token)) }
        }
        return tokens
    }

    func refuse(_ key: String, _ value: JSONValue, _ reason: String) -> CheckpointError {
        let text =
            switch value {
            case .string(let text): "\"\(excerpt(text))\""
            case .array: "a list"
            case .object: "an object"
            case .null, .bool, .int, .bigInt, .double: excerpt(value.serialized())
            }
        return .configuration(file: file, key: key, value: text, reason: reason)
    }
}
