package import AutoGLMJSON

/// One scalar sampling parameter: the row that request decoding, generation_config.json, flags,
/// `/set` in chat, errors and documentation read. A parameter is added here, in
/// ``SamplingParameters``, and in the code that acts on it.
package struct SamplingField: Sendable {
    package enum Kind: Sendable {
        case number(any WritableKeyPath<SamplingParameters, Float> & Sendable, ClosedRange<Double>)
        case integer(any WritableKeyPath<SamplingParameters, Int> & Sendable, ClosedRange<Int64>)
        /// Without a value there is no bound.
        case bound(any WritableKeyPath<SamplingParameters, Int?> & Sendable, ClosedRange<Int64>)
        /// Any 64 bits.
        case seed(any WritableKeyPath<SamplingParameters, UInt64?> & Sendable)
    }

    /// As OpenAI's API spells it: `top_p`.
    package let name: String
    package let kind: Kind
    /// One sentence, for help and documentation; with what the edges of the range mean.
    package let meaning: String
    /// Whether a model's generation_config.json may set it.
    package var isMakers = false
    /// Other names of the same field in requests; the first one given counts, aliases first.
    package var aliases: [String] = []

    /// `--top-p`
    package var flag: String { "--" + name.replacing("_", with: "-") }
}

/// A value of a ``SamplingField``, checked.
package enum SamplingValue: Sendable, Equatable {
    case number(Double)
    case integer(Int64)
}

extension SamplingParameters {
    /// Every scalar parameter.
    package static let fields: [SamplingField] = [
        SamplingField(
            name: "temperature", kind: .number(\.temperature, 0...2),
            meaning: "Randomness; 0 picks the most likely token.", isMakers: true),
        SamplingField(
            name: "top_p", kind: .number(\.topP, 0...1),
            meaning: "Keep the most likely tokens up to this total probability; 0 keeps the best "
                + "one, 1 all.", isMakers: true),
        SamplingField(
            name: "top_k", kind: .integer(\.topK, -1...Int64(Int32.max)),
            meaning: "Keep this many of the most likely tokens; 0 and -1 keep all.",
            isMakers: true),
        SamplingField(
            name: "min_p", kind: .number(\.minP, 0...1),
            meaning: "Drop tokens less likely than this share of the most likely one.",
            isMakers: true),
        SamplingField(
            name: "repetition_penalty", kind: .number(\.repetitionPenalty, 0.01...10),
            meaning: "Above 1: make tokens of prompt and answer less likely.", isMakers: true),
        SamplingField(
            name: "frequency_penalty", kind: .number(\.frequencyPenalty, -2...2),
            meaning: "Above 0: make tokens less likely each time the answer has them."),
        SamplingField(
            name: "presence_penalty", kind: .number(\.presencePenalty, -2...2),
            meaning: "Above 0: make tokens less likely once the answer has them."),
        SamplingField(
            name: "seed", kind: .seed(\.seed),
            meaning: "Makes sampling repeatable: equal seeds give equal answers."),
        SamplingField(
            name: "max_tokens", kind: .bound(\.maxTokens, 0...Int64(Int32.max)),
            meaning: "Output tokens at most; without it, as many as the context holds.",
            aliases: ["max_completion_tokens"]),
        SamplingField(
            name: "min_tokens", kind: .integer(\.minTokens, 0...Int64(Int32.max)),
            meaning: "Output tokens before which nothing ends the answer."),
    ]

    package static func field(_ name: String) -> SamplingField? {
        fields.first { $0.name == name }
    }
}

// MARK: Reading

extension SamplingField {
    /// The range in words, for errors and documentation.
    package var limit: String {
        switch kind {
        case .number(_, let range):
            "a number from \(plain(range.lowerBound)) to \(plain(range.upperBound))"
        case .integer(_, let range), .bound(_, let range):
            "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .seed: "a whole number of 64 bits"
        }
    }

    private func plain(_ value: Double) -> String {
        Int(exactly: value).map { String($0) } ?? String(value)
    }

