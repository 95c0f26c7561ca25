/// Typed access to the metadata of a GGUF file; a value of another type is an error, never a
/// reinterpretation.
struct GGUFMetadata {
    let file: String
    let values: [String: GGUFValue]

    func has(_ key: String) -> Bool { values[key] != nil }

    func integer(_ key: String) throws(CheckpointError) -> Int? {
        switch values[key] {
        case nil: return nil
        case .unsigned(let value)?:
            if let value = Int(exactly: value) { return value }
            throw refuse(key, "\(value)", "is too large")
        case .signed(let value)?: return Int(value)
        default: throw refuse(key, "of another type", "must be a whole number")
        }
    }

    func required(_ key: String) throws(CheckpointError) -> Int {
        guard let value = try integer(key) else {
            throw refuse(key, "missing", "the model cannot do without")
        }
        return value
    }

    func number(_ key: String) throws(CheckpointError) -> Double? {
        switch values[key] {
        case nil: return nil
        case .float(let value)?: return value
        default:
            return try integer(key).map { Double($0) }
        }
    }

    func bool(_ key: String) throws(CheckpointError) -> Bool? {
        switch values[key] {
        case nil: return nil
        case .bool(let value)?: return value
        default: throw refuse(key, "of another type", "must be true or false")
        }
    }

    func string(_ key: String) throws(CheckpointError) -> String? {
        switch values[key] {
        case nil: return nil
        case .string(let value)?: return value
        default: throw refuse(key, "of another type", "must be a string")
        }
    }

    func strings(_ key: String) throws(CheckpointError) -> [String]? {
        switch values[key] {
        case nil: return nil
        case .array(.strings(let values))?: return values
        // An empty list may carry any type.
        case .array(.integers(let values))? where values.isEmpty: return []
        default: throw refuse(key, "of another type", "must be a list of strings")
        }
    }

    func integers(_ key: String) throws(CheckpointError) -> [Int64]? {
        switch values[key] {
        case nil: return nil
        case .array(.integers(let values))?: return values
        default: throw refuse(key, "of another type", "must be a list of whole numbers")
        }
    }

    func floats(_ key: String) throws(CheckpointError) -> [Float]? {
        switch values[key] {
        case nil: return nil
        case .array(.floats(let values))?: return values
        default: throw refuse(key, "of another type", "must be a list of numbers")
        }
    }

    func refuse(_ key: String, _ value: String, _ reason: String) -> CheckpointError {
        .configuration(file: file, key: key, value: value, reason: reason)
    }
}
