import Testing

@testable import AutoGLMCommand

@Suite struct ConfigurationTests {
    let configuration: Configuration
    let noFile: (String) throws -> String = { path in throw MissingFile(path: path) }
    struct MissingFile: Error { var path: String }

    init() throws {
        configuration = try Configuration(toolDescription: AutoGLMCommand._dumpHelp())
    }

    @Test func flagsWinOverEnvironmentOverFile() throws {
        let file = "queue-limit: 3\nport: 9100\nhost: 127.0.0.2\n"
        let merged = try configuration.merged(
            arguments: ["serve", "--port", "9000", "--config", "c.yaml"],
            environment: ["AUTOGLM_PORT": "9001", "AUTOGLM_QUEUE_LIMIT": "7"],
            readFile: { _ in file })
        #expect(
            merged == [
                "serve", "--host=127.0.0.2", "--queue-limit=7", "--port", "9000", "--config",
                "c.yaml",
            ] || Set(merged) == [
                "serve", "--host=127.0.0.2", "--queue-limit=7", "--port", "9000", "--config",
                "c.yaml",
            ])
        #expect(!merged.contains("--port=9001"))
        #expect(!merged.contains("--queue-limit=3"))
    }

    @Test func unknownVariableSuggestsTheNearest() {
        #expect(
            throws: ConfigurationError.unknown(
                kind: "environment variable", name: "AUTOGLM_QUEUE_LIMITS",
                nearest: "AUTOGLM_QUEUE_LIMIT")
        ) {
            try configuration.merged(
                arguments: ["serve"], environment: ["AUTOGLM_QUEUE_LIMITS": "1"],
                readFile: noFile)
        }
    }

    @Test func unknownKeyIsAnError() {
        #expect(
            throws: ConfigurationError.unknown(
                kind: "key in c.yaml", name: "prot", nearest: "port")
        ) {
            try configuration.merged(
                arguments: ["serve", "--config=c.yaml"], environment: [:],
                readFile: { _ in "prot: 1" })
        }
    }

    @Test func settingsOfOtherCommandsAreNotAdded() throws {
        let merged = try configuration.merged(
            arguments: ["doctor"], environment: ["AUTOGLM_PORT": "1"], readFile: noFile)
        #expect(merged == ["doctor"])
    }

    @Test func flagsTakeTrueAndFalse() throws {
        #expect(
            try configuration.merged(
                arguments: ["serve"], environment: ["AUTOGLM_INSECURE": "true"],
                readFile: noFile) == ["serve", "--insecure"])
        #expect(
            try configuration.merged(
                arguments: ["serve"], environment: ["AUTOGLM_INSECURE": "0"], readFile: noFile)
                == ["serve"])
        #expect(throws: ConfigurationError.self) {
            try configuration.merged(
                arguments: ["serve"], environment: ["AUTOGLM_INSECURE": "maybe"],
                readFile: noFile)
        }
    }

    @Test func brokenFilesAreNamed() {
        for text in ["- a\n- b", "{", "port: {a: 1}"] {
            #expect(throws: ConfigurationError.self, "\(text)") {
                try configuration.merged(
                    arguments: ["serve", "--config=c.yaml"], environment: [:],
                    readFile: { _ in text })
            }
        }
    }
}
