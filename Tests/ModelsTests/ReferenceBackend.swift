import AutoGLMCompute
import Foundation

/// A backend of plain loops over f32 with f64 sums: slow, and simple enough to be right by
/// reading. The other backends are measured against it.
final class ReferenceBackend: Backend {
    final class Matrix {
        let rows: Int
        let columns: Int
        let values: [Float]
        let bias: [Float]?
        init(rows: Int, columns: Int, values: [Float], bias: [Float]?) {
            (self.rows, self.columns, self.values, self.bias) = (rows, columns, values, bias)
        }
    }
    struct GatedMatrix {
        let gate: Matrix
        let up: Matrix
    }
    typealias Embedding = Matrix
    struct Norm {
        let weight: [Float]
        let epsilon: Float
    }
    typealias Rotary = RotarySpecification
    final class Activations {
        let rows: Int
        let columns: Int
        var values: [Float]
        init(rows: Int, columns: Int) {
            (self.rows, self.columns) = (rows, columns)
            values = [Float](repeating: 0, count: rows * columns)
        }
    }
    final class Cache {
        let layout: CacheLayout
        var keys: [Float]
        var values: [Float]
        init(_ layout: CacheLayout) {
            self.layout = layout
            let count =
                layout.layers * layout.blocks * layout.blockTokens * layout.kvHeads * layout.headDim
            keys = [Float](repeating: .nan, count: count)
            values = keys
        }

        func offset(layer: Int, block: Int, token: Int, head: Int) -> Int {
            (((layer * layout.blocks + block) * layout.blockTokens + token) * layout.kvHeads + head)
                * layout.headDim
        }
    }

    let options: ComputeOptions
    private var failure: BackendError?

    init() {
        var options = ComputeOptions()
        options.precision = .f32
        options.cacheFormat = .f32
        self.options = options
    }

    // MARK: Loading

    private func rows(_ source: MatrixSource) throws(BackendError) -> [Float] {
        var result: [Float] = []
        for segment in source.segments {
            let block = segment.tensor.type.block
            let rowBytes = source.columns / block.values * block.bytes
            var bytes = [UInt8](repeating: 0, count: segment.rows.count * rowBytes)
            var failure: BackendError?
            bytes.withUnsafeMutableBytes { buffer in
                do throws(BackendError) {
                    try segment.tensor.reader.read(
                        buffer, at: segment.rows.lowerBound * rowBytes)
                } catch { failure = error }
            }
            if let failure { throw failure }
            result += try StoredBlocks.decode(bytes, segment.tensor.type)
        }
        return result
    }

    func matrix(_ source: MatrixSource, bias: [Float]?, format: WeightFormat?)
        throws(BackendError) -> Matrix
    {
        Matrix(
            rows: source.rows, columns: source.columns, values: try rows(source), bias: bias)
    }

    func gatedMatrix(gate: MatrixSource, up: MatrixSource, format: WeightFormat?)
        throws(BackendError) -> GatedMatrix
    {
        GatedMatrix(
            gate: try matrix(gate, bias: nil, format: nil),
            up: try matrix(up, bias: nil, format: nil))
    }

    func embedding(_ source: MatrixSource) throws(BackendError) -> Matrix {
        try matrix(source, bias: nil, format: nil)
    }

    func embedding(tiedTo head: Matrix) throws(BackendError) -> Matrix { head }

    func norm(_ weight: [Float], epsilon: Float) throws(BackendError) -> Norm {
        Norm(weight: weight, epsilon: epsilon)
    }

    func rotary(_ specification: RotarySpecification) throws(BackendError) -> Rotary {
        specification
    }

    func cache(_ layout: CacheLayout) throws(BackendError) -> Cache { Cache(layout) }

    // MARK: One step

    func begin(_ batch: borrowing StepBatch) { failure = nil }
    func mark() -> StepMark { StepMark(offset: 0) }
    func release(_ mark: StepMark) {}

    func embed(_ table: Matrix, _ batch: borrowing StepBatch) -> Activations {
        let x = Activations(rows: batch.tokens.count, columns: table.columns)
        for row in 0..<x.rows {
            let token = Int(batch.tokens[row])
            for column in 0..<x.columns {
                x.values[row * x.columns + column] = table.values[token * x.columns + column]
            }
        }
        return x
    }

