package import AutoGLMJSON

extension JSONParseOptions {
    /// For request bodies: RFC 8259 without what parsers disagree about and attackers therefore
    /// use, in time and memory linear in the body.
    package static let request: JSONParseOptions = {
        var options = JSONParseOptions()
        options.depthMax = 64
        // Bounds memory at a few times the body's 8 MiB.
        options.valuesMax = 2_000_000
        options.refusesRepeatedKeys = true
        return options
    }()
}

extension JSONValue {
    /// A request body as a value.
    package static func body(_ bytes: [UInt8]) throws(APIError) -> JSONValue {
        do {
            return try JSONValue.parse(bytes, options: .request)
        } catch {
            throw APIError(error)
        }
    }
}
