import Glibc

/// Why bytes of the other process cannot be what they should be, or a value cannot be sent.
struct WireError: Error, Equatable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A value that crosses between the engine's process and the one that faces clients.
protocol WireValue {
    /// Names every field once, in order: the coder writes it, or reads it into its place.
    mutating func wire(_ coder: inout WireCoder) throws(WireError)
}

/// Writes values as bytes, or reads them back: little-endian, fixed widths, counts before lists.
///
/// One description of a type's fields serves both ways, so writer and reader cannot disagree. All
/// lengths have limits, which both sides check.
struct WireCoder {
    private(set) var bytes: [UInt8]
    private var position: Int
    private let end: Int
    let isReading: Bool

    /// To write behind `bytes`.
    init(appendingTo bytes: consuming [UInt8] = []) {
        self.bytes = bytes
        (position, end, isReading) = (0, 0, false)
    }

    init(reading bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        (position, end, isReading) = (range.lowerBound, range.upperBound, true)
    }

    /// What was written first has been sent.
    mutating func dropFirst(_ count: Int) {
        bytes.removeFirst(count)
    }

    /// - Throws: when bytes are left that no field has asked for.
    func finish() throws(WireError) {
        guard position == end else {
            throw WireError("a message is \(end - position) bytes longer than it should be")
        }
    }

    // MARK: Fields

    mutating func integer<T: FixedWidthInteger>(_ value: inout T) throws(WireError) {
        guard isReading else {
            unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
            return
        }
        let count = T.bitWidth / 8
        guard end - position >= count else { throw WireError("a message ends within a number") }
        unsafe bytes.withUnsafeBytes { bytes in
            value = T(
                littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: position, as: T.self))
        }
        position += count
    }

    mutating func integer<T: FixedWidthInteger>(
        _ value: inout T, in range: ClosedRange<T>, _ name: StaticString
    ) throws(WireError) {
        try integer(&value)
        guard range.contains(value) else {
            throw WireError(
                "\(name) is \(value); expected \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// A count or a size: never negative, and small enough to be added to others.
    mutating func size(_ value: inout Int, _ name: StaticString) throws(WireError) {
        try integer(&value, in: 0...(1 << 48), name)
    }

    mutating func flag(_ value: inout Bool) throws(WireError) {
        var byte: UInt8 = value ? 1 : 0
        try integer(&byte, in: 0...1, "a flag")
        value = byte == 1
    }

    mutating func number(_ value: inout Float) throws(WireError) {
        var bits = value.bitPattern
        try integer(&bits)
        value = Float(bitPattern: bits)
    }

    mutating func number(_ value: inout Double) throws(WireError) {
        var bits = value.bitPattern
        try integer(&bits)
        value = Double(bitPattern: bits)
    }

    /// To the attosecond; 38,000 years at most.
    mutating func duration(_ value: inout Duration) throws(WireError) {
        var attoseconds = value.attoseconds
        try integer(&attoseconds, in: -(1 << 100)...(1 << 100), "a time")
        value = Duration(attoseconds: attoseconds)
    }

    mutating func instant(_ value: inout RequestTimeline.Instant) throws(WireError) {
        var time = value - MachineClock.origin
        try duration(&time)
        value = MachineClock.origin + time
    }

    /// - Parameter max: bytes of UTF-8.
    mutating func text(
        _ value: inout String, max: Int, _ name: StaticString
    ) throws(WireError) {
        var utf8 = Array(value.utf8)
        try list(&utf8, max: max, name, of: 0) { (coder, byte) throws(WireError) in
            try coder.integer(&byte)
        }
        guard isReading else { return }
        guard let text = String(validating: utf8, as: UTF8.self) else {
            throw WireError("\(name) is not UTF-8")
        }
        value = text
    }

    mutating func choice<T: RawRepresentable<String>>(
        _ value: inout T, _ name: StaticString
    ) throws(WireError) {
        var raw = value.rawValue
        try text(&raw, max: 64, name)
        guard let known = T(rawValue: raw) else { throw WireError("\(name) is none there is") }
        value = known
    }

    /// - Parameter empty: what is read into.
    mutating func list<T>(
        _ values: inout [T], max: Int, _ name: StaticString, of empty: T,
        _ element: (inout WireCoder, inout T) throws(WireError) -> Void
    ) throws(WireError) {
        var count = UInt32(clamping: values.count)
        try integer(&count)
        guard count <= max else {
            throw WireError("\(name): \(count) entries; the limit is \(max)")
        }
        if isReading {
            // Every entry has a byte at least, so nothing is made for a count that lies.
            guard count <= end - position else { throw WireError("\(name) ends too early") }
            values = Array(repeating: empty, count: Int(count))
        }
        for index in values.indices { try element(&self, &values[index]) }
    }

    mutating func optional<T>(
        _ value: inout T?, of empty: T,
        _ some: (inout WireCoder, inout T) throws(WireError) -> Void
    ) throws(WireError) {
        var isThere = value != nil
        try flag(&isThere)
        guard isThere else {
            value = nil
            return
        }
        var known = value ?? empty
        try some(&self, &known)
        value = known
    }

    mutating func value<T: WireValue>(_ value: inout T) throws(WireError) {
        try value.wire(&self)
    }

    /// Before a frame that is about to be written.
    /// - Returns: where its length goes.
    mutating func openLength() -> Int {
        bytes += [0, 0, 0, 0]
        return bytes.count
    }

    mutating func closeLength(_ start: Int, max: Int) throws(WireError) {
        let count = bytes.count - start
        guard count <= max else {
            bytes.removeLast(count + 4)
            throw WireError("a message has \(count) bytes; the limit is \(max)")
        }
        for index in 0..<4 {
            bytes[start - 4 + index] = UInt8(truncatingIfNeeded: count >> (8 * index))
        }
    }

    /// Takes back what was written since, the place of the length included.
    mutating func drop(from start: Int) { bytes.removeLast(bytes.count - start + 4) }
}

/// What the instants of all processes of this machine are counted from.
///
/// `ContinuousClock` keeps its own zero to itself; on Linux it reads the time since boot, and so do
/// we, close enough together that the difference is a microsecond at most.
enum MachineClock {
    static let origin: RequestTimeline.Instant = {
        var best: (width: Duration, origin: RequestTimeline.Instant)?
        for _ in 0..<32 {
            let before = ContinuousClock.now
            var time = timespec()
            _ = unsafe clock_gettime(CLOCK_BOOTTIME, &time)
            let width = ContinuousClock.now - before
            let sinceBoot = Duration.seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
            if best.map({ width < $0.width }) ?? true { best = (width, before - sinceBoot) }
        }
        return best?.origin ?? ContinuousClock.now
    }()
}
