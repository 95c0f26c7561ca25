package import AutoGLMDecoding
import AutoGLMJSON

/// The fields that say how tokens are made, of every endpoint that makes some.
package struct GenerationFields: Sendable, Equatable {
    /// What the client said; everything else is left to the operator and the model's makers.
    package var sampling = SamplingOverrides()
    package var logitBias: [Int32: Float] = [:]
    package var stops: [String] = []
    package var stopTokens: [Int32] = []
    package var ignoreEOS = false
    /// Ends an answer that goes round in circles; nil leaves it to the endpoint.
    package var guardsLoops: Bool?
    /// What the answer must look like.
    package var form: OutputForm?
    package var choices = 1
    package var priority = 0
    /// nil: no log-probabilities; n: those of the n best tokens too.
    package var topLogprobs: Int?
    /// The name under which the client bounded the tokens, for messages about that bound.
    package var maxTokensField = "max_tokens"

    init(_ reader: FieldReader) throws(APIError) {
        try readSampling(reader)
        ignoreEOS = try reader.bool("ignore_eos") ?? false
        guardsLoops = try reader.bool("loop_guard")
        choices = try reader.integer(RequestLimits.choices).map(Int.init) ?? 1
        priority = try reader.integer(RequestLimits.priority).map(Int.init) ?? 0
        logitBias = try Self.logitBias(reader)
        stops = try Self.stops(reader)
        stopTokens = try Self.stopTokens(reader)
        form = try OutputFormReader.read(reader)
        for modality in try reader.array("modalities", most: 8) ?? []
        where modality != .string("text") {
            throw .unsupported("modalities", "'modalities' may only hold text.")
        }
    }

    /// Every row of the one table of sampling parameters.
    private mutating func readSampling(_ reader: FieldReader) throws(APIError) {
        for field in SamplingParameters.fields {
            let names = field.aliases + [field.name]
            guard let name = names.first(where: { reader[$0] != nil }), let value = reader[name]
            else { continue }
            do {
                sampling.set(field, try field.value(value, parameter: name))
            } catch {
                throw .invalid(
                    name, "'\(name)' must be \(error.limit), not \(error.value).",
                    code: "value_out_of_range")
            }
            if field.name == "max_tokens" { maxTokensField = name }
        }
    }

    private static func logitBias(_ reader: FieldReader) throws(APIError) -> [Int32: Float] {
        guard let value = reader["logit_bias"] else { return [:] }
        let path = reader.path(of: "logit_bias")
        let biases = try FieldReader(value, path: path)
        guard biases.members.count <= SamplingParameters.logitBiasMax else {
            throw .invalid(
                path,
                "'\(path)' may have at most \(SamplingParameters.logitBiasMax) entries; "
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
        case .array:
            values = try reader.array("stop", most: SamplingParameters.stopStringsMax) ?? []
        case .null, .bool, .int, .bigInt, .double, .object:
            throw reader.mismatch("stop", "a string or an array of strings", value)
        }
        let most = SamplingParameters.stopStringBytesMax
        var stops: [String] = []
        for value in values {
            guard case .string(let stop) = value else {
                throw reader.mismatch("stop", "a string or an array of strings", value)
            }
            guard (1...most).contains(stop.utf8.count) else {
                throw .invalid(
                    path,
                    "Each stop string must have 1 to \(most) bytes; \(stop.utf8.count) were given.")
            }
            stops.append(stop)
        }
        return stops
    }

    private static func stopTokens(_ reader: FieldReader) throws(APIError) -> [Int32] {
        let most = SamplingParameters.stopTokensMax
        let values = try reader.array("stop_token_ids", most: most) ?? []
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
