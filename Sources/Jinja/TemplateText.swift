/// A string of the template language: UTF-8 bytes, each known to come from the template's author
/// (trusted) or from the values given (untrusted).
///
/// Python's strings are sequences of code points, Swift's of grapheme clusters compared after
/// normalisation; neither `==` nor slicing would agree, hence bytes. Origin is kept as runs; nearly
/// every string has one origin and then `runs` is empty. Slicing, concatenation, splitting,
/// replacing, joining and JSON keep the origin exact per byte. Operations that change letters (case
/// mapping), wrap or format through a width give an untrusted result if any of their input was.
struct TemplateText: Sendable {
    struct Run: Sendable {
        var end: Int
        var trusted: Bool
    }

    private(set) var bytes: [UInt8] = []
    private var runs: [Run] = []
    private var uniformTrust = true
    /// Whether this is a `Markup`: text that `escape` leaves alone and that escapes what is joined
    /// to it. Slices inherit it, appending does not change it, anything built anew has none.
    var isMarkup = false

    init() {}

    init(_ string: String, trusted: Bool = true) {
        bytes = Array(string.utf8)
        uniformTrust = trusted || bytes.isEmpty
    }

    init(bytes: [UInt8], trusted: Bool) {
        self.bytes = bytes
        uniformTrust = trusted || bytes.isEmpty
    }

    var count: Int { bytes.count }
    var isEmpty: Bool { bytes.isEmpty }
    /// Whether no byte came from the values given.
    var isTrusted: Bool { runs.isEmpty ? uniformTrust : !runs.contains { !$0.trusted } }
    var string: String { String(decoding: bytes, as: UTF8.self) }

    mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

    // MARK: Building

    private mutating func extend(from oldCount: Int, trusted: Bool) {
        if bytes.count == oldCount { return }
        if oldCount == 0 {
            uniformTrust = trusted
            runs.removeAll(keepingCapacity: true)
        } else if runs.isEmpty {
            if uniformTrust == trusted { return }
            runs = [
                Run(end: oldCount, trusted: uniformTrust), Run(end: bytes.count, trusted: trusted),
            ]
        } else if runs[runs.count - 1].trusted == trusted {
            runs[runs.count - 1].end = bytes.count
        } else {
            runs.append(Run(end: bytes.count, trusted: trusted))
        }
    }

    mutating func append(bytes new: some Collection<UInt8>, trusted: Bool) {
        let old = bytes.count
        bytes.append(contentsOf: new)
        extend(from: old, trusted: trusted)
    }

    mutating func append(_ string: String, trusted: Bool = true) {
        let old = bytes.count
        bytes.append(contentsOf: string.utf8)
        extend(from: old, trusted: trusted)
    }

    mutating func append(byte: UInt8, trusted: Bool) {
        bytes.append(byte)
        extend(from: bytes.count - 1, trusted: trusted)
    }

    mutating func append(_ scalar: Unicode.Scalar, trusted: Bool) {
        let old = bytes.count
        bytes.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
        extend(from: old, trusted: trusted)
    }

    mutating func append(_ other: TemplateText) {
        if other.runs.isEmpty {
            append(bytes: other.bytes, trusted: other.uniformTrust)
        } else {
            append(other, 0..<other.count)
        }
    }

    mutating func append(_ other: TemplateText, _ range: Range<Int>) {
        if range.isEmpty { return }
        if other.runs.isEmpty {
            append(bytes: other.bytes[range], trusted: other.uniformTrust)
            return
        }
        var index = other.runIndex(at: range.lowerBound)
        var start = range.lowerBound
        while start < range.upperBound {
            let run = other.runs[index]
            let end = min(run.end, range.upperBound)
            append(bytes: other.bytes[start..<end], trusted: run.trusted)
            start = end
            index += 1
        }
    }

