/// A JSON value as a client sent it.
///
/// Objects keep the order of their keys: tool schemas are rendered into prompts, and a model sees
/// the order. The type is separate from the template's value type so that the wire format needs no
/// other module.
package enum WireValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// An integer literal that fits.
    case int(Int64)
    /// Any other number; always finite.
    case double(Double)
    case string(String)
    case array([WireValue])
    case object(WireObject)

    /// The word a message uses for this kind of value.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int, .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    package var isString: Bool {
        if case .string = self { true } else { false }
    }

    package var isNull: Bool {
        if case .null = self { true } else { false }
    }
}

/// The members of a JSON object, in the order sent, each key once.
package struct WireObject: Sendable, Equatable {
    package struct Member: Sendable, Equatable {
        package var key: String
        package var value: WireValue

        package init(key: String, value: WireValue) {
            self.key = key
            self.value = value
        }
    }

    package var members: [Member]

    package init(_ members: [Member] = []) {
        self.members = members
    }

    /// The value under `key`; objects in requests are small, so a scan beats a table.
    package subscript(key: String) -> WireValue? {
        members.first { $0.key == key }?.value
    }
}

/// Why a text is not the JSON we accept.
package struct WireSyntaxError: Error, Equatable {
    /// What is wrong, without any of the text itself.
    package let reason: String
    /// Offset of the byte where it went wrong.
    package let offset: Int

    package var message: String { "The body is not valid JSON: \(reason) at byte \(offset)." }
}
