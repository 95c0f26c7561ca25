/// The tokens that are still in play, in order of their ids, with unnormalised probabilities.
///
/// Truncation finds its border with a histogram over the weights' leading bits and sorts only the
/// one bucket that the border falls into; the 150,000 others are never sorted.
struct Candidates {
    private var ids: [Int32]
    private var weights: [Float]
    private var histogram: [Double]

    /// Buckets are the weight's exponent and three bits of its mantissa. Weights are at most 1, so
    /// the bits shifted right by 20 are at most 0x3F8.
    private static let buckets = 0x3F9
    private static func bucket(_ weight: Float) -> Int { Int(weight.bitPattern >> 20) }

    /// All tokens whose weight `exp((logit - maximum) / temperature)` is positive and at least
    /// `minP`, which is the weight relative to the most likely token's.
    init(
        _ row: UnsafeBufferPointer<Float>, maximum: Float, temperature: Float, minP: Float,
        scratch: inout SamplerScratch
    ) {
        ids = scratch.ids
        weights = scratch.weights
        histogram = scratch.histogram
        scratch = SamplerScratch()
        if weights.count < row.count {
            weights = Array(repeating: 0, count: row.count)
            ids = Array(repeating: 0, count: row.count)
        }
        // A temperature near 0 makes the scale infinite, and 0 × ∞ is not a number.
        let scale = min(1 / temperature, 1e30)
        let count = unsafe weights.withUnsafeMutableBufferPointer { weights in
            unsafe VectorMath.exponentials(row, maximum: maximum, scale: scale, into: weights)
            return unsafe ids.withUnsafeMutableBufferPointer { ids in
                var count = 0
                for index in 0..<row.count {
                    let weight = unsafe weights[index]
                    guard weight > 0, weight >= minP else { continue }
                    unsafe weights[count] = weight
                    unsafe ids[count] = Int32(index)
                    count += 1
                }
                return count
            }
        }
        self.count = count
    }

    private var count = 0

    func giveBack(to scratch: inout SamplerScratch) {
        scratch.ids = ids
        scratch.weights = weights
        scratch.histogram = histogram
    }

    /// Keeps the `limit` most likely ones; the greater logit and then the lower id on a tie.
    mutating func keep(count limit: Int, _ row: UnsafeBufferPointer<Float>) {
        guard limit < count else { return }
        fillHistogram { _ in 1 }
        var seen = 0.0
        unsafe keep(row) { bucketSum in
            guard seen + bucketSum >= Double(limit) else {
                seen += bucketSum
                return false
            }
            return true
        } whileAdding: { _ in
            seen += 1
            return seen < Double(limit)
        }
    }

    /// Keeps the fewest most likely ones whose share reaches `share`.
    mutating func keep(mass share: Float, _ row: UnsafeBufferPointer<Float>) {
        fillHistogram { Double($0) }
        let target = Double(share) * histogram.reduce(0, +)
        var seen = 0.0
        unsafe keep(row) { bucketSum in
            guard seen + bucketSum >= target else {
                seen += bucketSum
                return false
            }
            return true
        } whileAdding: { weight in
            seen += Double(weight)
            return seen < target
        }
    }

    private mutating func fillHistogram(_ amount: (Float) -> Double) {
        if histogram.isEmpty { histogram = Array(repeating: 0, count: Self.buckets) }
        for index in histogram.indices { histogram[index] = 0 }
        for index in 0..<count {
            histogram[Self.bucket(weights[index])] += amount(weights[index])
        }
    }

    /// Keeps all buckets above the border bucket, and of that one, best first, as many as
    /// `whileAdding` says (the one it says no to included).
    private mutating func keep(
        _ row: UnsafeBufferPointer<Float>, isBorder: (Double) -> Bool,
        whileAdding: (Float) -> Bool
    ) {
        guard let border = histogram.indices.reversed().first(where: { index in
            histogram[index] > 0 && isBorder(histogram[index])
        }) else { return }
        var members: [(id: Int32, weight: Float)] = []
        for index in 0..<count where Self.bucket(weights[index]) == border {
            members.append((ids[index], weights[index]))
        }
        members.sort { a, b in
            if a.weight != b.weight { return a.weight > b.weight }
            let (x, y) = unsafe (row[Int(a.id)], row[Int(b.id)])
            return x != y ? x > y : a.id < b.id
        }
        var kept = 0
        for member in members {
            kept += 1
            if !whileAdding(member.weight) { break }
        }
        let chosen = Set(members[..<kept].map(\.id))
        var end = 0
        for index in 0..<count {
            let bucket = Self.bucket(weights[index])
            guard bucket > border || (bucket == border && chosen.contains(ids[index])) else {
                continue
            }
            weights[end] = weights[index]
            ids[end] = ids[index]
            end += 1
        }
        count = end
    }

    /// The token at which the running sum of weights, in order of ids, passes `uniform` of all.
    func draw(_ uniform: Double) -> Int32 {
        var total = 0.0
        for index in 0..<count { total += Double(weights[index]) }
        let target = uniform * total
        var sum = 0.0
        for index in 0..<count {
            sum += Double(weights[index])
            if sum > target { return ids[index] }
        }
        return ids[count - 1]
    }
}