    private func normalize(_ values: ArraySlice<Float>, _ norm: Norm) -> [Float] {
        var sum = 0.0
        for value in values { sum += Double(value) * Double(value) }
        let scale = 1 / (sum / Double(values.count) + Double(norm.epsilon)).squareRoot()
        return zip(values, norm.weight).map { Float(Double($0) * scale) * $1 }
    }

    func normalized(_ x: Activations, _ norm: Norm) -> Activations {
        let y = Activations(rows: x.rows, columns: x.columns)
        for row in 0..<x.rows {
            let range = row * x.columns..<(row + 1) * x.columns
            y.values.replaceSubrange(range, with: normalize(x.values[range], norm))
        }
        return y
    }

    private func product(_ x: Activations, _ weight: Matrix) -> Activations {
        precondition(x.columns == weight.columns)
        let y = Activations(rows: x.rows, columns: weight.rows)
        let columns = x.columns
        x.values.withUnsafeBufferPointer { x in
            weight.values.withUnsafeBufferPointer { w in
                for row in 0..<y.rows {
                    for output in 0..<weight.rows {
                        var sum = 0.0
                        for i in 0..<columns {
                            sum += Double(x[row * columns + i]) * Double(w[output * columns + i])
                        }
                        y.values[row * weight.rows + output] =
                            Float(sum) + (weight.bias?[output] ?? 0)
                    }
                }
            }
        }
        return y
    }

    func linear(_ x: Activations, norm: Norm?, _ weight: Matrix) -> Activations {
        product(norm.map { normalized(x, $0) } ?? x, weight)
    }

    func gated(_ x: Activations, norm: Norm?, _ weight: GatedMatrix) -> Activations {
        let x = norm.map { normalized(x, $0) } ?? x
        let gate = product(x, weight.gate)
        let up = product(x, weight.up)
        for index in gate.values.indices {
            let g = Double(gate.values[index])
            gate.values[index] = Float(g / (1 + exp(-g)) * Double(up.values[index]))
        }
        return gate
    }

    func addLinear(_ x: Activations, _ weight: Matrix, postNorm: Norm?, to residual: Activations) {
        var y = product(x, weight)
        if let postNorm { y = normalized(y, postNorm) }
        for index in residual.values.indices { residual.values[index] += y.values[index] }
    }

    func attention(
        _ qkv: Activations, _ specification: AttentionSpecification<Rotary, Norm>, layer: Int,
        _ cache: Cache, _ batch: borrowing StepBatch
    ) -> Activations {
        let headDim = specification.headDim
        let result = Activations(rows: qkv.rows, columns: specification.heads * headDim)
        let keysAt = specification.heads * headDim
        let valuesAt = keysAt + specification.kvHeads * headDim
        for index in batch.sequences.indices {
            let sequence = batch.sequences[index]
            for row in 0..<Int(sequence.rowCount) {
                let line = Int(sequence.firstRow) + row
                let position = Int(sequence.firstPosition) + row
                precondition(Int(batch.positions[line]) == position)
                let start = line * qkv.columns
                for head in 0..<specification.heads {
                    turn(
                        qkv, at: start + head * headDim, specification,
                        specification.queryNorm, position)
                }
                let (block, token) = slot(position, sequence, batch, cache)
                for head in 0..<specification.kvHeads {
                    turn(
                        qkv, at: start + keysAt + head * headDim, specification,
                        specification.keyNorm, position)
                    let offset = cache.offset(layer: layer, block: block, token: token, head: head)
                    for i in 0..<headDim {
                        cache.keys[offset + i] = qkv.values[start + keysAt + head * headDim + i]
                        cache.values[offset + i] = qkv.values[start + valuesAt + head * headDim + i]
                    }
                }
            }
            for row in 0..<Int(sequence.rowCount) {
                let line = Int(sequence.firstRow) + row
                let slots = (0...Int(sequence.firstPosition) + row).map {
                    slot($0, sequence, batch, cache)
                }
                for head in 0..<specification.heads {
                    attend(
                        qkv, line, head, specification, layer, cache, slots, into: result)
                }
            }
        }
        return result
    }

    private func slot(
        _ position: Int, _ sequence: StepBatch.SequenceRows, _ batch: borrowing StepBatch,
        _ cache: Cache
    ) -> (block: Int, token: Int) {
        let size = cache.layout.blockTokens
        let block = batch.blockTables[Int(sequence.blockTableOffset) + position / size]
        return (Int(block), position % size)
    }

