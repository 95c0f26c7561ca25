import AutoGLMJSON
import OrderedCollections

/// Reads `{"name": "f", "arguments": {…}}` byte by byte, in any order of keys, and hands the
/// arguments on as they come.
struct JSONCallReader: Sendable {
    private enum State {
        case start, keyOrEnd, key, colon, value, afterValue, complete, failed
    }
    private enum Role { case name, arguments, other }

    private var state = State.start
    private var role = Role.other
    /// The key, or the value of `name`, with its quotes.
    private var token: [UInt8] = []
    private var pending: [UInt8] = []
    private var depth = 0
    private var inString = false
    private var isEscaped = false
    private var argumentsAreString = false
    /// Null or another bare word: known when it has ended.
    private var argumentsAreWord = false
    private(set) var name: String?

    var hasFailed: Bool { state == .failed }
    var isComplete: Bool { state == .complete }
    var isInString: Bool { state == .value && inString }

    mutating func fail() { state = .failed }

    /// Argument text that came since the last call.
    mutating func takeArguments() -> [UInt8] {
        if argumentsAreString || argumentsAreWord { return [] }
        defer { pending.removeAll(keepingCapacity: true) }
        return pending
    }

    /// Arguments that the text ended or failed in: they are not nothing.
    mutating func takeRest() -> [UInt8] {
        defer { (argumentsAreString, argumentsAreWord) = (false, false) }
        if argumentsAreString { return token }
        return argumentsAreWord && pending != Array("null".utf8) ? pending : []
    }

    mutating func take(_ byte: UInt8) {
        let isSpace = byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
        switch state {
        case .start:
            if !isSpace { state = byte == 0x7B ? .keyOrEnd : .failed }
        case .keyOrEnd:
            if isSpace || byte == 0x2C { return }
            if byte == 0x7D {
                state = .complete
            } else if byte == 0x22 {
                token = [byte]
                state = .key
            } else {
                state = .failed
            }
        case .key:
            token.append(byte)
            if endsString(byte) {
                role = Self.role(of: Self.decode(token))
                state = .colon
            }
        case .colon:
            if isSpace { return }
            state = byte == 0x3A ? .value : .failed
            token = []
            depth = 0
        case .value: takeValue(byte, isSpace)
        case .afterValue:
            if isSpace { return }
            state = byte == 0x2C ? .keyOrEnd : byte == 0x7D ? .complete : .failed
        case .complete:
            // Text after the object is ignored; a further object would have its own marks.
            break
        case .failed: break
        }
    }

    private static func role(of key: String?) -> Role {
        switch key {
        case "name": .name
        case "arguments", "parameters": .arguments
        default: .other
        }
    }

    fileprivate static let null = Array("null".utf8)

    private static func decode(_ token: [UInt8]) -> String? {
        (try? JSONValue.parse(token))?.stringValue
    }

    /// Whether a byte inside a string is its closing quote.
    private mutating func endsString(_ byte: UInt8) -> Bool {
        if isEscaped {
            isEscaped = false
        } else if byte == 0x5C {
            isEscaped = true
        } else if byte == 0x22 {
            return true
        }
        return false
    }

    private mutating func takeValue(_ byte: UInt8, _ isSpace: Bool) {
        if inString {
            keep(byte)
            if endsString(byte) {
                inString = false
                if depth == 0 { endValue() }
            }
            return
        }
        switch byte {
        case 0x22:
            if depth == 0 {
                guard token.isEmpty else { state = .failed; return }
                argumentsAreString = role == .arguments
            }
            inString = true
            keep(byte)
        case 0x7B, 0x5B:
            depth += 1
            keep(byte)
        case 0x7D, 0x5D:
            if depth == 0 {
                endValue()
                state = byte == 0x7D ? .complete : .failed
                return
            }
            depth -= 1
            keep(byte)
            if depth == 0 { endValue() }
        case 0x2C where depth == 0:
            endValue()
            state = .keyOrEnd
        default:
            if isSpace && depth == 0 { return }
            if depth == 0, role == .arguments { argumentsAreWord = true }
            keep(byte)
        }
    }

