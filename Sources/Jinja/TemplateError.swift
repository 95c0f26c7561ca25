import AutoGLMJSON

/// Why a chat template could not be loaded or rendered.
///
/// `kind` follows the exception Jinja2 would raise, so that behaviour can be compared with it;
/// `.limit` is ours. Messages name template constructs, types and limits; the only one that may
/// hold text computed by the template is `.raised`, whose words the template's author chose.
package struct TemplateError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        /// The source is not a template (found when loading).
        case syntax = "TemplateSyntaxError"
        /// The source names a filter, test or statement that does not exist or is refused.
        case unknownName = "TemplateAssertionError"
        case undefined = "UndefinedError"
        case type = "TypeError"
        case value = "ValueError"
        case zeroDivision = "ZeroDivisionError"
        case overflow = "OverflowError"
        case security = "SecurityError"
        case runtime = "TemplateRuntimeError"
        /// The template itself called `raise_exception`.
        case raised = "TemplateError"
        /// A budget of ``TemplateLimits`` is spent.
        case limit = "LimitError"
    }

    package let kind: Kind
    package let message: String
    /// Line of the template, counted from 1; 0 when unknown.
    package let line: Int
    package var template: String = ""

    init(_ kind: Kind, _ message: String, line: Int = 0) {
        self.kind = kind
        self.message = message
        self.line = line
    }

    func at(line: Int, of template: String) -> TemplateError {
        var copy = TemplateError(kind, message, line: self.line > 0 ? self.line : line)
        copy.template = template
        return copy
    }

    package var description: String {
        let place = template.isEmpty ? "template" : "template \(excerpt(template))"
        let message = excerpt(message, limit: 600)
        return line > 0
            ? "\(place), line \(line): \(kind.rawValue): \(message)"
            : "\(place): \(kind.rawValue): \(message)"
    }
}

/// Budgets that bound what a template, which comes from a model directory and is not trusted with
/// the machine, may cost. Steps are counted per expression and per 64 bytes touched, so a budget
/// bounds time and memory traffic together.
package struct TemplateLimits: Sendable {
    package var steps: Int
    /// Nesting of expressions, blocks and macro calls while rendering.
    package var depth: Int
    /// Bytes of the rendered prompt.
    package var outputBytes: Int
    /// Bytes of any one string made on the way.
    package var stringBytes: Int
    /// Elements of any one list, tuple or mapping made on the way.
    package var elements: Int
    /// Nesting of lists and mappings in each other.
    package var containerDepth: Int

    package init(
        steps: Int = 1_000_000, depth: Int = 400, outputBytes: Int = 8 << 20,
        stringBytes: Int = 8 << 20, elements: Int = 1 << 20, containerDepth: Int = 128
    ) {
        self.steps = steps
        self.depth = depth
        self.outputBytes = outputBytes
        self.stringBytes = stringBytes
        self.elements = elements
        self.containerDepth = containerDepth
    }

    /// Source bytes a template may have; published ones are below 20 KiB.
    static let sourceBytes = 1 << 20
    /// Nesting of expressions and blocks in the source.
    static let sourceDepth = 100
}

/// The date and time a template sees through `strftime_now`; a parameter, so that rendering is a
/// pure function.
package struct TemplateDate: Sendable, Equatable {
    package var year: Int, month: Int, day: Int
    package var hour: Int, minute: Int, second: Int, microsecond: Int

    package init(
        year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0,
        microsecond: Int = 0
    ) {
        self.year = year
        self.month = month
        self.day = day
        self.hour = hour
        self.minute = minute
        self.second = second
        self.microsecond = microsecond
    }

    /// From a Unix time in seconds, already shifted to the wanted time zone.
    package init(secondsSince1970 seconds: Int) {
        let days = Int((Double(seconds) / 86400).rounded(.down))
        let rest = seconds - days * 86400
        // Civil date from day number, Hinnant 2013, "chrono-compatible low-level date algorithms".
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        self.init(
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month: month,
            day: dayOfYear - (153 * monthIndex + 2) / 5 + 1,
            hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60)
    }
}
