import AutoGLMDecoding

/// Requests in whose steps the engine has got stuck, known by what they hold.
///
/// After the first time a request is computed by itself, so that the second time the blame is
/// exact; from then on it is refused for a while. Bounded: the oldest is forgotten.
struct Quarantine {
    static let strikesMax = 2
    static let memory: Duration = .seconds(600)
    private static let countMax = 256

    private struct Entry {
        var fingerprint: Int
        var strikes: Int
        var last: Duration
    }
    private var entries: [Entry] = []

    /// Where nothing is known, nobody need work out a fingerprint.
    var isEmpty: Bool { entries.isEmpty }

    mutating func strike(_ fingerprint: Int, now: Duration) {
        forget(now)
        var entry = Entry(fingerprint: fingerprint, strikes: 1, last: now)
        if let index = entries.firstIndex(where: { $0.fingerprint == fingerprint }) {
            entry.strikes += entries.remove(at: index).strikes
        } else if entries.count == Self.countMax {
            entries.removeFirst()
        }
        entries.append(entry)
    }

    /// How often, and for how long that will be remembered.
    mutating func record(
        of fingerprint: Int, now: Duration
    ) -> (strikes: Int, remaining: Duration)? {
        forget(now)
        guard let entry = entries.first(where: { $0.fingerprint == fingerprint }) else {
            return nil
        }
        return (entry.strikes, entry.last + Self.memory - now)
    }

    private mutating func forget(_ now: Duration) {
        entries.removeAll { now - $0.last >= Self.memory }
    }
}

extension GenerationRequest {
    /// Equal for requests that compute the same; the seed and the times allowed do not count.
    var fingerprint: Int {
        var computed = sampling
        computed.seed = nil
        // Looked for in the text, by whoever reads the stream.
        computed.stopStrings = []
        var hasher = Hasher()
        hasher.combine(prompt)
        hasher.combine(promptLogprobs)
        hasher.combine(constraint?.grammar.source)
        hasher.combine(constraint?.goesOn)
        hasher.combine(computed)
        return hasher.finalize()
    }
}
