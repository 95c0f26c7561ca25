/// Whether and what the model must call.
package enum ToolChoice: Sendable, Equatable {
    case none, auto, required
    case function(String)
}
