import AutoGLMChat
import AutoGLMJSON
import AutoGLMModels
import Foundation

/// A program of the user's that answers calls: gets the call as JSON on standard input, `{"id",
/// "name", "arguments"}` with arguments as an object, and prints the result.
struct ToolCommand: Sendable {
    let command: String

    /// - Returns: what the program printed, without the last line break.
    /// - Throws: `CommandError` when it cannot be started or does not end well, and
    ///   `CancellationError` when the task was cancelled; the program is terminated then.
    func result(of call: ToolCall) async throws -> String {
        // A file instead of a pipe: a program that reads nothing cannot stop the one that writes.
        let input = FileManager.default.temporaryDirectory
            .appendingPathComponent("autoglm-call-\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: input) }
        try unsafe Array(Self.text(of: call).utf8).withUnsafeBytes {
            try unsafe replaceFile(input.path, with: $0)
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        process.standardInput = try FileHandle(forReadingFrom: input)
        let output = Pipe()
        process.standardOutput = output
        do {
            try process.run()
        } catch {
            throw CommandError("cannot run \(command): no /bin/sh could be started")
        }
        let identifier = process.processIdentifier
        let data = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                DispatchQueue.global().async {
                    let data = try? output.fileHandleForReading.readToEnd()
                    continuation.resume(returning: data ?? Data())
                }
            }
        } onCancel: {
            kill(identifier, SIGTERM)
        }
        process.waitUntilExit()
        try Task.checkCancellation()
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
            throw CommandError(
                "\(command) ended with status \(process.terminationStatus) for \(call.name)")
        }
        var text = String(decoding: data, as: UTF8.self)
        if text.hasSuffix("\n") { text.removeLast() }
        return text
    }

    static func text(of call: ToolCall) -> String {
        let arguments = (try? JSONValue.parse(call.arguments)) ?? .string(call.arguments)
        let value: JSONValue = [
            "id": .string(call.id), "name": .string(call.name), "arguments": arguments,
        ]
        return value.serialized(JSONWriteOptions(ensureASCII: false)) + "\n"
    }
}
