/// The form that an answer must have.
package struct OutputForm: Sendable, Equatable {
    package var source: GrammarSource
    /// The request field that holds it, for messages about it.
    package var field: String

    package init(_ source: GrammarSource, field: String) {
        self.source = source
        self.field = field
    }
}
