import AutoGLMDecoding
import AutoGLMJSON
import Testing

/// The one table of sampling parameters: every row at its limits and beyond, in JSON, as typed text
/// and as a value set by code.
@Suite struct SamplingFieldTests {
    private static let names = SamplingParameters.fields.map(\.name)

    private func field(_ name: String) throws -> SamplingField {
        try #require(SamplingParameters.field(name))
    }

    private func isRefused(_ field: SamplingField, _ json: JSONValue) -> Bool {
        do {
            _ = try field.value(json)
            return false
        } catch {
            return error.parameter == field.name && error.limit == field.limit
        }
    }

    private func isRefused(_ field: SamplingField, text: String) -> Bool {
        do {
            _ = try field.value(text: text)
            return false
        } catch {
            return error.parameter == field.name && error.limit == field.limit
        }
    }

    @Test func theTableIsWhole() {
        #expect(
            Self.names == [
                "temperature", "top_p", "top_k", "min_p", "repetition_penalty",
                "frequency_penalty", "presence_penalty", "seed", "max_tokens", "min_tokens",
            ])
        for field in SamplingParameters.fields {
            #expect(!field.meaning.isEmpty && field.meaning.hasSuffix("."))
            #expect(field.flag == "--" + field.name.replacing("_", with: "-"))
        }
        let makers = SamplingParameters.fields.filter(\.isMakers).map(\.name)
        #expect(makers == ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"])
        #expect(SamplingParameters.field("top_q") == nil)
    }

    @Test(arguments: names) func limitsHold(name: String) throws {
        let field = try field(name)
        switch field.kind {
        case .number(_, let range):
            for value in [range.lowerBound, range.upperBound] {
                #expect(try field.value(.double(value)) == .number(value))
                #expect(try field.value(text: "\(value)") == .number(value))
            }
            for value in [
                range.lowerBound.nextDown, range.upperBound.nextUp, .nan, .infinity, -.infinity,
                1e308, -1e308,
            ] {
                #expect(isRefused(field, .double(value)), "\(value)")
                #expect(isRefused(field, text: "\(value)"), "\(value)")
            }
        case .integer(_, let range), .bound(_, let range):
            for value in [range.lowerBound, range.upperBound] {
                #expect(try field.value(.int(value)) == .integer(value))
                #expect(try field.value(text: "\(value)") == .integer(value))
            }
            #expect(try field.value(.double(16)) == .integer(16))
            for value in [range.lowerBound - 1, range.upperBound + 1, .max, .min] {
                #expect(isRefused(field, .int(value)), "\(value)")
                #expect(isRefused(field, text: "\(value)"), "\(value)")
            }
            for value in [1.5, .nan, .infinity, 1e30] { #expect(isRefused(field, .double(value))) }
        case .seed:
            for value in [Int64.min, -1, 0, .max] {
                #expect(try field.value(.int(value)) == .integer(value))
                #expect(try field.value(text: "\(value)") == .integer(value))
            }
            #expect(try field.value(text: "\(UInt64.max)") == .integer(-1))
            for value in [1.5, .nan, .infinity, 1e30] { #expect(isRefused(field, .double(value))) }
        }
        if case .seed = field.kind {} else {
            #expect(isRefused(field, .int(.max)))
            #expect(isRefused(field, text: "\(Int.max)"))
        }
        for value in [.string("1"), .bool(true), .array([1]), .object([:]), .null] as [JSONValue] {
            #expect(isRefused(field, value), "\(value)")
        }
        #expect(isRefused(field, .bigInt("99999999999999999999999999")))
        for text in ["", "one", "1 2", "0x", "nan", "99999999999999999999999999"] {
            #expect(isRefused(field, text: text), "\(text)")
        }
    }

    /// A value of a client is never in a message as it came.
    @Test func messagesQuoteNoText() throws {
        for field in SamplingParameters.fields {
            do {
                _ = try field.value(.string("SECRET"))
                Issue.record("accepted")
            } catch { #expect(!error.description.contains("SECRET")) }
            do {
                _ = try field.value(.bigInt(String(repeating: "9", count: 10_000)))
                Issue.record("accepted")
            } catch { #expect(error.description.utf8.count < 400) }
        }
    }

    @Test func aliasesAreNamedInErrors() throws {
        #expect(try field("max_tokens").aliases == ["max_completion_tokens"])
        let bound = try field("max_tokens")
        do {
            _ = try bound.value(.int(-1), parameter: "max_completion_tokens")
            Issue.record("accepted")
        } catch { #expect(error.parameter == "max_completion_tokens") }
        for field in SamplingParameters.fields where field.name != "max_tokens" {
            #expect(field.aliases.isEmpty)
        }
    }

    /// Whatever the table accepts, the check of the whole set accepts: as floats, too.
    @Test(arguments: names) func acceptedValuesAreValid(name: String) throws {
        let field = try field(name)
        let values: [SamplingValue] =
            switch field.kind {
            case .number(_, let range): [.number(range.lowerBound), .number(range.upperBound)]
            case .integer(_, let range), .bound(_, let range):
                [.integer(range.lowerBound), .integer(range.upperBound)]
            case .seed: [.integer(.min), .integer(.max)]
            }
        for value in values {
            var overrides = SamplingOverrides()
            overrides.set(field, value)
            // min_tokens is bounded by max_tokens, here open.
            let parameters = SamplingParameters(overrides)
            #expect(throws: Never.self) { try parameters.validate(vocabulary: 100) }
            if case .integer = value { #expect(field.value(in: parameters) == value) }
        }
    }

    @Test func limitsHoldForTheWholeSet() throws {
        func validate(_ change: (inout SamplingParameters) -> Void) -> String? {
            var parameters = SamplingParameters()
            change(&parameters)
            do {
                try parameters.validate(vocabulary: 100)
                return nil
            } catch {
                return error.parameter
            }
        }
        #expect(validate { _ in } == nil)
        #expect(validate { $0.temperature = .nan } == "temperature")
        #expect(validate { $0.temperature = -1 } == "temperature")
        #expect(validate { $0.temperature = 1e38 } == "temperature")
        // 0 keeps the most likely token, as makers' files mean it.
        #expect(validate { $0.topP = 0 } == nil)
        #expect(validate { $0.topP = -0.01 } == "top_p")
        #expect(validate { $0.topP = 1.01 } == "top_p")
        #expect(validate { $0.topP = .nan } == "top_p")
        // -1 keeps all, as clients of vLLM say it.
        #expect(validate { $0.topK = -1 } == nil)
        #expect(validate { $0.topK = -2 } == "top_k")
        #expect(validate { $0.topK = .max } == "top_k")
        #expect(validate { $0.minP = .nan } == "min_p")
        #expect(validate { $0.minP = 1.01 } == "min_p")
        #expect(validate { $0.repetitionPenalty = 0 } == "repetition_penalty")
        #expect(validate { $0.repetitionPenalty = .infinity } == "repetition_penalty")
        #expect(validate { $0.frequencyPenalty = 2 } == nil)
        #expect(validate { $0.frequencyPenalty = 2.01 } == "frequency_penalty")
        #expect(validate { $0.presencePenalty = -1e38 } == "presence_penalty")
        #expect(validate { $0.topLogprobs = 20 } == nil)
        #expect(validate { $0.topLogprobs = 21 } == "top_logprobs")
        #expect(validate { $0.maxTokens = .max } == "max_tokens")
        #expect(validate { $0.minTokens = .max } == "min_tokens")
        #expect(validate { $0.maxTokens = 5; $0.minTokens = 6 } == "min_tokens")
        #expect(validate { $0.logitBias = [99: 1] } == nil)
        #expect(validate { $0.logitBias = [100: 1] } == "logit_bias")
        #expect(validate { $0.logitBias = [-1: 1] } == "logit_bias")
        #expect(validate { $0.logitBias = [7: .nan] } == "logit_bias.7")
        #expect(validate { $0.stopTokens = [100] } == "stop_token_ids")
        #expect(validate { $0.stopStrings = [""] } == "stop")
        #expect(validate { $0.stopStrings = Array(repeating: "a", count: 17) } == "stop")
        #expect(validate { $0.stopStrings = [String(repeating: "é", count: 128)] } == nil)
        #expect(validate { $0.stopStrings = [String(repeating: "é", count: 129)] } == "stop")
    }
}

@Suite struct SamplingOverridesTests {
    private func makers(_ text: String) throws -> SamplingOverrides {
        try SamplingOverrides(generationConfig: try JSONValue.parse(text))
    }

    @Test func generationConfigIsRead() throws {
        let overrides = try makers(
            """
            {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.1,
             "repetition_penalty": 1.05, "do_sample": true, "eos_token_id": [1],
             "max_length": 4096, "frequency_penalty": 1.5, "seed": 4, "max_tokens": 5}
            """)
        let parameters = SamplingParameters(overrides)
        #expect(parameters.temperature == 0.6 && parameters.topP == 0.95)
        #expect(parameters.topK == 20 && parameters.minP == 0.1)
        #expect(parameters.repetitionPenalty == 1.05)
        // Not the makers' to decide.
        #expect(parameters.frequencyPenalty == 0 && parameters.seed == nil)
        #expect(parameters.maxTokens == nil)
    }

    @Test func withoutSamplingTheBestTokenIsTaken() throws {
        #expect(SamplingParameters(try makers("{\"do_sample\": false}")).temperature == 0)
        #expect(
            SamplingParameters(try makers("{\"do_sample\": false, \"temperature\": 0.7}"))
                .temperature == 0)
        #expect(
            SamplingParameters(try makers("{\"do_sample\": true, \"temperature\": 0.7}"))
                .temperature == 0.7)
        #expect(try makers("{\"do_sample\": null}").isEmpty)
    }

    @Test func nothingAndNullSayNothing() throws {
        for text in ["{}", "null", "{\"temperature\": null, \"top_k\": null}"] {
            #expect(try makers(text).isEmpty, "\(text)")
            #expect(SamplingParameters(try makers(text)) == SamplingParameters())
        }
        // Published files hold these.
        let zeros = SamplingParameters(try makers("{\"top_p\": 0, \"top_k\": 0}"))
        #expect(zeros.topP == 0 && zeros.topK == 0)
        #expect(throws: Never.self) { try zeros.validate(vocabulary: 10) }
    }

    @Test(arguments: [
        ("{\"temperature\": 2.5}", "temperature"), ("{\"top_p\": 1.5}", "top_p"),
        ("{\"top_k\": -2}", "top_k"), ("{\"min_p\": \"x\"}", "min_p"),
        ("{\"repetition_penalty\": 0}", "repetition_penalty"),
    ])
    func whatIsOutOfRangeIsNamed(text: String, name: String) {
        do {
            _ = try makers(text)
            Issue.record("accepted")
        } catch let error as ParameterError {
            #expect(error.parameter == name)
        } catch { Issue.record(error) }
    }

    /// The program's defaults < the makers' < the operator's < the request's.
    @Test func thereIsOneOrder() throws {
        let makers = try makers("{\"temperature\": 0.1, \"top_p\": 0.2, \"top_k\": 3}")
        var operators = SamplingOverrides()
        try operators.set("top_p", text: "0.4")
        try operators.set("top_k", text: "5")
        try operators.set("max_tokens", text: "6")
        var request = SamplingOverrides()
        try request.set("top_k", text: "7")
        try request.set("seed", text: "8")
        let merged = SamplingParameters(makers, operators, request)
        #expect(merged.temperature == 0.1)
        #expect(merged.topP == 0.4)
        #expect(merged.topK == 7)
        #expect(merged.maxTokens == 6)
        #expect(merged.seed == 8)
        #expect(merged.minP == 0 && merged.repetitionPenalty == 1)
        #expect(SamplingParameters() == SamplingParameters(SamplingOverrides()))
        request.remove("top_k")
        #expect(SamplingParameters(makers, operators, request).topK == 5)
    }

    @Test func aWholeSetIsKeptAsItIs() {
        var parameters = SamplingParameters.greedy
        parameters.topK = 9
        parameters.seed = .max
        parameters.maxTokens = 3
        parameters.minTokens = 2
        #expect(SamplingParameters(SamplingOverrides(parameters)) == parameters)
        // A default that is stated wins over what lies below.
        var below = SamplingOverrides()
        #expect(throws: Never.self) { try below.set("temperature", text: "0.3") }
        #expect(
            SamplingParameters(below, SamplingOverrides(SamplingParameters())).temperature == 1)
    }

    @Test func unknownNamesAreExplained() {
        var overrides = SamplingOverrides()
        do {
            try overrides.set("top_q", text: "1")
            Issue.record("accepted")
        } catch {
            #expect(error.parameter == "top_q" && error.limit.contains("top_p"))
        }
        #expect(overrides.isEmpty && overrides["top_p"] == nil)
    }
}
