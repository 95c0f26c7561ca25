import AutoGLMText
import TestKit
import Testing

@Suite struct StopStringTests {
    /// The definition: the match that ends first, the longest of those.
    private func reference(_ text: String, _ stops: [String]) -> (String, String?) {
        let bytes = Array(text.utf8)
        for end in 0...bytes.count {
            let matches = stops.filter { bytes[..<end].reversed().starts(with: $0.utf8.reversed()) }
            if let match = matches.max(by: { $0.utf8.count < $1.utf8.count }) {
                return (String(decoding: bytes[..<(end - match.utf8.count)], as: UTF8.self), match)
            }
        }
        return (text, nil)
    }

    @Test(arguments: UInt64(0)..<400) func everySplitGivesTheSame(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let letters = ["a", "b", "ü", "中"]
        func word(_ range: ClosedRange<Int>) -> String {
            (0..<Int.random(in: range, using: &random)).map { _ in
                letters.randomElement(using: &random)!
            }.joined()
        }
        let stops = (0..<Int.random(in: 1...4, using: &random)).map { _ in word(1...4) }
        let text = word(0...30)
        let expected = reference(text, stops)
        var matcher = StopStringMatcher(stops)
        var output = ""
        var found: String?
        var rest = Substring(text)
        while !rest.isEmpty, found == nil {
            let piece = rest.prefix(Int.random(in: 1...4, using: &random))
            rest = rest.dropFirst(piece.count)
            let (certain, match) = matcher.push(String(piece))
            output += certain
            found = match
            // Nothing that was let go may turn out to belong to a stop string.
            #expect(expected.0.hasPrefix(output))
        }
        if found == nil { output += matcher.flush() }
        #expect(output == expected.0)
        #expect(found == expected.1)
    }

    @Test func aLongRepetitionTakesLinearTime() {
        let stop = String(repeating: "a", count: 255) + "b"
        var matcher = StopStringMatcher([stop])
        var length = 0
        for _ in 0..<200_000 { length += matcher.push("a").text.utf8.count }
        length += matcher.flush().utf8.count
        #expect(length == 200_000)
    }
}
