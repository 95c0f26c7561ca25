import ArgumentParser
import AutoGLMAPI
import Foundation
import Yams

/// Settings that did not come from the command line: environment variables and a YAML file.
///
/// A flag `--queue-limit` has a twin `AUTOGLM_QUEUE_LIMIT` and a key `queue-limit` in the file
/// that `--config` names. Precedence is flag, environment, file, default; it is brought about by
/// adding what the command line does not say to the command line, so that every flag has both
/// twins without a line of code of its own.
struct Configuration {
    /// One flag or option of a command, as the parser itself describes it.
    struct Setting: Equatable {
        var name: String
        var takesValue: Bool
        var repeats: Bool
        /// For `--no-…` inversions and other names of the same setting.
        var allNames: [String]
    }

    /// Settings of every command; keys are command names.
    let commands: [String: [Setting]]

    init(toolDescription json: String) throws {
        let tool = try JSONDecoder().decode(Tool.self, from: Data(json.utf8))
        var commands: [String: [Setting]] = [:]
        for command in tool.command.subcommands ?? [] {
            commands[command.commandName] = (command.arguments ?? []).compactMap { argument in
                let names = (argument.names ?? []).filter { $0.kind == "long" }.map(\.name)
                guard argument.kind != "positional", let name = names.first,
                    name != "help", name != "version"
                else { return nil }
                return Setting(
                    name: name, takesValue: argument.kind == "option",
                    repeats: argument.isRepeating, allNames: names)
            }
        }
        self.commands = commands
    }

    /// Variables of ours that are not the twin of a flag.
    static let ownVariables: Set<String> = ["AUTOGLM_CONFIG"]

    /// The command line with what environment and file add to it.
    /// - Parameter arguments: without the program's name.
    /// - Throws: ``ConfigurationError`` for unknown variables and keys and unreadable files.
    func merged(
        arguments: [String], environment: [String: String],
        readFile: (String) throws -> String
    ) throws(ConfigurationError) -> [String] {
        guard let command = arguments.first, let settings = commands[command] else {
            return arguments
        }
        let rest = Array(arguments.dropFirst())
        var given = Self.namesGiven(in: rest)
        var added: [String] = []
        let everything = Set(commands.values.joined().flatMap(\.allNames))

        let fromEnvironment = try variables(environment, known: everything)
        for setting in settings where given.isDisjoint(with: setting.allNames) {
            guard let value = setting.allNames.lazy.compactMap({ fromEnvironment[$0] }).first
            else { continue }
            added += try Self.words(
                setting, value: .text(value), origin: Self.variable(setting.name))
            given.insert(setting.name)
        }
        if settings.contains(where: { $0.name == "config" }),
            let path = Self.value(of: "config", in: rest + added)
        {
            let values = try fileValues(
                path, known: Set(settings.flatMap(\.allNames)), others: everything,
                readFile: readFile)
            for setting in settings where given.isDisjoint(with: setting.allNames) {
                guard let value = setting.allNames.lazy.compactMap({ values[$0] }).first
                else { continue }
                added += try Self.words(
                    setting, value: value, origin: "\(setting.name) in \(path)")
            }
        }
        return [command] + added + rest
    }

    // MARK: Sources

    private func variables(
        _ environment: [String: String], known: Set<String>
    ) throws(ConfigurationError) -> [String: String] {
        var found: [String: String] = [:]
        for (name, value) in environment.sorted(by: { $0.key < $1.key })
        where name.hasPrefix("AUTOGLM_") {
            let key = name.dropFirst("AUTOGLM_".count).lowercased()
                .replacing("_", with: "-")
            if known.contains(key) {
                found[key] = value
            } else if !Self.ownVariables.contains(name) {
                let nearest = nearestName(to: key, in: known).map(Self.variable)
                throw .unknown(kind: "environment variable", name: name, nearest: nearest)
            }
        }
        return found
    }

