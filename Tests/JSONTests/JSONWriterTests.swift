import AutoGLMJSON
import Testing

/// The one writer, byte by byte, in each of the styles that files and clients know.
@Suite struct JSONWriterTests {
    /// Every control character, the two that must be escaped, and some that need not.
    static let text: String = {
        var scalars = String.UnicodeScalarView()
        for value in UInt8(0)..<0x20 { scalars.append(Unicode.Scalar(value)) }
        return String(scalars) + "\"\\/ \u{7F}é\u{2028}🙂"
    }()

    static func written(_ options: JSONWriteOptions) -> String {
        var json = JSONWriter(options)
        json.string(text)
        return json.text
    }

    /// `\u0000` and so on, with letters for some.
    static func controls(_ letters: [Int: String]) -> String {
        (0..<0x20).map { value in
            letters[value] ?? "\\u00" + (value < 16 ? "0" : "") + String(value, radix: 16)
        }.joined()
    }

    @Test func pythonEscapes() {
        let controls = Self.controls([8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"])
        #expect(
            Self.written(JSONWriteOptions())
                == "\"\(controls)\\\"\\\\/ \u{7F}\\u00e9\\u2028\\ud83d\\ude42\"")
        #expect(
            Self.written(JSONWriteOptions(ensureASCII: false))
                == "\"\(controls)\\\"\\\\/ \u{7F}é\u{2028}🙂\"")
        #expect(JSONValue.string(Self.text).serialized() == Self.written(JSONWriteOptions()))
    }

    @Test func wireEscapes() {
        let controls = Self.controls([9: "\\t", 10: "\\n", 13: "\\r"])
        #expect(Self.written(.compact) == "\"\(controls)\\\"\\\\/ \\u007fé\u{2028}🙂\"")
        var log = JSONWriteOptions.compact
        log.escapes.letters = [0x0A]
        #expect(
            Self.written(log) == "\"\(Self.controls([10: "\\n"]))\\\"\\\\/ \\u007fé\u{2028}🙂\"")
        var header = JSONWriteOptions.compact
        header.escapes = JSONWriteOptions.Escapes(letters: [], coversDelete: false)
        #expect(
            Self.written(header) == "\"\(Self.controls([:]))\\\"\\\\/ \u{7F}é\u{2028}🙂\"")
    }

    static func numbers(_ options: JSONWriteOptions) -> String {
        var json = JSONWriter(options)
        json.beginArray()
        for value in [1.5, -0.0, 1e22, 1e-300, .infinity, -.infinity, .nan] { json.double(value) }
        json.float(0.1)
        json.float(-.infinity)
        json.int(UInt64.max)
        json.number(digits: "123456789012345678901234567890")
        json.endArray()
        return json.text
    }

    @Test func numbersBeyondJSON() {
        #expect(
            Self.numbers(.compact)
                == "[1.5,-0.0,1e+22,1e-300,null,-9999,null,0.1,-9999,18446744073709551615,"
                + "123456789012345678901234567890]")
        #expect(
            Self.numbers(JSONWriteOptions())
                == "[1.5, -0.0, 1e+22, 1e-300, Infinity, -Infinity, NaN, 0.1, -Infinity, "
                + "18446744073709551615, 123456789012345678901234567890]")
    }

    /// Written in pieces or as a value, the text is the same.
    static func pieces(_ options: JSONWriteOptions) -> String {
        var json = JSONWriter(options)
        json.beginObject()
        json.key("b")
        json.beginArray()
        json.int(1)
        json.beginObject()
        json.endObject()
        json.beginArray()
        json.endArray()
        json.optional(nil)
        json.endArray()
        json.beginString()
        json.stringPart([0x61])
        json.stringPart([0x22, 0xC3, 0xA9])
        json.endString(isKey: true)
        json.bool(true)
        json.endObject()
        return json.text
    }

    @Test(arguments: [nil, 0, 2] as [Int?], [false, true])
    func piecesEqualValues(indent: Int?, ensureASCII: Bool) {
        let value: JSONValue = ["b": [1, [:], [], nil], "a\"é": true]
        let options = JSONWriteOptions(ensureASCII: ensureASCII, indent: indent)
        #expect(Self.pieces(options) == value.serialized(options))
    }

    @Test func layouts() throws {
        let value: JSONValue = ["b": [1, [:], []], "a": ["x": nil]]
        #expect(value.serialized() == #"{"b": [1, {}, []], "a": {"x": null}}"#)
        #expect(value.serialized(.compact) == #"{"b":[1,{},[]],"a":{"x":null}}"#)
        #expect(
            value.serialized(JSONWriteOptions(indent: 1, sortKeys: true))
                == "{\n \"a\": {\n  \"x\": null\n },\n \"b\": [\n  1,\n  {},\n  []\n ]\n}")
        #expect(
            JSONValue.array([1, 2]).serialized(JSONWriteOptions(indent: 0)) == "[\n1,\n2\n]")
        var options = JSONWriteOptions(itemSeparator: " ; ", keySeparator: "=")
        options.indent = "\t"
        #expect(
            JSONValue.object(["k": [true]]).serialized(options) == "{\n\t\"k\"=[\n\t\ttrue\n\t]\n}")
    }

    /// A stream frames its objects, and goes on from members prepared once.
    @Test func framesAndPreparedMembers() {
        var shared = JSONWriter()
        shared.key("created")
        shared.int(5)
        shared.key("model")
        shared.string("m")
        var json = JSONWriter()
        for index in 0..<2 {
            json.raw("data: ")
            json.beginObject()
            json.key("i")
            json.int(index)
            json.prepared(shared.bytes)
            json.key("end")
            json.null()
            json.endObject()
            json.raw("\n\n")
        }
        let members = #""created":5,"model":"m","end":null}"#
        #expect(
            json.text == "data: {\"i\":0,\(members)\n\ndata: {\"i\":1,\(members)\n\n")
        json.reset()
        json.value(1)
        #expect(json.text == "1")
    }
}
