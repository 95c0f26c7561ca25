/// The bounds of requests, sampling parameters aside (`SamplingParameters.fields` has those).
///
/// Tests walk `integers` at the limit, one beyond it and at `Int.max`.
package enum RequestLimits {
    /// A bound on a whole number.
    package struct IntegerLimit: Sendable {
        /// Name of the request field.
        package let field: String
        package let range: ClosedRange<Int64>

        package init(_ field: String, _ range: ClosedRange<Int64>) {
            self.field = field
            self.range = range
        }
    }

    /// A bound on a real number.
    package struct FloatLimit: Sendable {
        package let field: String
        package let range: ClosedRange<Double>
        /// Whether the lower bound itself is refused.
        package let isOpenBelow: Bool

        package init(_ field: String, _ range: ClosedRange<Double>, isOpenBelow: Bool = false) {
            self.field = field
            self.range = range
            self.isOpenBelow = isOpenBelow
        }

        package func contains(_ value: Double) -> Bool {
            range.contains(value) && !(isOpenBelow && value == range.lowerBound)
        }

        var words: String {
            isOpenBelow
                ? "greater than \(range.lowerBound) and at most \(range.upperBound)"
                : "between \(range.lowerBound) and \(range.upperBound)"
        }
    }

    // Sizes and counts.
    package static let bodyBytes = 8 << 20
    package static let headerBytes = 32 << 10
    package static let headerCount = 100
    package static let urlBytes = 8 << 10
    package static let messages = 2_048
    package static let contentParts = 1_024
    package static let tools = 128
    package static let toolCalls = 128
    package static let toolNameLength = 64
    package static let schemaBytes = 64 << 10
    package static let schemaDepth = 32
    package static let prompts = 64
    package static let templateArguments = 16
    package static let formChoices = 10_000
    package static let modelNameBytes = 256
    package static let requestIDBytes = 128
    /// Keys a client may set in `chat_template_kwargs`; everything else could rewrite the prompt.
    package static let templateArgumentNames: Set<String> = [
        "enable_thinking", "thinking", "reasoning_effort", "clear_thinking",
    ]

    // Numbers. Token counts are bounded again by the model's context.
    package static let choices = IntegerLimit("n", 1...8)
    package static let topLogprobs = IntegerLimit("top_logprobs", 0...20)
    package static let legacyLogprobs = IntegerLimit("logprobs", 0...20)
    package static let priority = IntegerLimit("priority", 0...9)
    package static let token = IntegerLimit("token", 0...Int64(Int32.max))
    package static let deadline = IntegerLimit("x-deadline-ms", 1...86_400_000)
    package static let queueTimeout = IntegerLimit("x-queue-timeout-ms", 1...600_000)

    package static let logitBias = FloatLimit("logit_bias", -100...100)

    /// The whole-number fields of a chat request that are no sampling parameters.
    package static let integers = [choices, topLogprobs, priority]
}