    private func fileValues(
        _ path: String, known: Set<String>, others: Set<String>,
        readFile: (String) throws -> String
    ) throws(ConfigurationError) -> [String: Value] {
        let text: String
        do {
            text = try readFile(path)
        } catch {
            throw .unreadable(
                path: path, reason: "no such file, or it may not be read; check --config")
        }
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw .unreadable(path: path, reason: Self.oneLine("\(error)"))
        } catch {
            throw .unreadable(path: path, reason: "it is no YAML")
        }
        guard let node else { return [:] }
        guard let mapping = node.mapping else {
            throw .unreadable(path: path, reason: "expected `key: value` lines")
        }
        var values: [String: Value] = [:]
        for (keyNode, valueNode) in mapping {
            let key = keyNode.string ?? ""
            guard known.contains(key) else {
                if others.contains(key) { throw .unused(key: key, path: path) }
                throw .unknown(
                    kind: "key in \(path)", name: key, nearest: nearestName(to: key, in: known))
            }
            if let text = valueNode.scalar?.string {
                values[key] = .text(text)
            } else if let list = valueNode.sequence {
                values[key] = .list(list.compactMap { $0.scalar?.string })
            } else {
                throw .unreadable(path: path, reason: "\(key) must be a value or a list")
            }
        }
        return values
    }

    private static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    // MARK: Words

    enum Value: Equatable {
        case text(String)
        case list([String])
    }

    private static func words(
        _ setting: Setting, value: Value, origin: String
    ) throws(ConfigurationError) -> [String] {
        switch (setting.takesValue, value) {
        case (true, .text(let text)):
            return ["--\(setting.name)=\(text)"]
        case (true, .list(let list)) where setting.repeats:
            return list.map { "--\(setting.name)=\($0)" }
        case (false, .text(let text)):
            switch text.lowercased() {
            case "1", "true", "yes", "on": return ["--\(setting.name)"]
            case "0", "false", "no", "off", "": return []
            default:
                throw .badValue(origin: origin, value: text, expected: "true or false")
            }
        case (_, .list):
            throw .badValue(origin: origin, value: "a list", expected: "one value")
        }
    }

    static func variable(_ name: String) -> String {
        "AUTOGLM_" + name.uppercased().replacing("-", with: "_")
    }

    private static func namesGiven(in arguments: [String]) -> Set<String> {
        var names = Set<String>()
        for word in arguments {
            if word == "--" { break }
            guard word.hasPrefix("--") else { continue }
            names.insert(String(word.dropFirst(2).prefix { $0 != "=" }))
        }
        return names
    }

    private static func value(of name: String, in arguments: [String]) -> String? {
        for (index, word) in arguments.enumerated() {
            if word.hasPrefix("--\(name)=") { return String(word.dropFirst(name.count + 3)) }
            if word == "--\(name)", index + 1 < arguments.count { return arguments[index + 1] }
        }
        return nil
    }

    // MARK: The parser's description of itself

    private struct Tool: Decodable { var command: Command }
    private struct Command: Decodable {
        var commandName: String
        var subcommands: [Command]?
        var arguments: [Argument]?
    }
    private struct Argument: Decodable {
        struct Name: Decodable {
            var kind: String
            var name: String
        }
        var kind: String
        var isRepeating: Bool
        var names: [Name]?
    }
}

enum ConfigurationError: Error, Equatable, CustomStringConvertible {
    case unknown(kind: String, name: String, nearest: String?)
    /// A key of another command.
    case unused(key: String, path: String)
    case unreadable(path: String, reason: String)
    case badValue(origin: String, value: String, expected: String)

    var description: String {
        switch self {
        case .unknown(let kind, let name, let nearest):
            "unknown \(kind): \(name)" + (nearest.map { "; did you mean \($0)?" } ?? "")
        case .unused(let key, let path):
            "\(key) in \(path) is no setting of this command; take it out"
        case .unreadable(let path, let reason): "cannot read configuration \(path): \(reason)"
        case .badValue(let origin, let value, let expected):
            "\(origin) is \(value); expected \(expected)"
        }
    }
}
