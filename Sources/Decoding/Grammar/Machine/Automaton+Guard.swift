/// What a ``JSONGuard`` knows, brought to bear on the machine's places.
extension Automaton {
    /// One place of a text: the machine's, and what stood before.
    struct Place: Sendable {
        var configuration: Int32 = 0
        var json = JSONGuard()
    }

    /// Takes a byte. The place is dead where its configuration is below 0.
    ///
    /// - Parameters:
    ///   - offset: how many symbols stand before the byte.
    ///   - text: a part of the text by its offsets, this byte included.
    @inline(__always)
    func advance(
        _ place: inout Place, _ byte: UInt8, at offset: Int, _ text: (Int, Int) -> [UInt8]
    ) {
        let before = place.configuration
        place.configuration = successor(before, byte)
        if !tables.isGuarded || place.configuration < 0 { return }
        check(&place, from: before, byte, offset, text)
    }

    private func check(
        _ place: inout Place, from before: Int32, _ byte: UInt8, _ offset: Int,
        _ text: (Int, Int) -> [UInt8]
    ) {
        if place.json.isEmpty {
            let opens = byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[")
            if !opens || !isInJSON(place.configuration) { return }
        } else if tables.isMixed, !isInJSON(before) {
            place.json.reset()
            return
        }
        let depth = place.json.containers.count
        if let start = place.json.numberEnding(before: byte), isUnique(before, depth),
            !place.json.add(item: CanonicalJSON.key(of: text(start, offset)), depth: depth) {
            let others = keeping(before) { !self.isUnique(thread: $0, depth) }
            place.configuration = others < 0 ? others : successor(others, byte)
            if place.configuration < 0 { return }
        }
        guard let event = place.json.read(byte, at: offset) else { return }
        switch event {
        case .key(let start):
            if !place.json.add(key: text(start, offset)) {
                place.configuration = tables.isMixed
                    ? keeping(place.configuration) { self.containers($0).isEmpty } : RowTable.dead
            }
        case .item(let start):
            let depth = place.json.containers.count
            guard isUnique(place.configuration, depth) else { return }
            add(CanonicalJSON.key(of: text(start, offset + 1)), depth, &place)
        case .word(let first):
            guard isUnique(place.configuration, depth) else { return }
            add([first], depth, &place)
        }
    }

    private func add(_ item: [UInt8], _ depth: Int, _ place: inout Place) {
        if place.json.add(item: item, depth: depth) { return }
        place.configuration = keeping(place.configuration) { !self.isUnique(thread: $0, depth) }
    }

    private func keeping(_ configuration: Int32, _ isKept: (Int32) -> Bool) -> Int32 {
        let kept = threads(of: configuration).filter(isKept)
        out = Array(kept)
        return intern()
    }

    /// The arrays and objects that a thread is in, the innermost first.
    private func containers(_ thread: Int32) -> [Frame] {
        var result: [Frame] = []
        var next = thread
        while next > 0 {
            let frame = frames[next]
            switch frame.kind {
            case .arrayFirst, .arrayNext, .arrayItem, .uniqueItem, .objectFirst, .objectNext,
                .objectKey, .key:
                result.append(frame)
            default: break
            }
            next = frame.parent
        }
        return result
    }

    private func isInJSON(_ configuration: Int32) -> Bool {
        threads(of: configuration).contains { !containers($0).isEmpty }
    }

    /// Whether the array at a depth, from 1, is one whose items the guard keeps different.
    private func isUnique(thread: Int32, _ depth: Int) -> Bool {
        let around = containers(thread)
        guard depth >= 1, depth <= around.count else { return false }
        let frame = around[around.count - depth]
        switch frame.kind {
        case .arrayFirst, .arrayNext, .arrayItem:
            return tables.arrays[Int(arrays[frame.a].rule)].isGuarded
        default: return false
        }
    }

    private func isUnique(_ configuration: Int32, _ depth: Int) -> Bool {
        tables.hasGuardedArrays
            && threads(of: configuration).contains { isUnique(thread: $0, depth) }
    }

    // MARK: Masks

    /// Takes the tokens out of a mask that would repeat a key or an item.
    ///
    /// - Parameter survives: whether the text may go on with a token.
    func removeRepeated(
        _ mask: inout TokenMask, _ json: JSONGuard, _ trie: TokenTrie,
        written text: (Int) -> [UInt8], survives: (Int32) -> Bool
    ) {
        let strings = trie.strings
        func verify(_ token: Int32) {
            if mask[token], failure == nil, !survives(token) { mask[token] = false }
        }
        func verify(finishing texts: [[UInt8]], after written: [UInt8]) {
            for known in texts where known.starts(with: written) {
                strings.forEachCrossing(beginning: known[written.count...] + [0x22], verify)
            }
        }
        strings.withManyQuotes.forEach(verify)
        for container in json.containers {
            for key in container.keys {
                for token in strings.quoting[key] ?? [] { verify(token) }
            }
        }
        if json.isInKey, let keys = json.containers.last?.keys, !keys.isEmpty {
            verify(finishing: keys, after: text(json.contentStart))
        }
        guard tables.hasGuardedArrays else { return }
        strings.lists.forEach(verify)
        guard let array = json.containers.last(where: { !$0.items.isEmpty }) else { return }
        // What closes containers matters where one of them is an item beside others.
        let closes = json.containers.dropLast().contains { !$0.items.isEmpty }
        if json.isInString, json.containers.last?.isArray == true {
            let written = text(json.contentStart)
            if written.contains(0x5C) { return strings.crossing.forEach(verify) }
            let known = array.items.filter { $0.first == 0x22 }.map { Array($0[1..<$0.count - 1]) }
            if known.contains(where: { $0.starts(with: written) }) {
                verify(finishing: known, after: written)
                strings.escaping.forEach(verify)
            }
        } else if json.containers.last?.isArray == true {
            mask.allowed.forEach(verify)
        }
        if closes { strings.closing.forEach(verify) }
    }
}
