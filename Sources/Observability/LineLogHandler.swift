import AutoGLMJSON
import FoundationEssentials
package import Logging

/// Writes one line per log entry to standard error: human text, or one JSON object.
///
/// In JSON a number or a truth value that came as `.stringConvertible` stays one; text never turns
/// into a number, whatever it looks like. Entries hold ids, sizes, codes and timings; callers never
/// put prompt or output text in.
package struct LineLogHandler: LogHandler {
    package enum Format: String, Sendable, CaseIterable { case human, json }

    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let format: Format
    private let usesColor: Bool
    private let write: @Sendable (String) -> Void

    /// - Parameter sink: takes the lines, and tells of lost ones in a line of this form.
    package init(
        label: String, format: Format, level: Logger.Level = .info, usesColor: Bool = false,
        sink: LineSink
    ) {
        self.init(label: label, format: format, level: level, usesColor: usesColor) {
            sink.write($0)
        }
        let handler = self
        sink.onLoss { losses in
            handler.line(.warning, "log lines were lost", [
                ("lines", .stringConvertible(losses.values.reduce(0, +))),
                ("reasons", .string(LineSink.summary(losses))),
            ])
        }
    }

    /// - Parameter write: receives whole lines.
    package init(
        label: String, format: Format, level: Logger.Level = .info, usesColor: Bool = false,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.label = label
        self.format = format
        self.logLevel = level
        self.usesColor = usesColor
        self.write = write
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let provider = metadataProvider { all.merge(provider.get()) { _, new in new } }
        if let extra = event.metadata { all.merge(extra) { _, new in new } }
        if let error = event.error { all["error"] = "\(error)" }
        write(line(event.level, "\(event.message)", all.sorted { $0.key < $1.key }))
    }

    private func line(
        _ level: Logger.Level, _ message: String,
        _ pairs: [(key: String, value: Logger.MetadataValue)]
    ) -> String {
        switch format {
        case .json: json(level, message, pairs)
        case .human: human(level, message, pairs)
        }
    }

    private func json(
        _ level: Logger.Level, _ message: String,
        _ pairs: [(key: String, value: Logger.MetadataValue)]
    ) -> String {
        var line = "{\"time\":\"\(Self.timestamp())\",\"level\":\"\(level)\","
        line += "\"logger\":\(Self.quoted(label)),\"message\":\(Self.quoted(message))"
        for (key, value) in pairs {
            line += ",\(Self.quoted(key)):\(Self.json(value))"
        }
        return line + "}\n"
    }

    private static func json(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): quoted(text)
        case .stringConvertible(let value):
            switch value {
            case let flag as Bool: flag ? "true" : "false"
            case let number as any BinaryInteger: "\(number)"
            // JSON has no NaN and no infinity.
            case let number as Double: number.isFinite ? "\(number)" : "null"
            case let number as Float: number.isFinite ? "\(number)" : "null"
            default: quoted("\(value)")
            }
        case .array, .dictionary: quoted("\(value)")
        @unknown default: quoted("\(value)")
        }
    }

    private func human(
        _ level: Logger.Level, _ message: String,
        _ pairs: [(key: String, value: Logger.MetadataValue)]
    ) -> String {
        let name = "\(level)".uppercased()
        var line = Self.timestamp() + " "
        line += usesColor ? "\u{1B}[\(Self.color(level))m\(name)\u{1B}[0m" : name
        line += " " + Self.oneLine(message)
        for (key, value) in pairs { line += " \(key)=\(Self.oneLine("\(value)"))" }
        return line + "\n"
    }

    private static func color(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "2"
        case .info, .notice: "32"
        case .warning: "33"
        case .error, .critical: "31"
        }
    }

    private static func timestamp() -> String {
        Date.ISO8601FormatStyle(includingFractionalSeconds: true).format(Date.now)
    }

    /// A client's bytes must not be able to start a line of their own, nor to steer a terminal.
    private static func oneLine(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.isUnprintable {
                result += "?"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func quoted(_ text: String) -> String {
        var options = JSONWriteOptions.compact
        options.escapes.letters = [UInt8(ascii: "\n")]
        var json = JSONWriter(options)
        json.string(text)
        return json.text
    }
}
