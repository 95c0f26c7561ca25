@_exported public import AutoGLMChat
@_exported public import AutoGLMDecoding

/// A language model loaded into this process, ready for many conversations at once.
///
/// Every request goes through the same engine as in the server: requests are batched with each
/// other and share what their prompts have in common, and none changes another's answer.
public typealias Model = ChatModel
