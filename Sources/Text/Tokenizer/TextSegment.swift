/// A stretch of prompt text with one origin.
///
/// A rendered chat template is a sequence of such stretches. Text written by the template's author
/// (`<|user|>`, `[gMASK]<sop>`) is trusted: the tokenizer recognises special tokens in it. Text
/// that came in with a request (message contents, tool schemas) is not: there `<|user|>` is
/// ordinary text, so no user can forge a turn.
package struct TextSegment: Sendable, Equatable {
    package var text: String
    package var trusted: Bool

    package init(text: String, trusted: Bool) {
        self.text = text
        self.trusted = trusted
    }
}