    private func turn(
        _ x: Activations, at start: Int,
        _ specification: AttentionSpecification<Rotary, Norm>, _ norm: Norm?, _ position: Int
    ) {
        let range = start..<start + specification.headDim
        if let norm { x.values.replaceSubrange(range, with: normalize(x.values[range], norm)) }
        let rotary = specification.rotary
        let pairs = rotary.inverseFrequencies.count
        for pair in 0..<pairs {
            let angle = Double(Float(position) * rotary.inverseFrequencies[pair])
            let cosine = cos(angle) * Double(rotary.magnitude)
            let sine = sin(angle) * Double(rotary.magnitude)
            let (a, b) =
                switch rotary.pairing {
                case .interleaved: (start + 2 * pair, start + 2 * pair + 1)
                case .halves: (start + pair, start + pair + pairs)
                }
            let (u, v) = (Double(x.values[a]), Double(x.values[b]))
            x.values[a] = Float(u * cosine - v * sine)
            x.values[b] = Float(v * cosine + u * sine)
        }
    }

    private func attend(
        _ qkv: Activations, _ row: Int, _ head: Int,
        _ specification: AttentionSpecification<Rotary, Norm>, _ layer: Int, _ cache: Cache,
        _ slots: [(block: Int, token: Int)], into result: Activations
    ) {
        let headDim = specification.headDim
        let kvHead = head / (specification.heads / specification.kvHeads)
        let query = row * qkv.columns + head * headDim
        let offsets = slots.map {
            cache.offset(layer: layer, block: $0.block, token: $0.token, head: kvHead)
        }
        var scores = offsets.map { offset in
            var sum = 0.0
            for i in 0..<headDim {
                sum += Double(qkv.values[query + i]) * Double(cache.keys[offset + i])
            }
            return sum * Double(specification.scale)
        }
        let largest = scores.max() ?? 0
        scores = scores.map { exp($0 - largest) }
        let total = scores.reduce(0, +)
        for i in 0..<headDim {
            var sum = 0.0
            for (score, offset) in zip(scores, offsets) {
                sum += score * Double(cache.values[offset + i])
            }
            result.values[row * result.columns + head * headDim + i] = Float(sum / total)
        }
    }

    func addMixture(norm: Norm, _ mixture: Mixture<Matrix, GatedMatrix>, to residual: Activations) {
        let x = normalized(residual, norm)
        let scores = product(x, mixture.router)
        let shared = mixture.shared.map { product(gated(x, norm: nil, $0.gated), $0.down) }
        for row in 0..<x.rows {
            let one = Activations(rows: 1, columns: x.columns)
            one.values = Array(x.values[row * x.columns..<(row + 1) * x.columns])
            let raw = scores.values[row * scores.columns..<(row + 1) * scores.columns].map {
                1 / (1 + exp(-Double($0)))
            }
            let chosen = choose(raw, mixture)
            var weights = chosen.map { raw[$0] }
            if mixture.normalizesWeights {
                let sum = weights.reduce(0, +) + 1e-20
                weights = weights.map { $0 / sum }
            }
            var sum = [Double](repeating: 0, count: x.columns)
            for (index, weight) in zip(chosen, weights) {
                let expert = mixture.experts[index]
                let y = product(gated(one, norm: nil, expert.gated), expert.down)
                for i in 0..<x.columns {
                    sum[i] += Double(y.values[i]) * weight * Double(mixture.scale)
                }
            }
            for i in 0..<x.columns {
                let both = sum[i] + Double(shared?.values[row * x.columns + i] ?? 0)
                residual.values[row * x.columns + i] += Float(both)
            }
        }
    }

    private func choose(_ scores: [Double], _ mixture: Mixture<Matrix, GatedMatrix>) -> [Int] {
        let corrected = zip(scores, mixture.correctionBias).map { $0 + Double($1) }
        let size = scores.count / mixture.groups
        let ratings = (0..<mixture.groups).map { group in
            corrected[group * size..<(group + 1) * size].sorted(by: >).prefix(2).reduce(0, +)
        }
        let groups = ratings.indices.sorted { (ratings[$0], $1) > (ratings[$1], $0) }
            .prefix(mixture.groupsPerToken)
        let candidates = corrected.indices.filter { groups.contains($0 / size) }
        return Array(
            candidates.sorted { (corrected[$0], $1) > (corrected[$1], $0) }
                .prefix(mixture.expertsPerToken))
    }

