package import AutoGLMJSON

/// One answer that is not the one asked for: an HTTP status and the body clients parse.
///
/// The message names the thing, the limit, the value and the remedy; it never quotes a prompt.
package struct APIError: Error, Sendable, Equatable {
    /// The `type` words of the error body.
    package enum Kind: String, Sendable {
        case invalidRequest = "invalid_request_error"
        case authentication = "authentication_error"
        case permission = "permission_error"
        case notFound = "not_found_error"
        case rateLimit = "rate_limit_error"
        case overloaded = "overloaded_error"
        case server = "server_error"
    }

    package var status: Int
    package var kind: Kind
    package var message: String
    /// Path of the request field at fault, such as `messages[3].content`.
    package var parameter: String?
    package var code: String?
    /// Seconds after which a new attempt makes sense; sent as `Retry-After`.
    package var retryAfter: Int?

    package init(
        status: Int, kind: Kind, message: String, parameter: String? = nil, code: String? = nil,
        retryAfter: Int? = nil
    ) {
        self.status = status
        self.kind = kind
        self.message = message
        self.parameter = parameter
        self.code = code
        self.retryAfter = retryAfter
    }

    /// A field with a value that is not accepted.
    package static func invalid(
        _ parameter: String?, _ message: String, code: String? = nil
    ) -> APIError {
        APIError(
            status: 400, kind: .invalidRequest, message: message, parameter: parameter, code: code)
    }

    /// A field of ours that we refuse because this server cannot do it.
    package static func unsupported(_ parameter: String, _ message: String) -> APIError {
        .invalid(parameter, message, code: "unsupported_value")
    }

    package init(_ error: JSONError) {
        self = .invalid(
            nil, "The body is not valid JSON: \(error.explanation) at byte \(error.offset).",
            code: "invalid_json")
    }

    /// `{"error":{"message","type","param","code"}}`
    package func write(into json: inout JSONWriter) {
        json.beginObject()
        json.key("error")
        json.beginObject()
        json.key("message")
        json.string(message)
        json.key("type")
        json.string(kind.rawValue)
        json.key("param")
        json.optional(parameter)
        json.key("code")
        json.optional(code)
        json.endObject()
        json.endObject()
    }

    package var body: [UInt8] {
        var json = JSONWriter()
        write(into: &json)
        return json.bytes
    }
}
