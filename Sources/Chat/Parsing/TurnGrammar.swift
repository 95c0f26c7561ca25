/// A call as read from the text between two marks.
struct ParsedCall: Equatable {
    var name: String
    /// A JSON object, if the model wrote one.
    var arguments: String
}

/// The marks of one family's calls and how the text between them is read.
struct TurnGrammar: Sendable {
    enum Body: Sendable {
        /// The first line of a segment names an offered tool; its arguments follow.
        case line(any LineArguments.Type)
        /// JSON between the marks, reported while it arrives.
        case json
        /// Read when the closing mark has come.
        case whole(any CallBody.Type)
        /// A JSON object that is the whole answer.
        case bareJSON
        /// No closing mark: ends where its JSON ends.
        case mistral
    }

    var body: Body?
    var open: [UInt8] = []
    var close: [UInt8] = []
    /// Marks that are removed from the content.
    var dropped: [[UInt8]] = []
    /// Marks inside a call; in content they are removed as well.
    var inner: [[UInt8]] = []
    /// Between these two, a closing mark is text of an argument.
    var value: (open: [UInt8], close: [UInt8])?
    /// What shows that a call was over before an unclosed value: the key of another argument.
    var nextArgument: [UInt8] = []
    /// Begins a new segment of the answer (formats whose calls are lines).
    var segment: [UInt8] = []
    /// Removed from the start of an answer: what stands there is layout.
    var turnStart: [UInt8] = []
    /// White space next to a call is layout, not content.
    var trimsContent = true
    /// A call can interrupt thinking.
    var callEndsReasoning = false
    /// Marks are text like any other where no tool is offered.
    var needsTools = false

    init() {}

    init(_ body: Body, open: String = "", close: String = "") {
        self.body = body
        self.open = Array(open.utf8)
        self.close = Array(close.utf8)
    }

    func isMark(_ text: [UInt8]) -> Bool {
        text == open || text == close || text == segment || dropped.contains(text)
            || inner.contains(text)
    }

    /// Text between two marks as content: without the marks inside it.
    func unmarked(_ bytes: [UInt8]) -> [UInt8] {
        var result = bytes
        for mark in inner { result = result.removing(mark) }
        return result
    }
}

/// How the text between two marks is read.
protocol CallBody: SendableMetatype {
    /// - Returns: nil where the text is no call (yet).
    static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]?
    /// Whether a closing mark inside a string of the arguments can make a body unreadable, so that
    /// the next one is to be tried.
    static var quotesMarks: Bool { get }
}

/// What follows the line that names a tool.
protocol LineArguments: SendableMetatype {
    /// - Parameter start: what follows the line, white space at its beginning left out.
    /// - Returns: whether it begins arguments; nil while that is open.
    static func begins(_ start: [UInt8], tool: String) -> Bool?
    /// Whether the arguments can be handed out as they come.
    static func streams(tool: String) -> Bool
    /// Whole arguments as JSON, where they are not streamed.
    static func json(_ text: [UInt8], tool: String) -> String
}

/// Finds marks in bytes that arrive one at a time, holding back what may be the start of one.
struct MarkMatcher: Sendable {
    var marks: [[UInt8]]
    private(set) var held: [UInt8] = []

    init(_ marks: [[UInt8]]) { self.marks = marks.filter { !$0.isEmpty } }

    /// Takes a byte. `release` gets bytes that belong to no mark; returns the mark now complete.
    mutating func feed(_ byte: UInt8, release: (UInt8) -> Void) -> [UInt8]? {
        if held.isEmpty, !marks.contains(where: { $0[0] == byte }) {
            release(byte)
            return nil
        }
        held.append(byte)
        while !held.isEmpty {
            if let complete = marks.first(where: { $0 == held }) {
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
        if scalar.isWhiteSpace {
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

extension UInt8 {
    /// Space, tab, line feed, carriage return: what may stand between parts of JSON.
    var isJSONSpace: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }
}

extension [UInt8] {
    /// Whether the bytes are white space only, of any script; true for none.
    var isWhiteSpace: Bool {
        if let first, count == 1, first < 0x80 {
            return first.isJSONSpace || (0x0B...0x0C).contains(first)
                || (0x1C...0x1F).contains(first)
        }
        return String(decoding: self, as: UTF8.self).unicodeScalars.allSatisfy {
            $0.properties.isWhitespace || (0x1C...0x1F).contains($0.value)
        }
    }

    func removing(_ mark: [UInt8]) -> [UInt8] {
        guard !mark.isEmpty, firstRange(of: mark) != nil else { return self }
        var matcher = MarkMatcher([mark])
        var result: [UInt8] = []
        for byte in self { _ = matcher.feed(byte) { result.append($0) } }
        return result + matcher.takeHeld()
    }
}

extension String {
    /// Without the white space at both ends.
    var trimmedSpace: String {
        func isSpace(_ scalar: Unicode.Scalar) -> Bool {
            scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
        }
        let scalars = unicodeScalars.drop(while: isSpace)
        guard let last = scalars.lastIndex(where: { !isSpace($0) }) else { return "" }
        return String(scalars[...last])
    }
}
