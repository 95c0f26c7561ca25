/// The tokens a grammar allows next: one bit per token of the vocabulary.
package struct TokenMask: Sendable, Equatable {
    package private(set) var words: [UInt64]
    package let count: Int

    /// - Parameter count: tokens of the vocabulary.
    package init(count: Int, allowingAll: Bool = false) {
        self.count = count
        words = Array(repeating: allowingAll ? .max : 0, count: (count + 63) / 64)
    }

    package subscript(token: Int32) -> Bool {
        get { words[Int(token) / 64] >> UInt64(token % 64) & 1 == 1 }
        set {
            let bit: UInt64 = 1 << UInt64(token % 64)
            if newValue {
                words[Int(token) / 64] |= bit
            } else {
                words[Int(token) / 64] &= ~bit
            }
        }
    }

    /// The tokens whose bit is set, in order.
    package var allowed: [Int32] {
        var result: [Int32] = []
        for (index, word) in words.enumerated() {
            var left = word
            while left != 0 {
                result.append(Int32(index * 64 + left.trailingZeroBitCount))
                left &= left - 1
            }
        }
        return result
    }

    /// Whether a bit is set that is none of these tokens'.
    func allowsOthers(than tokens: [Int32]) -> Bool {
        let all = words.reduce(0) { $0 + $1.nonzeroBitCount }
        return all > Set(tokens).count { $0 >= 0 && Int($0) < count && self[$0] }
    }

    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    /// Takes over all bits of a mask for the same vocabulary; padding beyond them is cleared.
    mutating func copy(_ other: [UInt64]) {
        precondition(other.count <= words.count)
        unsafe words.withUnsafeMutableBufferPointer { own in
            for index in other.indices { unsafe own[index] = other[index] }
            for index in other.count..<own.count { unsafe own[index] = 0 }
        }
    }

    mutating func removeAll() {
        for index in words.indices { words[index] = 0 }
    }

    /// Adds the tokens of a set for the same vocabulary.
    mutating func formUnion(_ other: [UInt64]) {
        precondition(other.count <= words.count)
        unsafe words.withUnsafeMutableBufferPointer { own in
            unsafe other.withUnsafeBufferPointer { other in
                for index in other.indices { unsafe own[index] |= other[index] }
            }
        }
    }

    mutating func withWords<Result>(
        _ body: (UnsafeMutablePointer<UInt64>) -> Result
    ) -> Result? {
        unsafe words.withUnsafeMutableBufferPointer { own in
            unsafe own.baseAddress.map { unsafe body($0) }
        }
    }

    /// Sets the logits of all other tokens to -∞.
    package func apply(to row: UnsafeMutableBufferPointer<Float>) {
        for (index, word) in words.enumerated() where word != .max {
            let start = index * 64
            for token in start..<min(start + 64, row.count)
            where word >> UInt64(token - start) & 1 == 0 {
                unsafe row[token] = -.infinity
            }
        }
    }
}
