import AutoGLMJSON

/// The sampling fields both completion endpoints share, each within its limits.
///
/// nil means the client said nothing, so that the model's own defaults can apply.
package struct SamplingFields: Sendable, Equatable {
    package var temperature: Double?
    package var topP: Double?
    package var topK: Int?
    package var minP: Double?
    package var repetitionPenalty: Double?
    package var frequencyPenalty: Double?
    package var presencePenalty: Double?
    package var logitBias: [Int32: Float] = [:]
    package var seed: Int64?
    package var stops: [String] = []
    package var stopTokens: [Int32] = []
    package var ignoreEOS = false
    package var tokensMin: Int?
    package var choices = 1
    package var priority: Int?

    init(_ reader: FieldReader) throws(APIError) {
        temperature = try reader.float(RequestLimits.temperature)
        topP = try reader.float(RequestLimits.topP)
        // -1 is another way to say "all".
        topK = try reader.integer(RequestLimits.topK).map { max(0, Int($0)) }
        minP = try reader.float(RequestLimits.minP)
        repetitionPenalty = try reader.float(RequestLimits.repetitionPenalty)
        frequencyPenalty = try reader.float(RequestLimits.frequencyPenalty)
        presencePenalty = try reader.float(RequestLimits.presencePenalty)
        seed = try reader.integer(RequestLimits.seed)
        ignoreEOS = try reader.bool("ignore_eos") ?? false
        tokensMin = try reader.integer(RequestLimits.tokensMin).map(Int.init)
        choices = try reader.integer(RequestLimits.choices).map(Int.init) ?? 1
        priority = try reader.integer(RequestLimits.priority).map(Int.init)
        logitBias = try Self.logitBias(reader)
        stops = try Self.stops(reader)
        stopTokens = try Self.stopTokens(reader)
        if let format = reader["response_format"] {
            let format = try FieldReader(format, path: reader.path(of: "response_format"))
            guard try format.string("type") == "text" else {
                throw .unsupported(
                    format.path(of: "type"),
                    "'\(format.path(of: "type"))' must be text: this server does not constrain "
                        + "its output to JSON yet. Describe the format in the prompt instead.")
            }
        }
        for key in ["guided_json", "guided_regex", "guided_grammar", "guided_choice", "grammar"]
        where reader[key] != nil {
            throw .unsupported(key, "'\(key)' is not supported.")
        }
    }

    private static func logitBias(_ reader: FieldReader) throws(APIError) -> [Int32: Float] {
        guard let value = reader["logit_bias"] else { return [:] }
        let path = reader.path(of: "logit_bias")
        let biases = try FieldReader(value, path: path)
        guard biases.members.count <= RequestLimits.logitBiases else {
            throw .invalid(
                path,
                "'\(path)' may have at most \(RequestLimits.logitBiases) entries; "
                    + "\(biases.members.count) were given.")
        }
        var result: [Int32: Float] = [:]
        for member in biases.members {
            guard let token = Int32(member.key), token >= 0 else {
                throw .invalid(path, "The keys of '\(path)' must be token ids.")
            }
            result[token] = Float(
                try FieldReader.float(
                    member.value, RequestLimits.logitBias, path: "\(path).\(token)"))
        }
        return result
    }

    private static func stops(_ reader: FieldReader) throws(APIError) -> [String] {
        guard let value = reader["stop"] else { return [] }
        let path = reader.path(of: "stop")
        let values: [JSONValue]
        switch value {
        case .string: values = [value]
        case .array: values = try reader.array("stop", most: RequestLimits.stops) ?? []
        case .null, .bool, .int, .bigInt, .double, .object:
            throw reader.mismatch("stop", "a string or an array of strings", value)
        }
        var stops: [String] = []
        for value in values {
            guard case .string(let stop) = value else {
                throw reader.mismatch("stop", "a string or an array of strings", value)
            }
            guard (1...RequestLimits.stopBytes).contains(stop.utf8.count) else {
                throw .invalid(
                    path,
                    "Each stop string must have 1 to \(RequestLimits.stopBytes) bytes; "
                        + "\(stop.utf8.count) were given.")
            }
            stops.append(stop)
        }
        return stops
    }

    private static func stopTokens(_ reader: FieldReader) throws(APIError) -> [Int32] {
        let values = try reader.array("stop_token_ids", most: RequestLimits.stops) ?? []
        var tokens: [Int32] = []
        for (index, value) in values.enumerated() {
            let path = "\(reader.path(of: "stop_token_ids"))[\(index)]"
            tokens.append(
                Int32(try FieldReader.integer(value, RequestLimits.token, path: path)))
        }
        return tokens
    }
}

/// How an answer is to be delivered.
package struct StreamFields: Sendable, Equatable {
    package var isStream = false
    package var includesUsage = false

    init(_ reader: FieldReader) throws(APIError) {
        isStream = try reader.bool("stream") ?? false
        guard let value = reader["stream_options"] else { return }
        let options = try FieldReader(value, path: reader.path(of: "stream_options"))
        guard isStream else {
            throw .invalid(
                options.path, "'\(options.path)' is only allowed together with 'stream': true.")
        }
        includesUsage = try options.bool("include_usage") ?? false
    }
}