    func readLogits(
        _ x: Activations, norm: Norm, head: Matrix, _ batch: borrowing StepBatch,
        into logits: UnsafeMutableBufferPointer<Float>
    ) throws(BackendError) {
        let rows = Activations(rows: batch.outputRows.count, columns: x.columns)
        for index in 0..<rows.rows {
            let row = Int(batch.outputRows[index])
            rows.values.replaceSubrange(
                index * x.columns..<(index + 1) * x.columns,
                with: x.values[row * x.columns..<(row + 1) * x.columns])
        }
        let y = product(normalized(rows, norm), head)
        for index in y.values.indices { logits[index] = y.values[index] }
        if let failure { throw failure }
    }

    func bytes(of matrix: Matrix) -> Int { matrix.values.count * 4 }

    func eraseBlocks(_ blocks: [Int32], _ cache: Cache) {
        let size = cache.layout.blockTokens * cache.layout.kvHeads * cache.layout.headDim
        for block in blocks {
            for layer in 0..<cache.layout.layers {
                let start = cache.offset(layer: layer, block: Int(block), token: 0, head: 0)
                for i in start..<start + size { (cache.keys[i], cache.values[i]) = (0, 0) }
            }
        }
    }

    func copyBlocks(_ pairs: [(from: Int32, to: Int32)], _ cache: Cache) throws(BackendError) {
        let size = cache.layout.blockTokens * cache.layout.kvHeads * cache.layout.headDim
        for pair in pairs {
            for layer in 0..<cache.layout.layers {
                let from = cache.offset(layer: layer, block: Int(pair.from), token: 0, head: 0)
                let to = cache.offset(layer: layer, block: Int(pair.to), token: 0, head: 0)
                for i in 0..<size {
                    cache.keys[to + i] = cache.keys[from + i]
                    cache.values[to + i] = cache.values[from + i]
                }
            }
        }
    }

    func discard(_ cache: Cache) {}

    func sibling() -> ReferenceBackend { ReferenceBackend() }

    private struct NoPulse: StepPulse {
        var count: UInt64 { 0 }
    }
    var pulse: any StepPulse { NoPulse() }
}

/// Values of stored blocks, for the types that fit a few lines each.
enum StoredBlocks {
    static func decode(_ bytes: [UInt8], _ type: StoredType) throws(BackendError) -> [Float] {
        func half(_ at: Int) -> Float {
            Float(Float16(bitPattern: UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8))
        }
        switch type.name {
        case "f32":
            return (0..<bytes.count / 4).map { index in
                Float(bitPattern: (0..<4).reduce(UInt32(0)) {
                    $0 | UInt32(bytes[4 * index + $1]) << (8 * UInt32($1))
                })
            }
        case "f16": return (0..<bytes.count / 2).map { half(2 * $0) }
        case "bf16":
            return (0..<bytes.count / 2).map {
                Float(bitPattern: UInt32(bytes[2 * $0]) << 16 | UInt32(bytes[2 * $0 + 1]) << 24)
            }
        case "q8_0":
            return stride(from: 0, to: bytes.count, by: 34).flatMap { at in
                (0..<32).map { half(at) * Float(Int8(bitPattern: bytes[at + 2 + $0])) }
            }
        case "q4_0":
            return stride(from: 0, to: bytes.count, by: 18).flatMap { at in
                (0..<32).map { i in
                    let byte = Int(bytes[at + 2 + i % 16])
                    return half(at) * Float((i < 16 ? byte & 15 : byte >> 4) - 8)
                }
            }
        case "q4_1":
            return stride(from: 0, to: bytes.count, by: 20).flatMap { at in
                (0..<32).map { i in
                    let byte = Int(bytes[at + 4 + i % 16])
                    return half(at) * Float(i < 16 ? byte & 15 : byte >> 4) + half(at + 2)
                }
            }
        case "q5_1":
            return stride(from: 0, to: bytes.count, by: 24).flatMap { at in
                (0..<32).map { i in
                    let byte = Int(bytes[at + 8 + i % 16])
                    let high = Int(bytes[at + 4 + i / 8]) >> (i % 8) & 1
                    return half(at) * Float((i < 16 ? byte & 15 : byte >> 4) | high << 4)
                        + half(at + 2)
                }
            }
        default:
            throw .unsupported(what: type.name, remedy: "the reference backend knows few types")
        }
    }
}
