import Foundation

/// Something that reads bytes of unknown origin. Whatever they are, it returns: an error that it
/// throws is an answer, a trap, an endless loop or a broken promise (``promise(_:_:)``) is a bug.
package struct FuzzTarget: Sendable {
    /// Of its folder in `Fuzz/crashers`.
    package let name: String
    /// Small inputs that reach far; mutation starts with them.
    package let seeds: [[UInt8]]
    /// What is worth putting into an input.
    package let words: [[UInt8]]
    private let read: @Sendable ([UInt8]) throws -> Void

    init(
        _ name: String, seeds: [[UInt8]], words: [String],
        read: @escaping @Sendable ([UInt8]) throws -> Void
    ) {
        self.name = name
        self.seeds = seeds
        self.words = words.map { Array($0.utf8) }
        self.read = read
    }

    package func run(_ bytes: [UInt8]) {
        do { try read(bytes) } catch { Self.checkMessage("\(error)", of: name) }
    }

    /// One line that no terminal stumbles over, and that does not flood a log.
    static func checkMessage(_ message: String, of name: String) {
        let isPlain = message.unicodeScalars.allSatisfy { scalar in
            scalar.value >= 32 && !(127..<160).contains(scalar.value)
                && scalar.properties.generalCategory != .format
                && scalar.properties.generalCategory != .lineSeparator
                && scalar.properties.generalCategory != .paragraphSeparator
        }
        promise(isPlain, "\(name): a message with control characters: \(message.debugDescription)")
        promise(
            !message.isEmpty && message.utf8.count <= 8_192,
            "\(name): a message of \(message.utf8.count) bytes")
    }

    package static let all = [
        ggufTarget, safetensorsTarget, tokenizerTarget, templateTarget, requestTarget,
        schemaTarget, toolTextTarget, httpTarget, channelTarget,
    ]
}

/// What must hold whatever the input was.
func promise(_ holds: Bool, _ what: @autoclosure () -> String) {
    guard !holds else { return }
    FileHandle.standardError.write(Data("broken promise: \(what())\n".utf8))
    fatalError("broken promise")
}

/// Bytes as two parts, cut at the first zero byte.
func halves(_ bytes: [UInt8]) -> (first: [UInt8], second: [UInt8]?) {
    guard let cut = bytes.firstIndex(of: 0) else { return (bytes, nil) }
    return (Array(bytes[..<cut]), Array(bytes[(cut + 1)...]))
}
