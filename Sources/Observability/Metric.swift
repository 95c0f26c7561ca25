import Synchronization

/// A number that only grows, one per combination of label values.
///
/// Label values come from bounded sets chosen by us; nothing a client sends becomes one.
package final class Counter: Sendable {
    package let name: String
    package let help: String
    package let labels: [String]
    private let values: Mutex<[[String]: Double]>

    /// - Parameter name: without `_total`.
    init(_ name: String, _ help: String, labels: [String] = []) {
        self.name = name
        self.help = help
        self.labels = labels
        values = Mutex(labels.isEmpty ? [[]: 0] : [:])
    }

    package func add(_ amount: Double = 1, _ labelValues: String...) {
        precondition(labelValues.count == labels.count, "\(name) has labels \(labels)")
        guard amount > 0 else { return }
        values.withLock { $0[labelValues, default: 0] += amount }
    }

    /// Sets the total of a counter that is kept elsewhere; it never goes back.
    package func raise(to total: Double) {
        values.withLock { $0[[]] = max($0[[]] ?? 0, total) }
    }

    package func value(_ labelValues: String...) -> Double {
        values.withLock { $0[labelValues] ?? 0 }
    }

    var samples: [([String], Double)] {
        values.withLock { $0.map { ($0.key, $0.value) } }
            .sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }
}

/// A number that goes up and down.
package final class Gauge: Sendable {
    package let name: String
    package let help: String
    package let labels: [String]
    private let values: Mutex<[[String]: Double]>

    init(_ name: String, _ help: String, labels: [String] = []) {
        self.name = name
        self.help = help
        self.labels = labels
        values = Mutex([:])
    }

    package func set(_ value: Double, _ labelValues: String...) {
        precondition(labelValues.count == labels.count, "\(name) has labels \(labels)")
        values.withLock { $0[labelValues] = value }
    }

    package func value(_ labelValues: String...) -> Double? {
        values.withLock { $0[labelValues] }
    }

    var samples: [([String], Double)] {
        values.withLock { $0.map { ($0.key, $0.value) } }
            .sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }
}

/// Facts about the program, as labels of a metric that is always 1.
package final class Info: Sendable {
    let name: String
    let help: String
    let labels: [(String, String)]

    /// - Parameter name: without `_info`.
    init(_ name: String, _ help: String, labels: [(String, String)]) {
        self.name = name
        self.help = help
        self.labels = labels
    }
}

/// How often values fell into fixed ranges.
package final class Histogram: Sendable {
    struct Counts: Sendable {
        /// One per bound and one for everything beyond; not cumulative.
        var buckets: [UInt64]
        var sum = 0.0
    }

    package let name: String
    package let help: String
    package let labels: [String]
    let bounds: [Double]
    private let values: Mutex<[[String]: Counts]>

    init(_ name: String, _ help: String, labels: [String] = [], bounds: [Double]) {
        self.name = name
        self.help = help
        self.labels = labels
        self.bounds = bounds
        let empty = Counts(buckets: Array(repeating: 0, count: bounds.count + 1))
        values = Mutex(labels.isEmpty ? [[]: empty] : [:])
    }

    package func observe(_ value: Double, _ labelValues: String...) {
        precondition(labelValues.count == labels.count, "\(name) has labels \(labels)")
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        values.withLock { all in
            var counts =
                all[labelValues]
                ?? Counts(buckets: Array(repeating: 0, count: bounds.count + 1))
            // Taking the entry out first leaves one reference, so that no copy is made.
            all[labelValues] = nil
            counts.buckets[bucket] += 1
            counts.sum += max(0, value)
            all[labelValues] = counts
        }
    }

    package func observe(_ duration: Duration, _ labelValues: String...) {
        precondition(labels.isEmpty && labelValues.isEmpty, "\(name) has labels \(labels)")
        observe(duration / .seconds(1))
    }

    package var count: UInt64 {
        values.withLock { $0.values.reduce(0) { $0 + $1.buckets.reduce(0, +) } }
    }

    var samples: [([String], Counts)] {
        values.withLock { $0.map { ($0.key, $0.value) } }
            .sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }
}

/// The bucket bounds all our histograms use.
enum Buckets {
    static let timeToFirstToken = [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ]
    static let interToken = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1,
        2.5,
    ]
    /// 0.01 · 2^k up to 81.92 s.
    static let durations = [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]
    static let tokens: [Double] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
}
