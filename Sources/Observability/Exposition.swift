/// The two text formats monitoring systems read.
package enum ExpositionFormat: Sendable, Equatable {
    /// Prometheus text format 0.0.4.
    case prometheus
    /// OpenMetrics 1.0.0.
    case openMetrics

    package var contentType: String {
        switch self {
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// What an `Accept` header asks for; Prometheus' older format unless OpenMetrics is named.
    package static func preferred(accept: String?) -> ExpositionFormat {
        guard let accept else { return .prometheus }
        let named = accept.split(separator: ",").contains { entry in
            entry.split(separator: ";").first.map { type in
                type.filter { $0 != " " } == "application/openmetrics-text"
            } ?? false
        }
        return named ? .openMetrics : .prometheus
    }
}

/// Writes metrics as text.
struct Exposition {
    let format: ExpositionFormat
    private(set) var text = ""

    init(_ format: ExpositionFormat) {
        self.format = format
        text.reserveCapacity(16 << 10)
    }

    private mutating func header(_ name: String, _ kind: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
    }

    private mutating func sample(
        _ name: String, _ labels: [String], _ values: [String], _ value: String,
        extra: (String, String)? = nil
    ) {
        text += name
        var pairs = Array(zip(labels, values))
        if let extra { pairs.append(extra) }
        if !pairs.isEmpty {
            text += "{"
            text += pairs.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
            text += "}"
        }
        text += " \(value)\n"
    }

    mutating func counter(_ counter: Counter) {
        let total = counter.name + "_total"
        // OpenMetrics names the family without the suffix, the older format with it.
        header(format == .openMetrics ? counter.name : total, "counter", counter.help)
        for (values, value) in counter.samples {
            sample(total, counter.labels, values, Self.number(value))
        }
    }

    mutating func gauge(_ gauge: Gauge) {
        let samples = gauge.samples
        if samples.isEmpty { return }
        header(gauge.name, "gauge", gauge.help)
        for (values, value) in samples {
            sample(gauge.name, gauge.labels, values, Self.number(value))
        }
    }

    mutating func histogram(_ histogram: Histogram) {
        let samples = histogram.samples
        if samples.isEmpty { return }
        header(histogram.name, "histogram", histogram.help)
        for (values, counts) in samples {
            var total: UInt64 = 0
            for (bound, count) in zip(histogram.bounds, counts.buckets) {
                total += count
                sample(
                    histogram.name + "_bucket", histogram.labels, values, String(total),
                    extra: ("le", Self.number(bound)))
            }
            total += counts.buckets.last ?? 0
            sample(
                histogram.name + "_bucket", histogram.labels, values, String(total),
                extra: ("le", "+Inf"))
            sample(histogram.name + "_sum", histogram.labels, values, Self.number(counts.sum))
            sample(histogram.name + "_count", histogram.labels, values, String(total))
        }
    }

    /// A metric whose labels are the message.
    mutating func info(_ info: Info) {
        if format == .openMetrics {
            header(info.name, "info", info.help)
        } else {
            header(info.name + "_info", "gauge", info.help)
        }
        sample(info.name + "_info", info.labels.map(\.0), info.labels.map(\.1), "1")
    }

    /// A number that is read where it is asked for.
    mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        header(name, "gauge", help)
        sample(name, [], [], Self.number(value))
    }

    mutating func counter(_ name: String, _ help: String, _ value: Double) {
        header(format == .openMetrics ? name : name + "_total", "counter", help)
        sample(name + "_total", [], [], Self.number(value))
    }

    /// Several of one label that are read together.
    mutating func counter(
        _ name: String, _ help: String, label: String, _ values: [(String, Double)]
    ) {
        header(format == .openMetrics ? name : name + "_total", "counter", help)
        for (value, number) in values {
            sample(name + "_total", [label], [value], Self.number(number))
        }
    }

    mutating func end() {
        if format == .openMetrics { text += "# EOF\n" }
    }

    private static func escaped(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Whole numbers without a fraction up to 2^53, others as Swift prints them.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), value.magnitude < 9_007_199_254_740_992 {
            return String(Int64(value))
        }
        return value.description
    }
}
