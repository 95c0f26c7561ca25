/// The states of a lazy automaton beside the machine, shared by all of its positions: those of
/// regular expressions, of keys.
struct ByteRows<State: Hashable & Sendable>: Sendable {
    private(set) var states: [State] = []
    private var index: [State: Int32] = [:]
    /// 256 a state: another state, ``RowTable/dead`` or ``RowTable/unknown``.
    private var cells: [Int32] = []

    var count: Int { states.count }

    mutating func intern(_ state: State) -> Int32 {
        if let known = index[state] { return known }
        let number = Int32(states.count)
        states.append(state)
        index[state] = number
        cells.append(contentsOf: repeatElement(RowTable.unknown, count: 256))
        return number
    }

    @inline(__always)
    subscript(state: Int32, byte: UInt8) -> Int32 {
        get { cells[Int(state) << 8 | Int(byte)] }
        set { cells[Int(state) << 8 | Int(byte)] = newValue }
    }
}
