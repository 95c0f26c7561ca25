/// What one key press, or one paste, means to the line editor.
///
/// Keys with one meaning share a case: Ctrl-A and Home are both `lineStart`.
enum TerminalKey: Equatable, Sendable {
    /// One scalar, not one grapheme: an emoji may be several scalars, and no decoder can know
    /// whether another follows. `LineBuffer` joins them, so a split between two reads is not seen.
    case character(Unicode.Scalar)
    /// - Parameter isCut: the paste was longer than `KeyDecoder.pasteLimit`.
    case paste(String, isCut: Bool)
    case enter, newline, tab, escape
    case left, right, up, down, lineStart, lineEnd
    case wordLeft, wordRight
    case backspace, delete
    case killToEnd, killToStart, killSpacedWordBefore, killWordBefore, killWordAfter, yank
    case clearScreen, interrupt, endOfInput, search, cancelSearch, suspend
}

/// Turns the bytes of a terminal into keys; any split of the bytes gives the same keys.
struct KeyDecoder {
    /// Longest paste in bytes; what is over is dropped and the paste says so.
    static let pasteLimit = 1 << 20

    private enum State: Equatable {
        case ground
        case utf8(bytes: [UInt8], length: Int)
        case escape
        /// After ESC O: what keypads and application mode send.
        case singleShift
        case sequence(parameters: [UInt8])
        /// A string such as a title report, up to BEL or ESC \.
        case string(sawEscape: Bool)
        case paste(PasteText)
    }

    /// The longest parameters a key has are those of a modified function key, a dozen bytes.
    private static let parameterLimit = 64
    private var state = State.ground

    /// An escape byte alone is a key, and also the start of most others: the reader waits a
    /// moment and then calls `flush`.
    var isWaitingAfterEscape: Bool { state == .escape }

    mutating func flush() -> [TerminalKey] {
        guard state == .escape else { return [] }
        state = .ground
        return [.escape]
    }

    mutating func decode(_ bytes: some Sequence<UInt8>) -> [TerminalKey] {
        var keys: [TerminalKey] = []
        for byte in bytes { take(byte, &keys) }
        return keys
    }

    private mutating func take(_ byte: UInt8, _ keys: inout [TerminalKey]) {
        switch state {
        case .ground:
            takeGround(byte, &keys)
        case .utf8(var bytes, let length):
            guard byte & 0xC0 == 0x80 else {
                keys.append(.character("\u{FFFD}"))
                state = .ground
                return take(byte, &keys)
            }
            bytes.append(byte)
            if bytes.count < length {
                state = .utf8(bytes: bytes, length: length)
            } else {
                state = .ground
                let scalar = String(validating: bytes, as: UTF8.self)?.unicodeScalars.first
                takeScalar(scalar ?? "\u{FFFD}", &keys)
            }
        case .escape:
            takeEscape(byte, &keys)
        case .singleShift:
            state = .ground
            append(Self.finalKeys[byte], to: &keys)
        case .sequence(let parameters):
            takeSequence(byte, parameters, &keys)
        case .string(let sawEscape):
            let isEnd = byte == 0x07 || (sawEscape && byte == UInt8(ascii: "\\"))
            state = isEnd ? .ground : .string(sawEscape: byte == 0x1B)
        case .paste(var text):
            // The state is emptied first, so that the text stays the only owner of its bytes.
            state = .ground
            if text.isEnded(by: byte) {
                keys.append(.paste(text.cleaned, isCut: text.isCut))
            } else {
                state = .paste(text)
            }
        }
    }

    private mutating func takeGround(_ byte: UInt8, _ keys: inout [TerminalKey]) {
        switch byte {
        case 0x1B: state = .escape
        case 0..<0x20, 0x7F: append(Self.controlKeys[byte], to: &keys)
        case 0x20..<0x7F: keys.append(.character(Unicode.Scalar(byte)))
        case 0xC2...0xDF: state = .utf8(bytes: [byte], length: 2)
        case 0xE0...0xEF: state = .utf8(bytes: [byte], length: 3)
        case 0xF0...0xF4: state = .utf8(bytes: [byte], length: 4)
        default: keys.append(.character("\u{FFFD}"))
        }
    }

    private func takeScalar(_ scalar: Unicode.Scalar, _ keys: inout [TerminalKey]) {
        // C1 controls are no text, and a terminal would act on them.
        if !(0x80...0x9F).contains(scalar.value) { keys.append(.character(scalar)) }
    }

    private mutating func takeEscape(_ byte: UInt8, _ keys: inout [TerminalKey]) {
        switch byte {
        case UInt8(ascii: "["): state = .sequence(parameters: [])
        case UInt8(ascii: "O"): state = .singleShift
        case UInt8(ascii: "]"), UInt8(ascii: "P"), UInt8(ascii: "_"), UInt8(ascii: "^"):
            state = .string(sawEscape: false)
        case 0x1B: state = .escape
        default:
            state = .ground
            append(Self.altKeys[byte], to: &keys)
        }
    }

