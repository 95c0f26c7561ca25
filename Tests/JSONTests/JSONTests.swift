import AutoGLMJSON
import Foundation
import TestKit
import Testing

/// JSON as RFC 8259 has it, printed as Python prints it.
@Suite struct JSONTests {
    @Test(.enabled(if: SharedData.url("json-parsing/test_parsing") != nil))
    func parsingSuite() throws {
        let folder = try #require(SharedData.url("json-parsing/test_parsing"))
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        var counted = 0
        for file in files where file.hasSuffix(".json") {
            let bytes = [UInt8](try Data(contentsOf: folder.appendingPathComponent(file)))
            let value = try? JSONValue.parse(bytes)
            if file.hasPrefix("y_") { #expect(value != nil, "\(file)") }
            if file.hasPrefix("n_") { #expect(value == nil, "\(file)") }
            // What was read must survive printing and reading again.
            if let value { #expect(try JSONValue.parse(value.serialized()) == value, "\(file)") }
            counted += 1
        }
        #expect(counted > 20)
    }

    @Test func printsLikePython() throws {
        let text =
            #"{"b":[1,2.0,1e-7,1e22,-0.5,true,null],"#
            + #""a":{"ключ":"é\n\"\u0001🙂\u007f"},"e":[],"o":{}}"#
        let value = try JSONValue.parse(text)
        #expect(
            value.serialized()
                == #"{"b": [1, 2.0, 1e-07, 1e+22, -0.5, true, null], "#
                + #""a": {"\u043a\u043b\u044e\u0447": "\u00e9\n\"\u0001\ud83d\ude42"#
                + "\u{7f}" + #""}, "e": [], "o": {}}"#)
        #expect(
            try JSONValue.parse(#"{"b":[1,{}],"a":"é"}"#)
                .serialized(JSONWriteOptions(ensureASCII: false, indent: 2, sortKeys: true))
                == "{\n  \"a\": \"é\",\n  \"b\": [\n    1,\n    {}\n  ]\n}")
        #expect(value["b"]?[0]?.intValue == 1)
    }

    @Test func refusesWithOffsets() {
        func reason(
            _ text: String, _ options: JSONParseOptions = JSONParseOptions()
        ) -> JSONError? {
            do throws(JSONError) {
                _ = try JSONValue.parse(text, options: options)
                return nil
            } catch { return error }
        }
        #expect(reason("[1, 2,]") == JSONError(reason: .unexpectedByte(0x5D), offset: 6))
        #expect(reason("[1, 2,]")?.explanation == "unexpected ']'")
        #expect(reason("\u{7}")?.explanation == "unexpected byte 0x7")
        #expect(reason("[\"\\ud800\"]")?.reason == .loneSurrogate)
        #expect(reason("[\"\\ud800\"]", .checkpointFile) == nil)
        #expect(reason("1e999")?.reason == .numberOutOfRange)
        #expect(reason(String(repeating: "[", count: 600))?.reason == .tooDeep(limit: 512))
        #expect(reason("9223372036854775808") == nil)
        #expect(reason("{} x") == JSONError(reason: .trailingBytes, offset: 3))
    }

    @Test func optionsWidenAndNarrow() throws {
        let text = "\u{FEFF}{\"a\": NaN, \"b\": [Infinity, -Infinity], \"a\": 1}"
        let value = try JSONValue.parse(text, options: .checkpointFile)
        #expect(value == ["a": 1, "b": [.double(.infinity), .double(-.infinity)]])
        #expect(throws: JSONError(reason: .unexpectedByte(0xEF), offset: 0)) {
            try JSONValue.parse(text)
        }
        for word in ["NaN", "Infinity", "-Infinity"] {
            #expect(throws: JSONError.self) { try JSONValue.parse(word) }
        }
        var narrow = JSONParseOptions()
        narrow.refusesRepeatedKeys = true
        narrow.valuesMax = 4
        narrow.numberBytesMax = 30
        for text in [#"{"a":1,"a":2}"#, #"{"a":1,"\u0061":2}"#] {
            #expect { try JSONValue.parse(text, options: narrow) } throws: {
                ($0 as? JSONError)?.reason == .repeatedKey
            }
        }
        #expect(try JSONValue.parse("[1,2,3]", options: narrow).arrayValue?.count == 3)
        #expect(throws: JSONError(reason: .tooManyValues(limit: 4), offset: 7)) {
            try JSONValue.parse("[1,2,3,4]", options: narrow)
        }
        let digits = String(repeating: "7", count: 31)
        #expect(throws: JSONError(reason: .numberTooLong(limit: 30), offset: 0)) {
            try JSONValue.parse(digits, options: narrow)
        }
        let shorter = String(digits.dropLast())
        #expect(try JSONValue.parse(shorter, options: narrow) == .bigInt(shorter))
    }

    /// A cursor skips what nobody asks for, and reads the part again when asked.
    @Test func cursorReadsRanges() throws {
        let bytes = Array(#"{"skip":{"x":"}\"]"},"ids":[3,-4],"name":"a\u00e9"}"#.utf8)
        var cursor = JSONCursor(bytes)
        var ranges: [String: Range<Int>] = [:]
        try cursor.readMembers { (cursor, key) throws(JSONError) in
            ranges[key] = try cursor.skipValue()
        }
        try cursor.expectEnd()
        func part(_ key: String) throws -> JSONCursor {
            let range: Range<Int> = try #require(ranges[key])
            return JSONCursor(bytes, range: range)
        }
        var ids: [Int64] = []
        cursor = try part("ids")
        try cursor.readElements { (cursor) throws(JSONError) in ids.append(try cursor.readInt()) }
        #expect(ids == [3, -4])
        cursor = try part("name")
        #expect(try cursor.readString() == "aé")
        cursor = try part("skip")
        #expect(try cursor.readValue()["x"] == "}\"]")
    }

    @Test(arguments: ["1.0", "1e2", "9223372036854775808", "\"1\"", "null"])
    func anIntegerIsWrittenAsOne(text: String) {
        var cursor = JSONCursor(Array(text.utf8))
        #expect(throws: JSONError(reason: .wrongType(expected: "an integer"), offset: 0)) {
            try cursor.readInt()
        }
    }

    @Test(arguments: [[0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xE4, 0xBD]] as [[UInt8]])
    func refusesInvalidUTF8(text: [UInt8]) {
        #expect(throws: JSONError(reason: .invalidUTF8, offset: 1)) {
            try JSONValue.parse(Array("[\"".utf8) + text + Array("\"]".utf8))
        }
    }
}
