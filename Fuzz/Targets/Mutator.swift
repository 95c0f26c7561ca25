import TestKit

/// Changes inputs as libFuzzer does, by a seed and without looking at what they reach: for the
/// runs of the ordinary tests, which need no instrumented build.
package struct Mutator {
    private var random: SplitMix64
    private let seeds: [[UInt8]]
    private let words: [[UInt8]]
    private let lengthMax: Int

    package init(_ target: FuzzTarget, seed: UInt64, lengthMax: Int = 4_096) {
        random = SplitMix64(seed: seed)
        seeds = target.seeds
        words = target.words
        self.lengthMax = lengthMax
    }

    package mutating func next() -> [UInt8] {
        var bytes = seeds.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...6, using: &random) { change(&bytes) }
        if bytes.count > lengthMax { bytes.removeLast(bytes.count - lengthMax) }
        return bytes
    }

    private mutating func range(_ bytes: [UInt8]) -> Range<Int> {
        let start = Int.random(in: 0...bytes.count, using: &random)
        let longest = min(bytes.count - start, 1 << Int.random(in: 0...7, using: &random))
        return start..<start + Int.random(in: 0...longest, using: &random)
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<9, using: &random) {
        case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.removeSubrange(range(bytes))
        case 3: bytes.insert(contentsOf: bytes[range(bytes)], at: place)
        case 4:
            if let word = words.randomElement(using: &random) {
                bytes.insert(contentsOf: word, at: place)
            }
        case 5:
            // Depth: the same few bytes again and again.
            let piece = words.randomElement(using: &random) ?? Array(bytes[range(bytes)])
            let count = 1 << Int.random(in: 1...9, using: &random)
            guard piece.count * count <= lengthMax else { return }
            bytes.insert(contentsOf: (0..<count).flatMap { _ in piece }, at: place)
        case 6:
            if let other = seeds.randomElement(using: &random) {
                bytes.insert(contentsOf: other[range(other)], at: place)
            }
        case 7: number(&bytes, place)
        default: bytes.removeSubrange(place...)
        }
    }

    /// A number at an edge, little-endian, in place of what is there.
    private mutating func number(_ bytes: inout [UInt8], _ place: Int) {
        let size = [1, 2, 4, 8][Int.random(in: 0..<4, using: &random)]
        let edge: UInt64 = [
            0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF,
            0x7FFF_FFFF_FFFF_FFFF, .max, .max / 4 + 1, 1 << 61, UInt64(bytes.count),
        ].randomElement(using: &random) ?? 0
        for index in 0..<size where place + index < bytes.count {
            bytes[place + index] = UInt8(truncatingIfNeeded: edge >> UInt64(8 * index))
        }
    }
}