    private mutating func keep(_ byte: UInt8) {
        if role == .arguments && !argumentsAreString {
            pending.append(byte)
            if token.isEmpty { token = [byte] }
        } else if role != .other || token.isEmpty {
            token.append(byte)
        }
    }

    private mutating func endValue() {
        state = .afterValue
        argumentsAreWord = false
        switch role {
        case .name:
            guard let text = Self.decode(token), !text.isEmpty else { state = .failed; return }
            name = text
        case .arguments:
            if argumentsAreString {
                // A string that holds the JSON.
                argumentsAreString = false
                pending = Array((Self.decode(token) ?? "").utf8)
            }
            if pending == Self.null { pending = [] }
        case .other: break
        }
    }
}

/// Reads `name[ARGS]{…}` or `[{"name": …}, …]` up to the end of its JSON.
struct MistralReader: Sendable {
    private static let separator = Array("[ARGS]".utf8)

    private var name: [UInt8] = []
    private var json: [UInt8] = []
    private var isReadingJSON = false
    private var depth = JSONDepth()

    /// The calls, once complete; empty when the text was no call.
    mutating func take(_ byte: UInt8) -> [ParsedCall]? {
        if !isReadingJSON {
            name.append(byte)
            if name.suffix(Self.separator.count) == Self.separator[...] {
                name.removeLast(Self.separator.count)
                isReadingJSON = true
                return nil
            }
            let first = name.first { $0 != 0x20 && $0 != 0x0A }
            guard byte == 0x7B else { return nil }
            // `[{` starts a list of calls; `name{` lacks only the separator.
            isReadingJSON = true
            if first == 0x5B {
                (json, name) = ([0x5B], [])
                depth.take(0x5B)
            } else {
                name.removeLast()
            }
        }
        return takeJSON(byte)
    }

    private mutating func takeJSON(_ byte: UInt8) -> [ParsedCall]? {
        if json.isEmpty && byte.isJSONSpace { return nil }
        json.append(byte)
        depth.take(byte)
        // Arguments null are none.
        if JSONCallReader.null.starts(with: json) {
            guard json == JSONCallReader.null else { return nil }
            json = Array("{}".utf8)
            return calls()
        }
        return depth.isOver || depth.isPlain ? calls() : nil
    }

    private func calls() -> [ParsedCall] {
        // `name[CALL_ID]id` in some.
        let idMark = name.firstRange(of: Array("[CALL_ID]".utf8))?.lowerBound ?? name.endIndex
        let trimmed = String(decoding: name[..<idMark], as: UTF8.self).trimmedSpace
        if !trimmed.isEmpty {
            return [ParsedCall(name: trimmed, arguments: String(decoding: json, as: UTF8.self))]
        }
        let list = (try? JSONValue.parse(json))?.arrayValue ?? []
        return list.compactMap { item in
            guard let name = item["name"]?.stringValue else { return nil }
            // As in a message of an earlier turn: a text, a value, or nothing.
            let arguments = item["arguments"] ?? item["parameters"] ?? [:]
            let call: JSONValue = ["function": ["name": .string(name), "arguments": arguments]]
            return ParsedCall(name: name, arguments: HistoryCall(call).text)
        }
    }
}

/// Follows a JSON object or array to its closing bracket; nothing else of it is looked at.
struct JSONDepth: Sendable {
    private var depth = 0
    private(set) var isInString = false
    private var isEscaped = false
    private(set) var isOver = false
    /// Text has come outside any bracket: it is no object.
    private(set) var isPlain = false

    mutating func take(_ byte: UInt8) {
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == 0x5C {
                isEscaped = true
            } else if byte == 0x22 {
                isInString = false
            }
            return
        }
        switch byte {
        case 0x7B, 0x5B: depth += 1
        case 0x7D, 0x5D:
            depth -= 1
            if depth == 0 { isOver = true }
            if depth < 0 { isPlain = true }
        case 0x22 where depth > 0: isInString = true
        default:
            if depth == 0, !byte.isJSONSpace { isPlain = true }
        }
    }
}
