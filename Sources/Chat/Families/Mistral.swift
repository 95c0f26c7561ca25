/// Mistral: `[TOOL_CALLS]name[ARGS]{…}`, in older ones `[TOOL_CALLS][{"name": …, "arguments": …}]`.
enum Mistral: Family {
    static let name = "mistral"
    static let turnEnds = ["[INST]", "[TOOL_RESULTS]"]
    static let thinking = ReasoningTags(open: "[THINK]", close: "[/THINK]")

    static func recognises(_ evidence: FamilyEvidence) -> Bool { evidence.mentions("[TOOL_CALLS]") }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(.mistral, open: "[TOOL_CALLS]")
        grammar.inner = ["[ARGS]", "[CALL_ID]"].map { Array($0.utf8) }
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        evidence.mentions("[ARGS]")
            ? CallFrame("[TOOL_CALLS]", "[ARGS]").between("")
            : CallFrame("{\"name\": \"", "\", \"arguments\": ").close("}")
                .lead("[TOOL_CALLS][").between(", ").tail("]")
    }

    /// The templates insist on nine letters and digits. Equal ids stay equal, and as good as all
    /// others differ.
    static func callID(_ id: String) -> String {
        let plain = id.utf8.filter {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
        }
        if plain.count >= 9 { return String(decoding: plain.suffix(9), as: UTF8.self) }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in id.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash % 101_559_956_668_416, radix: 36)
        return String(repeating: "0", count: 9 - digits.count) + digits
    }
}