    package func refusal(_ value: String, parameter: String? = nil) -> ParameterError {
        ParameterError(
            parameter: parameter ?? name, value: value, limit: limit,
            remedy: "Give a value in that range, or leave the parameter out.")
    }

    /// - Parameter parameter: the alias under which the value came.
    package func value(
        _ json: JSONValue, parameter: String? = nil
    ) throws(ParameterError) -> SamplingValue {
        let refusal = refusal(shown(json), parameter: parameter)
        switch kind {
        case .number:
            guard let number = json.doubleValue else { throw refusal }
            return try checked(.number(number), refusal)
        case .integer, .bound, .seed:
            guard let number = json.intValue else { throw refusal }
            return try checked(.integer(number), refusal)
        }
    }

    /// A value as people type it.
    package func value(text: String) throws(ParameterError) -> SamplingValue {
        let refusal = refusal(text.count > 40 ? "\(text.prefix(40))…" : text)
        switch kind {
        case .number:
            guard let number = Double(text) else { throw refusal }
            return try checked(.number(number), refusal)
        case .integer, .bound:
            guard let number = Int64(text) else { throw refusal }
            return try checked(.integer(number), refusal)
        case .seed:
            guard let number = Int64(text) ?? UInt64(text).map({ Int64(bitPattern: $0) }) else {
                throw refusal
            }
            return .integer(number)
        }
    }

    /// The value as JSON, short enough for a message; never a client's text.
    private func shown(_ json: JSONValue) -> String {
        switch json {
        case .int(let number): String(number)
        case .double(let number): plain(number)
        case .bigInt(let digits): digits.utf8.count > 40 ? "\(digits.prefix(40))…" : digits
        case .null, .bool, .string, .array, .object: json.kind
        }
    }

    private func checked(
        _ value: SamplingValue, _ refusal: ParameterError
    ) throws(ParameterError) -> SamplingValue {
        let isWithin =
            switch (kind, value) {
            case (.number(_, let range), .number(let number)): range.contains(number)
            case (.integer(_, let range), .integer(let number)),
                (.bound(_, let range), .integer(let number)):
                range.contains(number)
            case (.seed, .integer): true
            default: false
            }
        guard isWithin else { throw refusal }
        return value
    }

    // MARK: Writing

    package func set(_ value: SamplingValue, in parameters: inout SamplingParameters) {
        switch (kind, value) {
        case (.number(let path, _), .number(let number)): parameters[keyPath: path] = Float(number)
        case (.integer(let path, _), .integer(let number)): parameters[keyPath: path] = Int(number)
        case (.bound(let path, _), .integer(let number)): parameters[keyPath: path] = Int(number)
        case (.seed(let path), .integer(let number)):
            parameters[keyPath: path] = UInt64(bitPattern: number)
        default: preconditionFailure("\(name) was checked as another kind")
        }
    }

    /// The value a set of parameters has; nil where a bound or a seed is open.
    package func value(in parameters: SamplingParameters) -> SamplingValue? {
        switch kind {
        case .number(let path, _): .number(Double(parameters[keyPath: path]))
        case .integer(let path, _): .integer(Int64(parameters[keyPath: path]))
        case .bound(let path, _): parameters[keyPath: path].map { .integer(Int64($0)) }
        case .seed(let path):
            parameters[keyPath: path].map { .integer(Int64(bitPattern: $0)) }
        }
    }

    /// - Throws: for a value that some code has set beyond the range.
    package func check(_ parameters: SamplingParameters) throws(ParameterError) {
        switch kind {
        case .number(let path, let range):
            // As floats: 0.01 as one is a little less than 0.01.
            let value = parameters[keyPath: path]
            guard (Float(range.lowerBound)...Float(range.upperBound)).contains(value) else {
                throw refusal("\(value)")
            }
        case .integer(let path, let range):
            let value = parameters[keyPath: path]
            guard range.contains(Int64(value)) else { throw refusal("\(value)") }
        case .bound(let path, let range):
            guard let value = parameters[keyPath: path] else { return }
            guard range.contains(Int64(value)) else { throw refusal("\(value)") }
        case .seed: break
        }
    }
}
