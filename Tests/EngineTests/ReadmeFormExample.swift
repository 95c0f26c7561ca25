import AutoGLM

struct Order: Decodable {
    var item: String
    var count: Int
}

/// Reads out of a customer's message what is ordered.
func order(in message: String, model: Model) async throws -> Order {
    let form = try OutputForm.jsonSchema(
        """
        {"type": "object", "required": ["item", "count"], "additionalProperties": false,
         "properties": {"item": {"type": "string", "maxLength": 40},
                        "count": {"type": "integer", "minimum": 1, "maximum": 99}}}
        """)
    return try await model.chat([ChatMessage(.user, message)], form: form).decoded()
}