    private mutating func takeSequence(
        _ byte: UInt8, _ parameters: [UInt8], _ keys: inout [TerminalKey]
    ) {
        switch byte {
        case 0x20..<0x40:
            // Too long for a key: its bytes are swallowed all the same, up to the final one.
            let isFull = parameters.count >= Self.parameterLimit
            state = .sequence(parameters: isFull ? parameters : parameters + [byte])
        case 0x1B:
            state = .escape
        case UInt8(ascii: "[") where parameters.isEmpty:
            // The Linux console's function keys are ESC [ [ A, one byte longer than others.
            state = .sequence(parameters: [byte])
        case 0x40..<0x7F:
            state = .ground
            let fields = parameters.split(
                separator: UInt8(ascii: ";"), omittingEmptySubsequences: false
            ).map { Int(String(decoding: $0, as: UTF8.self)) ?? 0 }
            if byte == UInt8(ascii: "~"), fields.first == 200 {
                state = .paste(PasteText())
            } else if parameters.first != UInt8(ascii: "[") {
                append(Self.sequenceKey(final: byte, fields), to: &keys)
            }
        default:
            // A control inside a sequence is carried out as if it stood alone (ECMA-48, 5.5).
            append(Self.controlKeys[byte], to: &keys)
        }
    }

    private func append(_ key: TerminalKey?, to keys: inout [TerminalKey]) {
        if let key { keys.append(key) }
    }
}

/// The bytes between the marks of a bracketed paste.
private struct PasteText: Equatable {
    private static let end = Array("\u{1B}[201~".utf8)
    private var bytes: [UInt8] = []
    private(set) var isCut = false

    /// Takes one byte; true when it completes the end mark.
    mutating func isEnded(by byte: UInt8) -> Bool {
        // Over the limit only the last bytes move on, so that the end mark is still found.
        if bytes.count >= KeyDecoder.pasteLimit + Self.end.count {
            isCut = true
            bytes.remove(at: KeyDecoder.pasteLimit)
        }
        bytes.append(byte)
        guard byte == UInt8(ascii: "~"), bytes.suffix(Self.end.count) == Self.end[...] else {
            return false
        }
        bytes.removeLast(Self.end.count)
        if bytes.count > KeyDecoder.pasteLimit {
            isCut = true
            bytes.removeLast(bytes.count - KeyDecoder.pasteLimit)
        }
        return true
    }

    /// Terminals send line ends as CR. Controls other than tab and line end are dropped: pasted
    /// text must not be able to send keys.
    var cleaned: String {
        var scalars = String.UnicodeScalarView()
        var wasReturn = false
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            defer { wasReturn = scalar == "\r" }
            switch scalar {
            case "\r": scalars.append("\n")
            case "\n": if !wasReturn { scalars.append("\n") }
            case "\t": scalars.append(scalar)
            default:
                if scalar.properties.generalCategory != .control { scalars.append(scalar) }
            }
        }
        return String(scalars)
    }
}

// MARK: - Tables

extension KeyDecoder {
    private static let controlKeys: [UInt8: TerminalKey] = [
        0x01: .lineStart, 0x02: .left, 0x03: .interrupt, 0x04: .endOfInput, 0x05: .lineEnd,
        0x06: .right, 0x07: .cancelSearch, 0x08: .backspace, 0x09: .tab, 0x0A: .newline,
        0x0B: .killToEnd, 0x0C: .clearScreen, 0x0D: .enter, 0x0E: .down, 0x10: .up,
        0x12: .search, 0x15: .killToStart, 0x17: .killSpacedWordBefore, 0x19: .yank,
        0x1A: .suspend, 0x7F: .backspace,
    ]

    private static let altKeys: [UInt8: TerminalKey] = [
        0x0D: .newline, 0x0A: .newline, 0x08: .killWordBefore, 0x7F: .killWordBefore,
        UInt8(ascii: "b"): .wordLeft, UInt8(ascii: "f"): .wordRight,
        UInt8(ascii: "d"): .killWordAfter,
        UInt8(ascii: "B"): .wordLeft, UInt8(ascii: "F"): .wordRight,
        UInt8(ascii: "D"): .killWordAfter,
    ]

    /// The last byte of ESC [ … X and of ESC O X.
    private static let finalKeys: [UInt8: TerminalKey] = [
        UInt8(ascii: "A"): .up, UInt8(ascii: "B"): .down, UInt8(ascii: "C"): .right,
        UInt8(ascii: "D"): .left, UInt8(ascii: "H"): .lineStart, UInt8(ascii: "F"): .lineEnd,
        UInt8(ascii: "M"): .enter,
    ]

    /// VT220: ESC [ n ~.
    private static let numberedKeys: [Int: TerminalKey] = [
        1: .lineStart, 3: .delete, 4: .lineEnd, 7: .lineStart, 8: .lineEnd,
    ]

    private static func sequenceKey(final: UInt8, _ fields: [Int]) -> TerminalKey? {
        let modifier = fields.count > 1 ? fields[1] : 1
        switch final {
        case UInt8(ascii: "~"):
            // xterm's modifyOtherKeys: ESC [ 27 ; modifier ; code ~.
            if fields.first == 27, fields.count == 3, fields[2] == 13 { return .newline }
            // Delete with Alt or Ctrl takes the word.
            if fields.first == 3, modifier == 3 || modifier == 5 { return .killWordAfter }
            return fields.first.flatMap { numberedKeys[$0] }
        case UInt8(ascii: "u"):
            // kitty: ESC [ code ; modifier u. Enter with any modifier is a line break.
            return fields.first == 13 ? (modifier > 1 ? .newline : .enter) : nil
        case UInt8(ascii: "M"):
            return nil  // a mouse report, not the keypad's Enter
        default:
            guard let key = finalKeys[final] else { return nil }
            // Modifier 3 is Alt, 5 is Ctrl: arrows then go by words.
            if modifier == 3 || modifier == 5 {
                if key == .left { return .wordLeft }
                if key == .right { return .wordRight }
            }
            return key
        }
    }
}