    private func runIndex(at position: Int) -> Int {
        var low = 0
        var high = runs.count - 1
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].end <= position { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func trusted(at position: Int) -> Bool {
        runs.isEmpty ? uniformTrust : runs[runIndex(at: position)].trusted
    }

    subscript(range: Range<Int>) -> TemplateText {
        if range.lowerBound == 0 && range.upperBound == count { return self }
        var result = TemplateText()
        result.isMarkup = isMarkup
        result.append(self, range)
        return result
    }

    func marked(_ isMarkup: Bool = true) -> TemplateText {
        if self.isMarkup == isMarkup { return self }
        var result = self
        result.isMarkup = isMarkup
        return result
    }

    /// The pieces of one origin, in order.
    func forEachRun(_ body: (Range<Int>, Bool) -> Void) {
        if bytes.isEmpty { return }
        if runs.isEmpty { return body(0..<bytes.count, uniformTrust) }
        var start = 0
        for run in runs {
            body(start..<run.end, run.trusted)
            start = run.end
        }
    }

    var originRuns: [RenderedTemplate.Run] {
        var result: [RenderedTemplate.Run] = []
        forEachRun { range, trusted in
            let text = String(decoding: bytes[range], as: UTF8.self)
            result.append(RenderedTemplate.Run(text: text, isTrusted: trusted))
        }
        return result
    }

    // MARK: Code points

    /// Whether every code point is one byte, so that positions need no conversion.
    var isASCII: Bool { !bytes.contains { $0 >= 0x80 } }

    var scalarCount: Int {
        var result = 0
        for byte in bytes where byte & 0xC0 != 0x80 { result += 1 }
        return result
    }

    /// Byte position of each code point, and the end.
    var scalarOffsets: [Int] {
        var result: [Int] = []
        result.reserveCapacity(bytes.count + 1)
        for (index, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 { result.append(index) }
        result.append(bytes.count)
        return result
    }

    /// The code point starting at a byte position, and the position after it.
    func scalar(at position: Int) -> (scalar: Unicode.Scalar, next: Int) {
        let first = bytes[position]
        if first < 0x80 { return (Unicode.Scalar(first), position + 1) }
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        var value = UInt32(first) & (0xFF >> UInt32(length + 1))
        let end = min(position + length, bytes.count)
        for index in (position + 1)..<max(end, position + 1) {
            value = value << 6 | UInt32(bytes[index] & 0x3F)
        }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", end)
    }

    /// Start of the code point that ends before a byte position.
    func scalarStart(before position: Int) -> Int {
        var start = position - 1
        while start > 0 && bytes[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }

    // MARK: Searching

    /// Byte position of the first occurrence at or after `start`.
    func find(_ needle: TemplateText, from start: Int = 0, to end: Int? = nil) -> Int? {
        let limit = (end ?? count) - needle.count
        if start > limit { return nil }
        guard let first = needle.bytes.first else { return start }
        if needle.count > 1, limit - start > Self.plainSearchMax {
            var search = PatternSearch(needle.bytes)
            for position in start..<(limit + needle.count) where search.take(bytes[position]) {
                return position + 1 - needle.count
            }
            return nil
        }
        var position = start
        while position <= limit {
            if bytes[position] == first, matches(needle, at: position) { return position }
            position += 1
        }
        return nil
    }

    func findLast(_ needle: TemplateText, from start: Int = 0, to end: Int? = nil) -> Int? {
        var position = (end ?? count) - needle.count
        if needle.count > 1, position - start > Self.plainSearchMax {
            var search = PatternSearch(needle.bytes.reversed())
            for index in (start..<(position + needle.count)).reversed()
            where search.take(bytes[index]) {
                return index
            }
            return nil
        }
        while position >= start {
            if matches(needle, at: position) { return position }
            position -= 1
        }
        return nil
    }

    /// Below this many positions comparing at each is cheaper than preparing a search.
    private static let plainSearchMax = 256

    func matches(_ needle: TemplateText, at position: Int) -> Bool {
        if position < 0 || position + needle.count > count { return false }
        for index in 0..<needle.count where bytes[position + index] != needle.bytes[index] {
            return false
        }
        return true
    }
}

/// Finds a pattern in time linear in pattern and text, whatever they are (Knuth, Morris, Pratt
/// 1977): comparing at each position would let a template buy seconds for few steps.
private struct PatternSearch {
    private let pattern: [UInt8]
    /// For each prefix, the length of its longest proper prefix that is also its suffix.
    private var borders: [Int]
    private var matched = 0

    init(_ pattern: [UInt8]) {
        self.pattern = pattern
        borders = Array(repeating: 0, count: pattern.count)
        var length = 0
        for index in pattern.indices.dropFirst() {
            while length > 0 && pattern[index] != pattern[length] { length = borders[length - 1] }
            if pattern[index] == pattern[length] { length += 1 }
            borders[index] = length
        }
    }

    /// Whether the pattern ends with this byte for the first time.
    mutating func take(_ byte: UInt8) -> Bool {
        while matched > 0 && pattern[matched] != byte { matched = borders[matched - 1] }
        if pattern[matched] == byte { matched += 1 }
        return matched == pattern.count
    }
}

extension TemplateText: Equatable {
    static func == (left: TemplateText, right: TemplateText) -> Bool {
        left.bytes == right.bytes
    }
}

extension Unicode.Scalar {
    /// Python's `str.isspace`.
    var isPythonSpace: Bool {
        switch value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029,
            0x202F, 0x205F, 0x3000:
            return true
        default: return false
        }
    }
}
