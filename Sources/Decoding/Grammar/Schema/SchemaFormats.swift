/// The formats that are enforced, as regular expressions of whole texts; others are annotations.
/// Of `regex`, which is no regular language, a part is allowed: groups up to three deep.
enum SchemaFormats {
    static let patterns: [String: String] = [
        "date": date,
        "time": time,
        "date-time": date + "[Tt ]" + time,
        "duration": duration,
        "email": #"[^\s@"<>(),:;\[\]\\]+@[^\s@"<>(),:;\\]+"#,
        "idn-email": #"[^\s@"<>(),:;\[\]\\]+@[^\s@"<>(),:;\\]+"#,
        "hostname": hostname,
        "idn-hostname": #"[^\s./\\:?#@]{1,63}(\.[^\s./\\:?#@]{1,63})*\.?"#,
        "ipv4": ipv4,
        "ipv6": ipv6,
        "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
        "uri": uri(#"[A-Za-z0-9\-._~"#),
        "iri": uri(#"[A-Za-z0-9\-._~\x{A0}-\x{D7FF}\x{E000}-\x{10FFFF}"#),
        "uri-reference": reference(#"[A-Za-z0-9\-._~"#),
        "iri-reference": reference(#"[A-Za-z0-9\-._~\x{A0}-\x{D7FF}\x{E000}-\x{10FFFF}"#),
        "uri-template":
            #"([^\x00-\x20"'<>\\^`{|}%]|%[0-9A-Fa-f]{2}|\{[+#./;?&=,!@|]?"#
            + #"([A-Za-z0-9_.]|%[0-9A-Fa-f]{2})+(:[0-9]{1,4}|\*)?"#
            + #"(,([A-Za-z0-9_.]|%[0-9A-Fa-f]{2})+(:[0-9]{1,4}|\*)?)*\})*"#,
        "regex": expression,
        "json-pointer": #"(/([^/~]|~[01])*)*"#,
        "relative-json-pointer": #"(0|[1-9][0-9]*)([+\-][1-9][0-9]*)?(#|(/((?s:[^/~])|~[01])*)*)"#,
    ]

    /// RFC 3339, with the days that a month has and leap years.
    private static let date =
        "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
        + "|02-(0[1-9]|1[0-9]|2[0-8]))"
        + "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
    /// Without leap seconds: which of them have been is not written in the text.
    private static let time =
        #"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"#
        + "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    /// RFC 3339, appendix A.
    private static let duration =
        "P((([0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D)(T(\(clock)))?)|T(\(clock))"
        + "|[0-9]+W)"
    private static let clock = "[0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S"

    /// What is a regular expression in every dialect.
    private static let expression: String = {
        let escape = #"\\[dDwWsSbBnrtfv.*+?()\[\]{}|^$\\/-]"#
        let item = #"([^\\\]\[-]|a-z|A-Z|0-9|"# + escape + ")"
        let atom = #"([^\\^$.|?*+()\[\]{}]|\.|\[\^?"# + item + #"+-?\]|"# + escape + ")"
        let count = #"(([*+?]|\{[0-9]{1,3},?\})\??)?"#
        var pieces = "(" + atom + count + #"|[\^$])*"#
        for _ in 0..<3 {
            let group = #"\((\?:)?"# + pieces + #"(\|"# + pieces + #")*\)"#
            pieces = "((" + atom + "|" + group + ")" + count + #"|[\^$])*"#
        }
        return pieces + #"(\|"# + pieces + ")*"
    }()

    private static let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    private static let hostname = #"\#(label)(\.\#(label))*"#
    private static let byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    private static let ipv4 = #"\#(byte)(\.\#(byte)){3}"#

    private static let ipv6: String = {
        let group = "[0-9A-Fa-f]{1,4}"
        let tail = "(\(group):\(group)|\(ipv4))"
        var forms = [
            "(\(group):){6}\(tail)", "::(\(group):){5}\(tail)",
            "(\(group))?::(\(group):){4}\(tail)",
        ]
        for before in 1...4 {
            let left = "((\(group):){0,\(before)}\(group))?"
            let right = before == 4 ? tail : "(\(group):){\(4 - before)}\(tail)"
            forms.append(left + "::" + right)
        }
        forms.append("((\(group):){0,5}\(group))?::\(group)")
        forms.append("((\(group):){0,6}\(group))?::")
        return forms.map { "(\($0))" }.joined(separator: "|")
    }()

    private static func part(_ unreserved: String, _ more: String) -> String {
        "(" + unreserved + "!$&'()*+,;=" + more + "]|%[0-9A-Fa-f]{2})"
    }

    private static func authority(_ unreserved: String) -> String {
        let address = #"(\[([0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]|"#
            + part(unreserved, "") + "*)"
        return "(" + part(unreserved, ":") + "*@)?" + address + "(:[0-9]*)?"
    }

    private static func ending(_ unreserved: String) -> String {
        let more = part(unreserved, ":@/?")
        return #"(\?\#(more)*)?(#\#(more)*)?"#
    }

    /// RFC 3986, 3.
    private static func uri(_ unreserved: String) -> String {
        let segment = part(unreserved, ":@")
        return "[A-Za-z][A-Za-z0-9+.-]*:(//\(authority(unreserved))(/\(segment)*)*"
            + "|/(\(segment)+(/\(segment)*)*)?|\(segment)+(/\(segment)*)*|)"
            + ending(unreserved)
    }

    /// RFC 3986, 4.1.
    private static func reference(_ unreserved: String) -> String {
        let segment = part(unreserved, ":@")
        let first = part(unreserved, "@")
        return "(\(uri(unreserved))|(//\(authority(unreserved))(/\(segment)*)*"
            + "|/(\(segment)+(/\(segment)*)*)?|\(first)+(/\(segment)*)*|)\(ending(unreserved)))"
    }
}
