/// Unicode normalization forms (UAX #15) over UTF-8 bytes, from the generated tables.
///
/// Most text is already NFC: a scan with a one-byte table decides that before any work is done.
enum NormalizationForm: Sendable {
    case nfc, nfd, nfkc, nfkd

    func apply(to bytes: [UInt8]) -> [UInt8] {
        if self == .nfc, !NormalizationTables.shared.mayChangeNFC(bytes) { return bytes }
        if !bytes.contains(where: { $0 >= 0x80 }) { return bytes }
        let tables = NormalizationTables.shared
        let compatibility = self == .nfkc || self == .nfkd
        var scalars: [UInt32] = []
        scalars.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let (scalar, length) = UTF8Scan.decode(bytes, at: index, end: bytes.count)
            tables.decompose(scalar, compatibility: compatibility, into: &scalars)
            index += length
        }
        tables.order(&scalars)
        if self == .nfc || self == .nfkc { tables.compose(&scalars) }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        for scalar in scalars { UTF8Scan.append(code: scalar, to: &result) }
        return result
    }
}

/// The tables, parsed on first use; about 1 ms.
struct NormalizationTables: Sendable {
    static let shared = NormalizationTables()

    private let canonical: [UInt32: [UInt32]]
    private let compatibility: [UInt32: [UInt32]]
    private let compositions: [UInt64: UInt32]
    private let combiningClass: [UInt8]
    private let nfcDoubtful: [Bool]

    private init() {
        canonical = Dictionary(
            uniqueKeysWithValues: Self.entries(UnicodeData.canonical).map { ($0.code, $0.values) })
        compatibility = Dictionary(
            uniqueKeysWithValues: Self.entries(UnicodeData.compatibility).map {
                ($0.code, $0.values)
            })
        var pairs: [UInt64: UInt32] = [:]
        for entry in Self.entries(UnicodeData.compositions) where entry.values.count == 2 {
            pairs[UInt64(entry.values[0]) << 32 | UInt64(entry.values[1])] = entry.code
        }
        compositions = pairs
        var classes = [UInt8](repeating: 0, count: UnicodeData.limit)
        for entry in Self.entries(UnicodeData.combining) where entry.values.count == 2 {
            for offset in 0..<Int(entry.values[0]) {
                classes[Int(entry.code) + offset] = UInt8(truncatingIfNeeded: entry.values[1])
            }
        }
        combiningClass = classes
        var doubtful = [Bool](repeating: false, count: UnicodeData.limit)
        for entry in Self.entries(UnicodeData.nfcDoubtful) where entry.values.count == 1 {
            for offset in 0..<Int(entry.values[0]) { doubtful[Int(entry.code) + offset] = true }
        }
        nfcDoubtful = doubtful
    }

    /// Reads `gap:hex,hex gap:hex …`; gaps count from the entry before.
    private static func entries(_ text: String) -> [(code: UInt32, values: [UInt32])] {
        var result: [(code: UInt32, values: [UInt32])] = []
        var code: UInt32 = 0
        var number: UInt32 = 0
        var values: [UInt32] = []
        func finish() {
            values.append(number)
            result.append((code, values))
            values = []
            number = 0
        }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: ":"):
                code += number
                number = 0
            case UInt8(ascii: ","):
                values.append(number)
                number = 0
            case UInt8(ascii: " "): finish()
            case 0x30...0x39: number = number << 4 | UInt32(byte - 0x30)
            default: number = number << 4 | UInt32(byte - 0x61 + 10)
            }
        }
        finish()
        return result
    }

    /// False when the text is certainly in NFC already.
    func mayChangeNFC(_ bytes: [UInt8]) -> Bool {
        var index = 0
        while index < bytes.count {
            // Below U+0300 (lead bytes up to 0xCB) nothing composes or decomposes.
            if bytes[index] < 0xCC {
                index += 1
                continue
            }
            let (scalar, length) = UTF8Scan.decode(bytes, at: index, end: bytes.count)
            if Int(scalar) < nfcDoubtful.count, nfcDoubtful[Int(scalar)] { return true }
            index += length
        }
        return false
    }

    func decompose(_ scalar: UInt32, compatibility wide: Bool, into output: inout [UInt32]) {
        if scalar < 0xA0 {
            output.append(scalar)
        } else if (0xAC00..<0xD7A4).contains(scalar) {
            let index = scalar - 0xAC00
            output.append(0x1100 + index / 588)
            output.append(0x1161 + index % 588 / 28)
            if index % 28 != 0 { output.append(0x11A7 + index % 28) }
        } else if wide, let mapped = compatibility[scalar] {
            output.append(contentsOf: mapped)
        } else if let mapped = canonical[scalar] {
            output.append(contentsOf: mapped)
        } else {
            output.append(scalar)
        }
    }

    private func combining(_ scalar: UInt32) -> UInt8 {
        Int(scalar) < combiningClass.count ? combiningClass[Int(scalar)] : 0
    }

    /// Sorts each run of combining marks by class, stably.
    func order(_ scalars: inout [UInt32]) {
        var index = 0
        while index < scalars.count {
            guard combining(scalars[index]) != 0 else {
                index += 1
                continue
            }
            let start = index
            while index < scalars.count, combining(scalars[index]) != 0 { index += 1 }
            if index - start > 1 {
                // The standard library's sort is stable; a run of a million marks stays n log n.
                let sorted = scalars[start..<index].sorted { combining($0) < combining($1) }
                scalars.replaceSubrange(start..<index, with: sorted)
            }
        }
    }

    func compose(_ scalars: inout [UInt32]) {
        var write = 0
        var starter = -1
        var lastClass: UInt8 = 0
        for scalar in scalars {
            let mark = combining(scalar)
            // A mark composes with the starter unless one of its class or higher stands between.
            let reachable = starter == write - 1 || (lastClass != 0 && lastClass < mark)
            if starter >= 0, reachable, let whole = composed(scalars[starter], scalar) {
                scalars[starter] = whole
                continue
            }
            if mark == 0 { starter = write }
            lastClass = mark
            scalars[write] = scalar
            write += 1
        }
        scalars.removeSubrange(write...)
    }

    private func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
            return 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
        }
        if (0xAC00..<0xD7A4).contains(first), (first - 0xAC00) % 28 == 0,
            (0x11A8..<0x11C3).contains(second)
        {
            return first + (second - 0x11A7)
        }
        return compositions[UInt64(first) << 32 | UInt64(second)]
    }
}
