import Foundation
import Testing

@testable import AutoGLMCommand

@Suite struct TerminalHistoryTests {
    private func withFile(_ body: (HistoryFile, String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "autoglm-history-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let environment = ["XDG_STATE_HOME": folder, "HOME": "/nowhere"]
        let file = try #require(HistoryFile(environment: environment))
        try body(file, folder)
    }

    @Test func places() {
        #expect(HistoryFile(environment: ["XDG_STATE_HOME": "/s"])?.path
            == "/s/autoglm/chat-history")
        #expect(HistoryFile(environment: ["XDG_STATE_HOME": "relative", "HOME": "/h"])?.path
            == "/h/.local/state/autoglm/chat-history")
        #expect(HistoryFile(environment: [:]) == nil)
    }

    @Test func entriesSurvive() throws {
        try withFile { file, _ in
            #expect(try file.load() == [])
            let entries = ["one", "two\nlines", "世界 👩‍💻 \"quoted\" \\ / \u{1B}", "\t"]
            for entry in entries { try file.append(entry) }
            #expect(try file.load() == entries)
            var attributes = try FileManager.default.attributesOfItem(atPath: file.path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            #expect(chmod(file.path, 0o644) == 0)
            try file.append("more")
            attributes = try FileManager.default.attributesOfItem(atPath: file.path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            try file.append(String(repeating: "x", count: HistoryFile.entryLimit + 1))
            #expect(try file.load() == entries + ["more"])
        }
    }

    @Test func brokenLinesArePassedOver() throws {
        try withFile { file, _ in
            try file.append("good")
            let handle = try #require(FileHandle(forWritingAtPath: file.path))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data("no json\n{}\n\n\"cut o".utf8))
            try handle.close()
            try file.append("after")
            #expect(try file.load() == ["good", "after"])
        }
    }

    @Test func onlyTheNewestStay() throws {
        try withFile { file, folder in
            let count = InputHistory.limit * 2
            for index in 0..<count { try file.append("\(index)") }
            let entries = try file.load()
            #expect(entries == (count - InputHistory.limit..<count).map(String.init))
            let size = try Data(contentsOf: URL(fileURLWithPath: file.path)).count
            #expect(size < InputHistory.limit * 5 / 4 * 8)
            let files = try FileManager.default.contentsOfDirectory(atPath: folder + "/autoglm")
            #expect(files == ["chat-history"])
        }
    }

    /// Writers that meet while the file is cut do not lose a line that is new enough to stay.
    @Test func writersSideBySide() throws {
        try withFile { file, _ in
            for index in 0..<1200 { try file.append("old \(index)") }
            let writers = 4, each = 60
            DispatchQueue.concurrentPerform(iterations: writers) { writer in
                for index in 0..<each { try? file.append("\(writer) \(index)") }
            }
            let entries = try file.load()
            for writer in 0..<writers {
                let own = entries.filter { $0.hasPrefix("\(writer) ") }
                #expect(own == (0..<each).map { "\(writer) \($0)" })
            }
        }
    }

    @Test func unusableFilesAreNamed() throws {
        try withFile { file, folder in
            try FileManager.default.createDirectory(
                atPath: file.path, withIntermediateDirectories: true)
            #expect(throws: HistoryError.self) { try file.append("x") }
            #expect(throws: HistoryError.self) { try file.load() }
            let below = HistoryFile(path: "/dev/null/history")
            #expect(throws: HistoryError.self) { try below.append("x") }
            _ = folder
        }
    }
}
