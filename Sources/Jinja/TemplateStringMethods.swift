import OrderedCollections

/// Names of the methods templates may call on each type. Mutating ones answer as in Jinja's
/// immutable sandbox: they can be looked up and refuse to be called.
enum TemplateMethods {
    static let text: Set<String> = [
        "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format",
        "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier",
        "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join", "ljust",
        "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
        "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
        "strip", "swapcase", "title", "upper", "zfill",
    ]
    /// Those that only a `Markup` has.
    static let markup: Set<String> = ["escape", "striptags", "unescape"]
    static let dict: Set<String> = ["copy", "get", "items", "keys", "values"]
    static let dictUnsafe: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
    static let list: Set<String> = ["copy", "count", "index"]
    static let listUnsafe: Set<String> = [
        "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
    ]
    static let tuple: Set<String> = ["count", "index"]
    static let number: Set<String> = ["bit_length", "is_integer"]

    /// Lines as `str.splitlines` cuts them, as byte ranges.
    static func lines(of text: TemplateText, keepsEnds: Bool) -> [Range<Int>] {
        var result: [Range<Int>] = []
        var start = 0
        var index = 0
        while index < text.count {
            let (scalar, next) = text.scalar(at: index)
            var end = next
            switch scalar.value {
            case 0x0D:
                if next < text.count && text.bytes[next] == 0x0A { end += 1 }
            case 0x0A, 0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029: break
            default:
                index = next
                continue
            }
            result.append(start..<(keepsEnds ? end : index))
            start = end
            index = end
        }
        if start < text.count { result.append(start..<text.count) }
        return result
    }

    /// `str.isupper` and `str.islower`.
    static func hasCase(_ text: TemplateText, upper: Bool) throws(TemplateError) -> Bool {
        var seen = false
        for scalar in text.string.unicodeScalars where scalar.properties.isCased {
            let isTitle = scalar.properties.generalCategory == .titlecaseLetter
            let matches = upper ? scalar.properties.isUppercase : scalar.properties.isLowercase
            if isTitle || !matches { return false }
            seen = true
        }
        return seen
    }

    /// Predicates that ask the same of every code point.
    static func all(_ name: String, _ text: TemplateText) -> Bool {
        let scalars = text.string.unicodeScalars
        if name == "isascii" { return text.isASCII }
        if name == "isprintable" { return scalars.allSatisfy(\.isPythonPrintable) }
        if scalars.isEmpty { return false }
        switch name {
        case "isalnum": return scalars.allSatisfy(\.isPythonAlphanumeric)
        case "isalpha": return scalars.allSatisfy(\.isPythonAlphabetic)
        case "isspace": return scalars.allSatisfy(\.isPythonSpace)
        case "isdecimal":
            return scalars.allSatisfy { $0.properties.generalCategory == .decimalNumber }
        case "isdigit":
            return scalars.allSatisfy {
                $0.properties.numericType == .decimal || $0.properties.numericType == .digit
            }
        case "isnumeric": return scalars.allSatisfy { $0.properties.numericType != nil }
        default:
            let isStart = scalars.first.map { $0 == "_" || $0.properties.isXIDStart } ?? false
            return isStart && scalars.allSatisfy { $0.properties.isXIDContinue }
        }
    }

    static func isTitle(_ text: TemplateText) -> Bool {
        var afterCased = false
        var seen = false
        for scalar in text.string.unicodeScalars {
            let properties = scalar.properties
            if properties.isUppercase || properties.generalCategory == .titlecaseLetter {
                if afterCased { return false }
                (afterCased, seen) = (true, true)
            } else if properties.isLowercase {
                if !afterCased { return false }
                seen = true
            } else {
                afterCased = false
            }
        }
        return seen
    }
}

extension TemplateInterpreter {
    // MARK: Stripping

