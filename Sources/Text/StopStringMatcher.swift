/// Finds the first of several strings in text that arrives in pieces.
///
/// Text that may be the beginning of a stop string is held back until it is certain. Linear in the
/// text, whatever the strings: an Aho-Corasick automaton over UTF-8. What is held back begins
/// where a stop string begins, so no character is ever cut in half.
///
/// - SeeAlso: Aho and Corasick 1975, Efficient string matching.
package struct StopStringMatcher: Sendable {
    private struct Node {
        var edges: [(byte: UInt8, node: Int32)] = []
        var failure: Int32 = 0
        var depth: Int32 = 0
        /// The longest stop string that ends here.
        var match: Int32 = -1
    }

    private let strings: [String]
    private var nodes = [Node()]
    private var node: Int32 = 0
    private var held: [UInt8] = []

    package init(_ strings: [String]) {
        self.strings = strings
        for (index, string) in strings.enumerated() { insert(Array(string.utf8), Int32(index)) }
        linkFailures()
    }

    package var isEmpty: Bool { strings.isEmpty }

    private mutating func insert(_ bytes: [UInt8], _ index: Int32) {
        var at: Int32 = 0
        for byte in bytes {
            if let next = edge(at, byte) {
                at = next
            } else {
                var node = Node()
                node.depth = nodes[Int(at)].depth + 1
                let new = Int32(nodes.count)
                nodes.append(node)
                nodes[Int(at)].edges.append((byte, new))
                at = new
            }
        }
        if at != 0, nodes[Int(at)].match < 0 { nodes[Int(at)].match = index }
    }

    private mutating func linkFailures() {
        var queue: [Int32] = [0]
        var head = 0
        while head < queue.count {
            let parent = queue[head]
            head += 1
            for (byte, child) in nodes[Int(parent)].edges {
                queue.append(child)
                guard parent != 0 else { continue }
                let failure = step(nodes[Int(parent)].failure, byte)
                nodes[Int(child)].failure = failure
                if nodes[Int(child)].match < 0 {
                    nodes[Int(child)].match = nodes[Int(failure)].match
                }
            }
        }
    }

    private func edge(_ node: Int32, _ byte: UInt8) -> Int32? {
        nodes[Int(node)].edges.first { $0.byte == byte }?.node
    }

    private func step(_ from: Int32, _ byte: UInt8) -> Int32 {
        var at = from
        while true {
            if let next = edge(at, byte) { return next }
            if at == 0 { return 0 }
            at = nodes[Int(at)].failure
        }
    }

    /// - Returns: text that is certain now, and the stop string that was found. After one was
    ///   found, the text before it has been returned and the matcher is spent.
    package mutating func push(_ text: String) -> (text: String, match: String?) {
        guard !strings.isEmpty else { return (text, nil) }
        for byte in text.utf8 {
            held.append(byte)
            node = step(node, byte)
            let match = nodes[Int(node)].match
            guard match >= 0 else { continue }
            let string = strings[Int(match)]
            held.removeLast(string.utf8.count)
            return (flush(), string)
        }
        let certain = held.count - Int(nodes[Int(node)].depth)
        guard certain > 0 else { return ("", nil) }
        let text = String(decoding: held[..<certain], as: UTF8.self)
        held.removeFirst(certain)
        return (text, nil)
    }

    /// The text held back, when no more will come.
    package mutating func flush() -> String {
        defer {
            held.removeAll()
            node = 0
        }
        return String(decoding: held, as: UTF8.self)
    }
}
