/// Where keys or items must differ, what has begun must be able to become a new one: else a text
/// would come to a place where nothing is allowed.
extension Automaton {
    /// Whether the key or item that has begun can end as none of those known.
    ///
    /// A bounded search; what it does not find counts as missing. Where it finds a way, it finds
    /// the rest of it after every step as well, since it then has less to search.
    ///
    /// - Parameters:
    ///   - begun: its text so far with the quote; empty before it begins.
    ///   - known: keys with their quotes; or items as ``CanonicalJSON`` writes them.
    func canDiffer(_ configuration: Int32, begun: [UInt8], from known: [[UInt8]]) -> Bool {
        var pending: [(place: Int32, text: [UInt8])] = [(configuration, begun)]
        var left = 64 + 16 * known.count
        while left > 0, let (place, text) = pending.popLast() {
            left -= 1
            for byte in UInt8.min...UInt8.max {
                let next = successor(place, byte)
                if next < 0 { continue }
                guard let isNew = Self.differs(text, byte, from: known) else {
                    pending.append((next, text + [byte]))
                    continue
                }
                if isNew { return true }
            }
        }
        return false
    }

    private static let numberMax = 40

    /// Whether a text is none of those known; nil as long as that is open.
    private static func differs(
        _ text: [UInt8], _ byte: UInt8, from known: [[UInt8]]
    ) -> Bool? {
        switch text.first ?? byte {
        case 0x22:
            // An escape that need not be one is the matter of the closing quote.
            let longer = text + [byte]
            if !known.contains(where: { $0.starts(with: longer) }) { return true }
            return known.contains(longer) ? false : nil
        case 0x2D, 0x30...0x39:
            switch byte {
            case 0x30...0x39, 0x2B, 0x2D, 0x2E, 0x45, 0x65:
                return text.count < numberMax ? nil : false
            default: return !known.contains(CanonicalJSON.key(of: text))
            }
        case 0x20, 0x09, 0x0A, 0x0D: return false
        case 0x61...0x7A: return !known.contains([byte])
        default: return true
        }
    }

    /// Drops what can only lead to a key or an item that stands already.
    func keepOpen(
        _ place: inout Place, _ byte: UInt8, _ offset: Int, _ text: (Int, Int) -> [UInt8]
    ) {
        guard place.configuration >= 0, let container = place.json.containers.last else { return }
        let isComma = byte == UInt8(ascii: ",") && !place.json.isInString
        if container.isArray {
            let depth = place.json.containers.count
            guard !container.items.isEmpty, isUnique(place.configuration, depth) else { return }
            var begun: [UInt8] = []
            if container.itemStart >= 0 {
                begun = text(container.itemStart, offset + 1)
                let isScalar = begun[0] == 0x22 ? place.json.isInString : begun[0] < 0x3A
                guard isScalar else { return }
            } else if !isComma || !mayRunOut(place.configuration) { return }
            if canDiffer(place.configuration, begun: begun, from: container.items) { return }
            place.configuration = keeping(place.configuration) {
                !self.isUnique(thread: $0, depth)
            }
        } else if tables.hasFewKeys {
            guard !container.keys.isEmpty, place.json.isInKey || isComma,
                hasFewKeys(place.configuration)
            else { return }
            let begun = place.json.isInKey
                ? [0x22] + text(place.json.contentStart, offset + 1) : []
            let known = container.keys.map { [0x22] + $0 + [0x22] }.filter {
                $0.starts(with: begun)
            }
            if known.isEmpty || canDiffer(place.configuration, begun: begun, from: known) {
                return
            }
            dropJSON(&place)
        }
    }

    private func hasFewKeys(_ configuration: Int32) -> Bool {
        threads(of: configuration).contains { thread in
            guard let frame = containers(thread).first else { return false }
            switch frame.kind {
            case .objectFirst, .objectNext, .objectKey, .key:
                return tables.objects[Int(objects[frame.a].rule)].hasFewKeys
            default: return false
            }
        }
    }

    private func mayRunOut(_ configuration: Int32) -> Bool {
        threads(of: configuration).contains { thread in
            guard let frame = containers(thread).first else { return false }
            switch frame.kind {
            case .arrayFirst, .arrayNext, .arrayItem:
                return tables.arrays[Int(arrays[frame.a].rule)].mayRunOut
            default: return false
            }
        }
    }
}