    /// What `strip` removes: white space, or the code points of a string.
    enum Strippable {
        case space
        case scalars(Set<Unicode.Scalar>)

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            switch self {
            case .space: scalar.isPythonSpace
            case .scalars(let set): set.contains(scalar)
            }
        }
    }

    func strippable(_ value: TemplateValue?) throws(TemplateError) -> Strippable {
        switch value {
        case nil, .none?: return .space
        case .text(let text)?: return .scalars(Set(text.string.unicodeScalars))
        case .some(let other):
            throw TemplateError(
                .type, "strip arg must be None or str, not \(other.typeName)")
        }
    }

    func strip(
        _ text: TemplateText, _ what: Strippable, left: Bool = true, right: Bool = true
    ) -> TemplateText {
        var start = 0
        var end = text.count
        while left, start < end {
            let (scalar, next) = text.scalar(at: start)
            guard what.contains(scalar) else { break }
            start = next
        }
        while right, end > start {
            let before = text.scalarStart(before: end)
            guard what.contains(text.scalar(at: before).scalar) else { break }
            end = before
        }
        return text[start..<end]
    }

    // MARK: Splitting

    func split(_ text: TemplateText, _ separator: TemplateText?, _ limit: Int)
        throws(TemplateError) -> [TemplateText]
    {
        try spend(bytes: text.count * 2)
        guard let separator else { return try collectWords(text, limit) }
        guard !separator.isEmpty else { throw TemplateError(.value, "empty separator") }
        var result: [TemplateText] = []
        var start = 0
        while limit < 0 || result.count < limit, let found = text.find(separator, from: start) {
            try spend(1)
            result.append(text[start..<found])
            start = found + separator.count
        }
        result.append(text[start..<text.count])
        return result
    }

    private func collectWords(_ text: TemplateText, _ limit: Int) throws(TemplateError)
        -> [TemplateText]
    {
        var result: [TemplateText] = []
        var index = 0
        while true {
            while index < text.count {
                let (scalar, next) = text.scalar(at: index)
                if !scalar.isPythonSpace { break }
                index = next
            }
            if index == text.count { return result }
            try spend(1)
            if limit >= 0 && result.count == limit {
                result.append(strip(text[index..<text.count], .space, left: false))
                return result
            }
            let start = index
            while index < text.count {
                let (scalar, next) = text.scalar(at: index)
                if scalar.isPythonSpace { break }
                index = next
            }
            result.append(text[start..<index])
        }
    }

    func splitFromRight(_ text: TemplateText, _ separator: TemplateText?, _ limit: Int)
        throws(TemplateError) -> [TemplateText]
    {
        if limit < 0 { return try split(text, separator, limit) }
        try spend(bytes: text.count * 2)
        var result: [TemplateText] = []
        var end = text.count
        guard let separator else { return try splitAtSpaceFromRight(text, limit) }
        guard !separator.isEmpty else { throw TemplateError(.value, "empty separator") }
        while result.count < limit, let found = text.findLast(separator, to: end) {
            try spend(1)
            result.append(text[(found + separator.count)..<end])
            end = found
        }
        result.append(text[0..<end])
        return result.reversed()
    }

    private func splitAtSpaceFromRight(_ text: TemplateText, _ limit: Int) throws(TemplateError)
        -> [TemplateText]
    {
        let words = try collectWords(text, -1)
        if words.count <= limit { return words }
        // The head keeps its inner spaces: cut the last words off the end one by one.
        var head = strip(text, .space, left: false)
        for word in words.suffix(limit).reversed() {
            head = strip(head[0..<(head.count - word.count)], .space, left: false)
        }
        return [strip(head, .space)] + words.suffix(limit)
    }

    // MARK: Replacing and padding

    func replace(
        _ text: TemplateText, _ old: TemplateText, _ new: TemplateText, _ limit: Int
    ) throws(TemplateError) -> TemplateText {
        try spend(bytes: text.count)
        var result = TemplateText()
        var count = 0
        var start = 0
        if old.isEmpty {
            // Python inserts before every code point and at the end.
            for (index, next) in zip(text.scalarOffsets, text.scalarOffsets.dropFirst()) {
                if limit >= 0 && count == limit { break }
                try spend(1)
                result.append(new)
                result.append(text, index..<next)
                start = next
                count += 1
                guard result.count <= limits.stringBytes else { break }
            }
            if limit < 0 || count < limit { result.append(new) }
        } else {
            while limit < 0 || count < limit, let found = text.find(old, from: start) {
                try spend(1)
                result.append(text, start..<found)
                result.append(new)
                start = found + old.count
                count += 1
                guard result.count <= limits.stringBytes else { break }
            }
        }
        result.append(text, start..<text.count)
        try check(stringBytes: result.count)
        return result
    }

    enum Alignment { case left, right, center }

    func pad(
        _ text: TemplateText, _ width: Int, _ filler: TemplateText, _ alignment: Alignment
    ) throws(TemplateError) -> TemplateText {
        let missing = width - text.scalarCount
        if missing <= 0 { return text }
        guard filler.scalarCount == 1 else {
            throw TemplateError(
                .type, "The fill character must be exactly one character long")
        }
        let (size, overflow) = missing.multipliedReportingOverflow(by: filler.count)
        try check(stringBytes: overflow ? Int.max : text.count + size)
        let before =
            switch alignment {
            case .left: 0
            case .right: missing
            case .center: missing / 2 + (missing & width & 1)
            }
        var result = TemplateText()
        for _ in 0..<before { result.append(filler) }
        result.append(text)
        for _ in 0..<(missing - before) { result.append(filler) }
        return result
    }
}
