/// One thing still to come, and what comes after it. A chain of frames is a thread: one way in
/// which the text can go on. Equal chains are one number, so a thread is an `Int32`.
struct Frame: Equatable, Sendable {
    enum Kind: Int32, Sendable {
        case done, space, value, word, text, pattern, bounded, literal, numberLiteral, plainNumber, number
        case arrayFirst, arrayNext, arrayItem, uniqueItem
        case objectFirst, objectNext, objectKey, key, colon
        case expression, repetition, sequence, match, members, memberKey
    }

    var kind: Kind
    var a: Int32
    var b: Int32
    var parent: Int32
}

/// The frames there are, by number; an open-addressed hash table finds known ones. (Dictionaries
/// of the standard library took half of the time of a first visit in the prototype.)
struct FrameTable: Sendable {
    private(set) var frames: [Frame] = []
    private var slots: [Int32] = Array(repeating: -1, count: 1 << 10)

    /// Frame 0: nothing more is to come.
    init() { _ = intern(Frame(kind: .done, a: 0, b: 0, parent: -1)) }

    var count: Int { frames.count }

    subscript(index: Int32) -> Frame { frames[Int(index)] }

    private static func hash(_ frame: Frame) -> UInt64 {
        var hash = UInt64(UInt32(bitPattern: frame.a)) | UInt64(UInt32(bitPattern: frame.b)) << 32
        hash = (hash ^ UInt64(UInt32(bitPattern: frame.parent)) &* 0x9E37_79B9_7F4A_7C15)
            &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ hash >> 29 ^ UInt64(UInt32(bitPattern: frame.kind.rawValue)))
            &* 0x94D0_49BB_1331_11EB
        return hash ^ hash >> 32
    }

    mutating func intern(_ frame: Frame) -> Int32 {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: Self.hash(frame)) & mask
        while slots[slot] >= 0 {
            if frames[Int(slots[slot])] == frame { return slots[slot] }
            slot = (slot + 1) & mask
        }
        let index = Int32(frames.count)
        frames.append(frame)
        slots[slot] = index
        if frames.count * 2 > slots.count { grow() }
        return index
    }

    private mutating func grow() {
        let mask = slots.count * 4 - 1
        slots = Array(repeating: -1, count: mask + 1)
        for (index, frame) in frames.enumerated() {
            var slot = Int(truncatingIfNeeded: Self.hash(frame)) & mask
            while slots[slot] >= 0 { slot = (slot + 1) & mask }
            slots[slot] = Int32(index)
        }
    }
}

/// Values that frames refer to by number.
struct Interned<Value: Hashable & Sendable>: Sendable {
    private(set) var values: [Value] = []
    private var index: [Value: Int32] = [:]

    subscript(number: Int32) -> Value { values[Int(number)] }

    mutating func intern(_ value: Value) -> Int32 {
        if let known = index[value] { return known }
        values.append(value)
        index[value] = Int32(values.count - 1)
        return Int32(values.count - 1)
    }
}

/// How far an object is written.
struct ObjectState: Hashable, Sendable {
    var rule: Int32
    /// Names that stand already, or that the key order has passed.
    var seen: RankSet
    /// Members so far, as far as a bound depends on them.
    var count: Int32
    var proven: UInt32
}

/// How far an array is written.
struct ArrayState: Hashable, Sendable {
    var rule: Int32
    var count: Int32
    /// Items that counted for each `contains`.
    var counted: [Int32]
    /// Which of `unique` items stand already.
    var items: Int32
}

/// How far a string under a pattern and bounds of its length is written.
struct BoundedState: Hashable, Sendable {
    /// Number of the pattern's state.
    var content: Int32
    /// Characters begun.
    var begun: Int32
    var lexer: UInt8
}

/// How far a key is written.
struct KeyState: Hashable, Sendable {
    /// Node of the names' trie, or -1 off it.
    var node: Int32
    var lexer: UInt8
    /// Number of the patterns' states, or -1 without patterns.
    var patterns: Int32
}

/// An item of a `uniqueItems` array: its own thread, ending in frame 0, and its text so far.
struct UniqueItem: Hashable, Sendable {
    var array: Int32
    var thread: Int32
    var text: Int32
}
