import AutoGLMAPI
import AutoGLMText

extension JSONValue {
    /// A client's value on its way into a chat template; keys keep their order.
    ///
    /// It goes through its text: the two types share nothing else, and a prompt is rendered and
    /// tokenized afterwards, next to which this is nothing.
    init(_ value: WireValue) {
        var json = JSONWriter()
        json.value(value)
        // What was parsed under a depth of 64 and written by us parses again.
        self = (try? JSONValue.parse(json.bytes)) ?? .null
    }
}
