/// A walk over a tree of tokens inside of a canonical JSON string: at each depth the state of what
/// reads the decoded text, the lexer's, and the characters begun.
struct ContentScan {
    private struct Place {
        var state: Int32
        var length: Int32
        var lexer: UInt8
    }

    private var places: [Place]

    init(_ state: Int32, _ depthMax: Int) {
        places = Array(
            repeating: Place(state: state, length: 0, lexer: StringLexer.start),
            count: depthMax + 1)
    }

    /// Whether no character and no escape is open at a depth.
    func isOutside(_ depth: Int) -> Bool { places[depth].lexer == StringLexer.start }

    /// An escape that is not complete has its character still to come.
    func place(_ depth: Int) -> (state: Int32, length: Int) {
        let place = places[depth]
        let isPart = place.lexer >= StringLexer.afterBackslash
        return (place.state, Int(place.length) - (isPart ? 1 : 0))
    }

    /// Goes to a node from the one above it; false when no string goes on so.
    @inline(__always)
    mutating func read(
        _ node: TokenTrie.Node, by successor: (Int32, UInt8) -> Int32
    ) -> Bool {
        let depth = Int(node.extent >> 24)
        let byte = UInt8(truncatingIfNeeded: node.content)
        var place = places[depth - 1]
        if place.lexer == StringLexer.start {
            place.length += 1
            // Nearly all there is to walk over.
            if byte >= 0x20, byte < 0x80, byte != 0x22, byte != 0x5C {
                place.state = successor(place.state, byte)
                places[depth] = place
                return place.state >= 0
            }
        }
        guard let step = StringLexer.step(place.lexer, byte, isCanonical: true) else {
            return false
        }
        place.lexer = step.state
        if let decoded = step.decoded {
            place.state = successor(place.state, decoded)
            if place.state < 0 { return false }
        } else {
            let state = place.state
            let goesOn = StringLexer.targets(step.state).contains { successor(state, $0) >= 0 }
            if !goesOn { return false }
        }
        places[depth] = place
        return true
    }
}
