/// One entry of the exposition: a metric, or several that are read together.
protocol Collector: AnyObject, Sendable {
    func collect(into out: inout Exposition)
}

/// The metrics of whatever declares them as its properties, in the order of their declarations.
///
/// Declaring a metric registers it, so no list of metrics can fall behind the declarations. The
/// properties are found by reflection: a registry to which each declaration adds itself would have
/// to be global, since a property's initial value cannot name another property.
struct MetricRegistry {
    private let collectors: [any Collector]

    init(of owner: Any) {
        collectors = Mirror(reflecting: owner).children.compactMap { $0.value as? any Collector }
    }

    /// All metrics as text.
    func exposition(_ format: ExpositionFormat) -> String {
        var out = Exposition(format)
        for collector in collectors { collector.collect(into: &out) }
        out.end()
        return out.text
    }
}

extension Counter: Collector {
    func collect(into out: inout Exposition) { out.counter(self) }
}

extension Gauge: Collector {
    func collect(into out: inout Exposition) { out.gauge(self) }
}

extension Histogram: Collector {
    func collect(into out: inout Exposition) { out.histogram(self) }
}

extension Info: Collector {
    func collect(into out: inout Exposition) { out.info(self) }
}
