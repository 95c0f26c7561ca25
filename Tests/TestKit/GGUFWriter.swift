import Foundation

/// Writes small GGUF files, version 3.
public struct GGUFWriter: Sendable {
    public enum Value: Sendable {
        case u16(UInt16), u32(UInt32), i32(Int32), f32(Float), bool(Bool), string(String)
        case strings([String]), floats([Float]), i32s([Int32])
    }
    public struct Tensor: Sendable {
        public var name: String
        /// Outermost first, as everywhere but in the file.
        public var shape: [Int]
        /// The type number of ggml.
        public var type: UInt32
        public var bytes: [UInt8]
        public init(name: String, shape: [Int], type: UInt32, bytes: [UInt8]) {
            (self.name, self.shape, self.type, self.bytes) = (name, shape, type, bytes)
        }
    }

    public var metadata: [(key: String, value: Value)] = []
    public var tensors: [Tensor] = []
    public init() {}

    public func file() -> [UInt8] {
        var out: [UInt8] = Array("GGUF".utf8)
        func put<T: FixedWidthInteger>(_ value: T) {
            for shift in stride(from: 0, to: T.bitWidth, by: 8) {
                out.append(UInt8(truncatingIfNeeded: value >> T(shift)))
            }
        }
        func put(_ text: String) {
            put(UInt64(text.utf8.count))
            out += Array(text.utf8)
        }
        func put(_ value: Value) {
            switch value {
            case .u16(let value): put(UInt32(2)); put(value)
            case .u32(let value): put(UInt32(4)); put(value)
            case .i32(let value): put(UInt32(5)); put(value)
            case .f32(let value): put(UInt32(6)); put(value.bitPattern)
            case .bool(let value): put(UInt32(7)); put(UInt8(value ? 1 : 0))
            case .string(let value): put(UInt32(8)); put(value)
            case .strings(let values):
                put(UInt32(9)); put(UInt32(8)); put(UInt64(values.count))
                for value in values { put(value) }
            case .floats(let values):
                put(UInt32(9)); put(UInt32(6)); put(UInt64(values.count))
                for value in values { put(value.bitPattern) }
            case .i32s(let values):
                put(UInt32(9)); put(UInt32(5)); put(UInt64(values.count))
                for value in values { put(value) }
            }
        }
        put(UInt32(3))
        put(UInt64(tensors.count))
        put(UInt64(metadata.count))
        for entry in metadata {
            put(entry.key)
            put(entry.value)
        }
        var data: [UInt8] = []
        for tensor in tensors {
            put(tensor.name)
            put(UInt32(tensor.shape.count))
            for size in tensor.shape.reversed() { put(UInt64(size)) }
            put(tensor.type)
            put(UInt64(data.count))
            data += tensor.bytes
            data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
        }
        out += [UInt8](repeating: 0, count: (32 - out.count % 32) % 32)
        return out + data
    }
}
