import AutoGLMJSON
import OrderedCollections

/// Texts of JSON values by which equal values are equal: for `uniqueItems`.
enum CanonicalJSON {
    static func key(of text: [UInt8]) -> [UInt8] {
        guard let value = try? JSONValue.parse(text) else { return text }
        var result: [UInt8] = []
        write(value, to: &result)
        return result
    }

    private static func write(_ value: JSONValue, to text: inout [UInt8]) {
        if let number = SchemaNormalizer.decimal(value) {
            text += Array("\(number.isNegative ? "-" : "")".utf8)
            text += number.digits.map { $0 + 0x30 }
            text += Array("e\(number.exponent)".utf8)
            return
        }
        switch value {
        case .array(let elements):
            text.append(UInt8(ascii: "["))
            for element in elements {
                write(element, to: &text)
                text.append(UInt8(ascii: ","))
            }
        case .object(let members):
            text.append(UInt8(ascii: "{"))
            for (key, value) in members.sorted(by: {
                $0.key.utf8.lexicographicallyPrecedes($1.key.utf8)
            }) {
                text.append(0x22)
                text += StringLexer.canonical(Array(key.utf8))
                text.append(0x22)
                write(value, to: &text)
            }
            text.append(UInt8(ascii: "}"))
        case .string(let string):
            text.append(0x22)
            text += StringLexer.canonical(Array(string.utf8))
            text.append(0x22)
        default:
            text += Array(value.serialized(.compact).utf8)
        }
    }
}
