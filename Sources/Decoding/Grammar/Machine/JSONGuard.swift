/// Follows the JSON in a text beside the machine, for the two rules that ask what stood before: no
/// key twice in one object, and no item twice where items are unique.
///
/// In the machine these would make every text a state of its own, and no mask could be used twice.
/// (Names that a schema lists, and items of which there are few, are the machine's: their masks
/// must foresee that nothing is left.)
struct JSONGuard: Sendable {
    struct Container: Sendable {
        var isArray: Bool
        /// An object's keys, as they were written.
        var keys: [[UInt8]] = []
        /// An array's items, where they are unique: ``CanonicalJSON``.
        var items: [[UInt8]] = []
        /// Where the item that is being written begins; -1 between items, -2 after one.
        var itemStart = -1
    }

    /// Something has been written that may stand there already.
    enum Event {
        case key(start: Int)
        /// Up to the byte read, which belongs to it.
        case item(start: Int)
        /// `t`, `f` or `n`: the item is decided.
        case word(UInt8)
    }

    private(set) var containers: [Container] = []
    private(set) var isInString = false
    private(set) var isInKey = false
    /// Where the string's content begins.
    private(set) var contentStart = 0
    private var isEscaped = false
    private var expectsKey = false

    var isEmpty: Bool { containers.isEmpty }

    mutating func reset() { self = JSONGuard() }

    /// Takes the byte at a place of the text; `{` or `[` begins a value when it is empty.
    mutating func read(_ byte: UInt8, at place: Int) -> Event? {
        if isInString { return readString(byte, place) }
        switch byte {
        case 0x22:
            isInString = true
            isInKey = expectsKey
            contentStart = place + 1
            if !isInKey { beginItem(place) }
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            beginItem(place)
            containers.append(Container(isArray: byte == UInt8(ascii: "[")))
            expectsKey = byte == UInt8(ascii: "{")
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            if !containers.isEmpty { containers.removeLast() }
            expectsKey = false
            return closeItem()
        case UInt8(ascii: ","):
            guard let last = containers.indices.last else { return nil }
            expectsKey = !containers[last].isArray
            containers[last].itemStart = -1
        case UInt8(ascii: ":"): expectsKey = false
        case 0x20, 0x09, 0x0A, 0x0D: break
        default:
            guard let last = containers.indices.last, containers[last].isArray else { return nil }
            let isFirst = containers[last].itemStart == -1
            beginItem(place)
            if isFirst, byte >= UInt8(ascii: "a") {
                containers[last].itemStart = -2
                return .word(byte)
            }
        }
        return nil
    }

    private mutating func readString(_ byte: UInt8, _ place: Int) -> Event? {
        if isEscaped {
            isEscaped = false
        } else if byte == 0x5C {
            isEscaped = true
        } else if byte == 0x22 {
            isInString = false
            if isInKey {
                isInKey = false
                expectsKey = false
                return .key(start: contentStart)
            }
            return closeItem()
        }
        return nil
    }

    private mutating func beginItem(_ place: Int) {
        guard let last = containers.indices.last, containers[last].isArray,
            containers[last].itemStart == -1
        else { return }
        containers[last].itemStart = place
    }

    /// A string or container ends with this byte.
    private mutating func closeItem() -> Event? {
        guard let last = containers.indices.last, containers[last].itemStart >= 0 else {
            return nil
        }
        defer { containers[last].itemStart = -2 }
        return .item(start: containers[last].itemStart)
    }

    /// Where the number begins that ends before this byte.
    mutating func numberEnding(before byte: UInt8) -> Int? {
        guard !isInString, let last = containers.indices.last, containers[last].itemStart >= 0
        else { return nil }
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"), 0x20, 0x09, 0x0A, 0x0D:
            defer { containers[last].itemStart = -2 }
            return containers[last].itemStart
        default: return nil
        }
    }

    /// - Returns: whether the innermost object had no such key.
    mutating func add(key: [UInt8]) -> Bool {
        guard let last = containers.indices.last else { return true }
        if containers[last].keys.contains(key) { return false }
        containers[last].keys.append(key)
        return true
    }

    /// - Returns: whether the array at this depth, from 1, had no such item.
    mutating func add(item: [UInt8], depth: Int) -> Bool {
        if containers[depth - 1].items.contains(item) { return false }
        containers[depth - 1].items.append(item)
        return true
    }
}
