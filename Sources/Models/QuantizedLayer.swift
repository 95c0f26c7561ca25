import AutoGLMCompute
import AutoGLMJSON

extension QuantizedTensors {
    /// One linear layer in memory: integers, a zero point and a scale for each group of columns.
    /// Value: `scale × (integer - zero)`.
    struct Layer: Sendable {
        /// Where the integer of a row and a column lies.
        enum Order: Sendable {
            /// `[columns / n, rows]`, n columns to a word (GPTQ).
            case columnsPacked
            /// `[columns, rows / 8]`, eight rows to a word (AWQ).
            case rowsInterleaved
            /// `[rows, words]`, n columns to a word (compressed-tensors).
            case rowMajor(wordsPerRow: Int)
            /// `[rows, columns]` signed bytes.
            case bytes
        }
        let name: String
        let file: String
        let rows: Int
        let columns: Int
        var bits = 4
        var order = Order.bytes
        var words: [UInt32] = []
        var bytes: [UInt8] = []
        /// `[rows, groups]`
        var scales: [Float] = []
        var zeros: [Int16] = []
        private(set) var groups = 1
        /// The group of each column where that is not its place divided by the group's size.
        private var groupOfColumn: [UInt16] = []

        init(name: String, file: String, rows: Int, columns: Int) {
            (self.name, self.file, self.rows, self.columns) = (name, file, rows, columns)
        }

        private func refuse(_ field: String, _ reason: String) -> CheckpointError {
            .malformed(
                file: file, offset: nil, field: "\(field) of \(excerpt(name))", reason: reason)
        }

        func check(divisor: Int) throws(CheckpointError) {
            guard rows % divisor == 0, columns % divisor == 0 else {
                throw refuse("shape", "\(rows) × \(columns) is no multiple of \(divisor)")
            }
        }

        mutating func divide(into groups: Int) throws(CheckpointError) {
            guard groups > 0, groups <= 1 << 16, columns % groups == 0 else {
                throw refuse("scales", "\(groups) groups of \(columns) columns")
            }
            self.groups = groups
        }

        mutating func reorder(_ indices: [UInt32], _ groups: Int) throws(CheckpointError) {
            guard indices.allSatisfy({ $0 < UInt32(groups) }) else {
                throw refuse("g_idx", "a group that is not there")
            }
            let size = columns / groups
            let isInOrder = indices.indices.allSatisfy { Int(indices[$0]) == $0 / size }
            groupOfColumn = isInOrder ? [] : indices.map { UInt16($0) }
        }

        /// What must be added to stored GPTQ zero points, as far as they tell by themselves.
        ///
        /// Symmetric weights have their zero in the middle, 2^(bits-1), in every group. So a layer
        /// that stores one less throughout wants 1 added and one that stores the middle wants 0,
        /// whatever the file is labelled: newer quantisers write the one under the label of the
        /// other. Zero points of asymmetric weights (`sym: false`) lie anywhere, also all at one
        /// value, and nothing stored can contradict the label: then the caller takes that.
        var zeroOffset: Int? {
            let middle = Int16(1 << (bits - 1))
            guard let first = zeros.first, zeros.allSatisfy({ $0 == first }) else { return nil }
            return first == middle ? 0 : first == middle - 1 ? 1 : nil
        }

        mutating func offsetZeros(by offset: Int) {
            let mask = Int16((1 << bits) - 1)
            for index in zeros.indices { zeros[index] = (zeros[index] + Int16(offset)) & mask }
        }

        /// Bits by which the integer of a row is shifted within an AWQ word, whose kernels want
        /// rows 0, 2, 4, 6, 1, 3, 5, 7.
        static func interleavedShift(_ row: Int) -> UInt32 {
            UInt32((row & 1) * 16 + (row & 7) / 2 * 4)
        }

        /// `integer - zero` and the index of the scale.
        fileprivate func value(_ row: Int, _ column: Int) -> (difference: Int, scale: Int) {
            let group =
                groupOfColumn.isEmpty ? column / (columns / groups) : Int(groupOfColumn[column])
            let mask = UInt32((1 << bits) - 1)
            let perWord = 32 / bits
            let integer: Int
            switch order {
            case .columnsPacked:
                let word = words[column / perWord * rows + row]
                integer = Int(word >> UInt32(bits * (column % perWord)) & mask)
            case .rowsInterleaved:
                let word = words[column * (rows / 8) + row / 8]
                integer = Int(word >> Self.interleavedShift(row) & 15)
            case .rowMajor(let wordsPerRow):
                let word = words[row * wordsPerRow + column / perWord]
                integer = Int(word >> UInt32(bits * (column % perWord)) & mask)
            case .bytes: integer = Int(Int8(bitPattern: bytes[row * columns + column]))
            }
            let index = row * groups + group
            return (integer - Int(zeros[index]), index)
        }

        /// The form that has exactly these values, or f32.
        func stored() -> StoredTensor {
            var type = StoredType.f32
            // Groups must not cross the blocks of 32, and scales must be exact in f16.
            if groupOfColumn.isEmpty, columns / groups % 32 == 0,
                scales.allSatisfy({ Float(Float16($0)) == $0 })
            {
                let isBytes = if case .bytes = order { true } else { false }
                if bits == 4, zeros.allSatisfy({ $0 == 8 }) {
                    type = .q4_0
                } else if bits == 4 || zeros.allSatisfy({ $0 == (isBytes ? 0 : 128) }) {
                    type = .q8_0
                }
            }
            return StoredTensor(
                name: name, type: type, shape: [rows, columns],
                reader: LayerReader(layer: self, type: type))
        }
    }

    /// Gives the bytes of a layer in the form chosen for it, whole blocks at a time.
    private struct LayerReader: TensorReader {
        let layer: Layer
        let type: StoredType

        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(BackendError) {
            let block = type.block
            let total = layer.rows * layer.columns / block.values
            let (first, count) = (offset / block.bytes, buffer.count / block.bytes)
            guard offset >= 0, offset % block.bytes == 0, buffer.count % block.bytes == 0,
                count <= total, first <= total - count
            else {
                throw .unreadable(
                    tensor: layer.name,
                    reason: "\(buffer.count) bytes at \(offset) are not whole blocks of it")
            }
            let blocksPerRow = layer.columns / block.values
            for index in 0..<count {
                let (row, place) = ((first + index) / blocksPerRow, (first + index) % blocksPerRow)
                let target = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: buffer[index * block.bytes..<(index + 1) * block.bytes])
                unsafe write(row, place * block.values, into: target)
            }
        }

        private func write(_ row: Int, _ column: Int, into target: UnsafeMutableRawBufferPointer) {
            if type == .f32 {
                let (difference, scale) = layer.value(row, column)
                let value = Float(difference) * layer.scales[scale]
                unsafe target.storeBytes(of: value.bitPattern.littleEndian, as: UInt32.self)
                return
            }
            let scale = Float16(layer.scales[layer.value(row, column).scale])
            unsafe target.storeBytes(of: scale.bitPattern.littleEndian, as: UInt16.self)
            if type == .q8_0 {
                for i in 0..<32 {
                    let value = Int8(truncatingIfNeeded: layer.value(row, column + i).difference)
                    unsafe target[2 + i] = UInt8(bitPattern: value)
                }
            } else {
                for i in 0..<16 {
                    let low = layer.value(row, column + i).difference + 8
                    let high = layer.value(row, column + i + 16).difference + 8
                    unsafe target[2 + i] = UInt8(truncatingIfNeeded: low | high << 4)
                }
            }
        }
    }
}
