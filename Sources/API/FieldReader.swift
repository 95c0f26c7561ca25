package import AutoGLMJSON

/// Reads the fields of one JSON object and names the field in every complaint.
///
/// A field that is null counts as absent, as clients expect. Unknown fields are not looked at.
package struct FieldReader: Sendable {
    /// The object; it is one, or there is no reader.
    package let object: JSONValue
    /// Path of the object: empty for the body itself, `messages[2]` for a message.
    package let path: String

    package init(_ value: JSONValue, path: String) throws(APIError) {
        guard case .object = value else {
            throw path.isEmpty
                ? .invalid(nil, "The body must be a JSON object, not \(value.kind).")
                : .invalid(path, "'\(path)' must be an object, not \(value.kind).")
        }
        object = value
        self.path = path
    }

    /// The members in the order sent.
    package var members: [(key: String, value: JSONValue)] { object.members }

    package func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    package subscript(key: String) -> JSONValue? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    package func mismatch(_ key: String, _ expected: String, _ value: JSONValue) -> APIError {
        .invalid(path(of: key), "'\(path(of: key))' must be \(expected), not \(value.kind).")
    }

    package func missing(_ key: String) -> APIError {
        .invalid(
            path(of: key), "'\(path(of: key))' is required.", code: "missing_required_parameter")
    }

    package func string(_ key: String) throws(APIError) -> String? {
        guard let value = self[key] else { return nil }
        guard case .string(let text) = value else { throw mismatch(key, "a string", value) }
        return text
    }

    package func bool(_ key: String) throws(APIError) -> Bool? {
        guard let value = self[key] else { return nil }
        guard case .bool(let flag) = value else { throw mismatch(key, "a boolean", value) }
        return flag
    }

    package func integer(_ limit: RequestLimits.IntegerLimit) throws(APIError) -> Int64? {
        guard let value = self[limit.field] else { return nil }
        return try Self.integer(value, limit, path: path(of: limit.field))
    }

    package static func integer(
        _ value: JSONValue, _ limit: RequestLimits.IntegerLimit, path: String
    ) throws(APIError) -> Int64 {
        let number: Int64?
        switch value {
        case .int(let int): number = int
        case .bigInt: number = nil
        // 16.0 is a whole number to many clients.
        case .double(let double):
            guard double == double.rounded() else {
                throw .invalid(path, "'\(path)' must be a whole number, not \(double).")
            }
            number = Int64(exactly: double)
        case .null, .bool, .string, .array, .object:
            throw .invalid(path, "'\(path)' must be a whole number, not \(value.kind).")
        }
        guard let number, limit.range.contains(number) else {
            throw .invalid(
                path,
                "'\(path)' must be between \(limit.range.lowerBound) and "
                    + "\(limit.range.upperBound); \(Self.shown(value)) was given.",
                code: "value_out_of_range")
        }
        return number
    }

    package func float(_ limit: RequestLimits.FloatLimit) throws(APIError) -> Double? {
        guard let value = self[limit.field] else { return nil }
        return try Self.float(value, limit, path: path(of: limit.field))
    }

    package static func float(
        _ value: JSONValue, _ limit: RequestLimits.FloatLimit, path: String
    ) throws(APIError) -> Double {
        let number: Double
        switch value {
        case .int(let int): number = Double(int)
        case .bigInt(let digits): number = Double(digits) ?? .infinity
        case .double(let double): number = double
        case .null, .bool, .string, .array, .object:
            throw .invalid(path, "'\(path)' must be a number, not \(value.kind).")
        }
        guard limit.contains(number) else {
            throw .invalid(
                path, "'\(path)' must be \(limit.words); \(number) was given.",
                code: "value_out_of_range")
        }
        return number
    }

    private static func shown(_ value: JSONValue) -> String {
        switch value {
        case .int(let int): String(int)
        case .double(let double): String(double)
        case .bigInt(let digits): digits.utf8.count > 40 ? "\(digits.prefix(40))…" : digits
        case .null, .bool, .string, .array, .object: value.kind
        }
    }

    package func array(_ key: String, most: Int) throws(APIError) -> [JSONValue]? {
        guard let value = self[key] else { return nil }
        guard case .array(let elements) = value else { throw mismatch(key, "an array", value) }
        guard elements.count <= most else {
            throw .invalid(
                path(of: key),
                "'\(path(of: key))' may have at most \(most) entries; \(elements.count) were "
                    + "given.",
                code: "array_above_max_length")
        }
        return elements
    }
}
