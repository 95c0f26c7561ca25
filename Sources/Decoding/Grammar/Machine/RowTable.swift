/// The successors of configurations by byte: 256 numbers a row.
///
/// Address space for all rows is taken at once and the pages come when they are touched: growing
/// by copying cost up to 6 ms at a time in the prototype. The only unsafe code of the machine,
/// with the walk over the token trie, which reads little else.
///
/// Unchecked: guarded by the lock around the one machine that has it.
@safe final class RowTable: @unchecked Sendable {
    /// The row has no answer yet.
    static let unknown: Int32 = -2
    /// No text goes on so.
    static let dead: Int32 = -1

    private let cells: UnsafeMutablePointer<Int32>
    let capacity: Int
    private(set) var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        unsafe cells = UnsafeMutablePointer.allocate(capacity: capacity << 8)
    }

    deinit { unsafe cells.deallocate() }

    func append() {
        precondition(count < capacity)
        unsafe (cells + count << 8).update(repeating: Self.unknown, count: 256)
        count += 1
    }

    @inline(__always)
    subscript(configuration: Int32, byte: UInt8) -> Int32 {
        get { unsafe cells[Int(configuration) << 8 | Int(byte)] }
        set { unsafe cells[Int(configuration) << 8 | Int(byte)] = newValue }
    }
}
