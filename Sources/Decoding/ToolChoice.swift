/// Whether and what the model must call.
package enum ToolChoice: Sendable, Equatable {
    case none, auto, required
    case function(String)
    /// Of the tools offered only these.
    case allowed([String], isRequired: Bool)
}
