package import AutoGLMJSON

/// Sampling parameters that someone has set; the rest is left to whoever comes before.
///
/// The one merge is ``SamplingParameters/init(_:)``: defaults of the program < the makers'
/// (generation_config.json) < the operator's (`serve --temperature …`) < the request's.
public struct SamplingOverrides: Sendable, Equatable {
    private var values: [String: SamplingValue] = [:]

    public init() {}

    /// Every parameter as it stands in a whole set.
    package init(_ parameters: SamplingParameters) {
        for field in SamplingParameters.fields {
            if let value = field.value(in: parameters) { set(field, value) }
        }
    }

    package var isEmpty: Bool { values.isEmpty }

    package subscript(name: String) -> SamplingValue? { values[name] }

    package mutating func set(_ field: SamplingField, _ value: SamplingValue) {
        values[field.name] = value
    }

    /// Sets a parameter by its name and a value as people type it.
    package mutating func set(_ name: String, text: String) throws(ParameterError) {
        guard let field = SamplingParameters.field(name) else {
            throw ParameterError(
                parameter: name, value: "unknown",
                limit: "one of " + SamplingParameters.fields.map(\.name).joined(separator: ", "),
                remedy: "Choose one of them.")
        }
        set(field, try field.value(text: text))
    }

    package mutating func remove(_ name: String) { values[name] = nil }

    /// What a model's generation_config.json recommends.
    /// - Parameter json: the file's object, or null.
    package init(generationConfig json: JSONValue) throws(ParameterError) {
        for field in SamplingParameters.fields where field.isMakers {
            guard let value = json[field.name], !value.isNull else { continue }
            set(field, try field.value(value))
        }
        // transformers then picks the most likely token, whatever the temperature.
        if json["do_sample"]?.boolValue == false { values["temperature"] = .number(0) }
    }

    func apply(to parameters: inout SamplingParameters) {
        for field in SamplingParameters.fields {
            if let value = values[field.name] { field.set(value, in: &parameters) }
        }
    }
}

extension SamplingParameters {
    /// The defaults with each layer over the ones before it.
    package init(_ layers: SamplingOverrides...) {
        self.init()
        for layer in layers { layer.apply(to: &self) }
    }
}
