import AutoGLMJinja

/// A call as read from the text between two marks.
struct ParsedCall: Equatable {
    var name: String
    var arguments: String
}

/// The marks of one format and how the text between them is read.
struct ToolCallGrammar: Sendable {
    enum Body: Sendable {
        /// The first line of a segment names an offered tool; the rest is arguments as they are.
        case line
        /// The same, with the arguments as a fenced Python call.
        case lineWithPython
        /// JSON between the marks, reported while it arrives.
        case json
        /// Read when the closing mark has come; nil means that it was no call.
        case whole(@Sendable ([UInt8], ToolSchemas) -> [ParsedCall]?)
        /// No closing mark: ends where its JSON ends.
        case mistral
        /// A JSON object that is the whole answer.
        case bareJSON
    }

    var body: Body?
    var open: [UInt8] = []
    var close: [UInt8] = []
    /// Marks that are removed from the content.
    var dropped: [[UInt8]] = []
    /// Begins a new segment of the answer (formats whose calls are lines).
    var segment: [UInt8] = []
    /// Removed from the start of an answer.
    var strippedStart: [UInt8] = []
    /// White space next to a call is layout, not content.
    var trimsContent = true
    /// A call can interrupt thinking.
    var callEndsReasoning = false

    init(_ format: ToolCallFormat, endsLines strippedStart: String) {
        self.strippedStart = Array(strippedStart.utf8)
        func marks(_ open: String, _ close: String, _ body: Body) {
            self.open = Array(open.utf8)
            self.close = Array(close.utf8)
            self.body = body
        }
        switch format {
        case .none: trimsContent = false
        case .glm4, .chatGLM3:
            body = format == .glm4 ? .line : .lineWithPython
            segment = Array("<|assistant|>".utf8)
            trimsContent = false
        case .glmXML:
            marks("<tool_call>", "</tool_call>", .whole(ToolCallBodies.glmXML))
        case .hermes:
            marks("<tool_call>", "</tool_call>", .json)
            callEndsReasoning = true
        case .qwenCoder:
            marks("<tool_call>", "</tool_call>", .whole(ToolCallBodies.qwenCoder))
            callEndsReasoning = true
        case .llama3:
            marks("<|python_tag|>", "", .bareJSON)
            trimsContent = false
        case .mistral: marks("[TOOL_CALLS]", "", .mistral)
        case .deepSeek:
            marks(
                "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", .whole(ToolCallBodies.deepSeek))
            dropped = [
                "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁output▁begin｜>",
                "<｜tool▁output▁end｜>",
            ].map { Array($0.utf8) }
            trimsContent = false
        case .pythonic:
            marks("<function_calls>", "</function_calls>", .whole(ToolCallBodies.pythonic))
        }
    }

    /// For tests of the marks alone.
    init(open: String, close: String, callEndsReasoning: Bool, body: Body) {
        self.open = Array(open.utf8)
        self.close = Array(close.utf8)
        self.body = body
        self.callEndsReasoning = callEndsReasoning
    }
}

/// Finds marks in bytes that arrive one at a time, holding back what may be the start of one.
struct MarkMatcher: Sendable {
    var marks: [[UInt8]]
    private(set) var held: [UInt8] = []

    init(_ marks: [[UInt8]]) { self.marks = marks.filter { !$0.isEmpty } }

    /// Takes a byte. `release` gets bytes that belong to no mark; returns the mark now complete.
    mutating func feed(_ byte: UInt8, release: (UInt8) -> Void) -> Int? {
        if held.isEmpty, !marks.contains(where: { $0[0] == byte }) {
            release(byte)
            return nil
        }
        held.append(byte)
        while !held.isEmpty {
            if let complete = marks.firstIndex(of: held) {
                held.removeAll(keepingCapacity: true)
                return complete
            }
            if marks.contains(where: { $0.starts(with: held) }) { return nil }
            release(held.removeFirst())
        }
        return nil
    }

    /// Gives up waiting: what was held back is plain after all.
    mutating func takeHeld() -> [UInt8] {
        defer { held.removeAll(keepingCapacity: true) }
        return held
    }
}

/// Collects bytes into text for one kind of event: whole code points only, optionally without the
/// white space at the ends.
struct TextSink: Sendable {
    /// White space that is content only if more content follows.
    private(set) var space: [UInt8] = []
    private var scalar: [UInt8] = []
    private var ready: [UInt8] = []
    var dropsLeading: Bool
    var trims: Bool
    /// Whether anything but white space has come.
    private(set) var hasText = false

    init(trims: Bool, dropsLeading: Bool) {
        self.trims = trims
        self.dropsLeading = dropsLeading
    }

    mutating func write(_ byte: UInt8) {
        scalar.append(byte)
        if byte >= 0x80 {
            let first = scalar[0]
            let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1
            if scalar.count < length { return }
        }
        let isSpace =
            TemplateText(bytes: scalar, trusted: false).scalar(at: 0).scalar.isPythonSpace
        if isSpace {
            if !dropsLeading {
                if trims {
                    space.append(contentsOf: scalar)
                } else {
                    ready.append(contentsOf: scalar)
                }
            }
        } else {
            dropsLeading = false
            hasText = true
            ready.append(contentsOf: space)
            ready.append(contentsOf: scalar)
            space.removeAll(keepingCapacity: true)
        }
        scalar.removeAll(keepingCapacity: true)
    }

    /// The text that can be reported now.
    mutating func take() -> String? {
        if ready.isEmpty { return nil }
        defer { ready.removeAll(keepingCapacity: true) }
        return String(decoding: ready, as: UTF8.self)
    }

    mutating func takeSpace() -> [UInt8] {
        defer { space.removeAll(keepingCapacity: true) }
        return space
    }

    /// Ends the text: pending white space and an unfinished code point become content.
    mutating func flush() {
        ready.append(contentsOf: space)
        ready.append(contentsOf: scalar)
        space.removeAll()
        scalar.removeAll()
    }
}
