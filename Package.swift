// swift-tools-version: 6.2
import Foundation
import PackageDescription

// Modules follow docs/architecture.md: imports go one way, `package` between our targets,
// `public` only in what a program that embeds the engine calls.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]
let tests: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
]

func module(
    _ name: String, path: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(path)", exclude: exclude,
        swiftSettings: strict)
}

func suite(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(
        name: name, dependencies: dependencies + ["TestKit"], path: "Tests/\(name)",
        exclude: exclude, swiftSettings: tests)
}

let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let lifecycle = Target.Dependency.product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "open-autoglm",
    products: [
        .library(name: "AutoGLM", targets: ["AutoGLM"]),
        .executable(name: "autoglm", targets: ["AutoGLMCommand"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .target(name: "CAutoGLMKernels", path: "Sources/CKernels", cSettings: [
            .define("_GNU_SOURCE"),
        ]),
        .target(name: "CAutoGLMDefaultModel", path: "Sources/CDefaultModel"),
        module("AutoGLMCompute", path: "Compute", ["CAutoGLMKernels"]),
        module("AutoGLMJSON", path: "JSON", [collections]),
        module("AutoGLMJinja", path: "Jinja", ["AutoGLMJSON", collections]),
        module("AutoGLMModels", path: "Models", ["AutoGLMCompute", "AutoGLMJSON"]),
        module("AutoGLMText", path: "Text", ["AutoGLMJSON", collections]),
        module("AutoGLMDecoding", path: "Decoding", ["AutoGLMJSON", collections]),
        module("AutoGLMScheduling", path: "Scheduling", []),
        module("AutoGLMEngine", path: "Engine", [
            "AutoGLMModels", "AutoGLMCompute", "AutoGLMDecoding", "AutoGLMScheduling",
        ]),
        module("AutoGLMChat", path: "Chat", [
            "AutoGLMEngine", "AutoGLMModels", "AutoGLMCompute", "AutoGLMText", "AutoGLMJinja",
            "AutoGLMDecoding", "AutoGLMJSON", collections,
        ]),
        module("AutoGLMAPI", path: "API", ["AutoGLMJSON", "AutoGLMDecoding"]),
        module("AutoGLMObservability", path: "Observability", ["AutoGLMJSON", logging]),
        module("AutoGLMServer", path: "Server", [
            "AutoGLMAPI", "AutoGLMChat", "AutoGLMEngine", "AutoGLMDecoding", "AutoGLMJinja",
            "AutoGLMJSON", "AutoGLMText", "AutoGLMObservability",
            hummingbird, lifecycle, logging,
        ]),
        module("AutoGLM", path: "AutoGLM", ["AutoGLMChat", "AutoGLMDecoding"]),
        .executableTarget(
            name: "AutoGLMCommand",
            dependencies: [
                "CAutoGLMDefaultModel", "AutoGLMServer", "AutoGLMChat", "AutoGLMEngine",
                "AutoGLMModels", "AutoGLMCompute", "AutoGLMText", "AutoGLMJinja", "AutoGLMJSON",
                "AutoGLMDecoding", "AutoGLMObservability", "AutoGLMAPI",
                arguments, yams, logging,
            ],
            path: "Sources/Command", swiftSettings: strict),

        .target(
            name: "TestKit",
            dependencies: [
                "AutoGLMChat", "AutoGLMEngine", "AutoGLMModels", "AutoGLMCompute", "AutoGLMText",
                "AutoGLMDecoding",
            ],
            path: "Tests/TestKit", swiftSettings: tests),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "TestKit", "AutoGLMServer", "AutoGLMAPI", "AutoGLMChat", "AutoGLMEngine",
                "AutoGLMDecoding", "AutoGLMScheduling", "AutoGLMJinja", "AutoGLMModels",
                "AutoGLMText", "AutoGLMJSON", "AutoGLMObservability",
                hummingbird, lifecycle, logging,
            ],
            path: "Fuzz/Targets", swiftSettings: tests),
        suite("FuzzTests", ["FuzzTargets"]),
        suite("ComputeTests", ["AutoGLMCompute", "CAutoGLMKernels"]),
        suite("ModelsTests", ["AutoGLMModels", "AutoGLMCompute"]),
        suite("JSONTests", ["AutoGLMJSON"]),
        suite(
            "JinjaTests", ["AutoGLMJinja", "AutoGLMJSON", collections],
            exclude: ["make_markup.py", "markup.json"]),
        suite("ChatTests", [
            "AutoGLMChat", "AutoGLMEngine", "AutoGLMDecoding", "AutoGLMJinja", "AutoGLMText",
            "AutoGLMJSON", collections,
        ], exclude: [
            "conversations.py", "conversations.json", "make_family_conversations.py",
            "family-conversations.json",
        ]),
        suite("TextTests", ["AutoGLMText", "AutoGLMJSON", collections]),
        suite("DecodingTests", ["AutoGLMDecoding", "AutoGLMJSON", "AutoGLMText"]),
        suite("SchedulingTests", ["AutoGLMScheduling"]),
        suite("EngineTests", [
            "AutoGLMEngine", "AutoGLMModels", "AutoGLMCompute", "AutoGLMText", "AutoGLMJSON",
            "AutoGLMDecoding", "AutoGLMScheduling", "AutoGLMChat", "AutoGLM",
        ]),
        suite("ServerTests", [
            "AutoGLMServer", "AutoGLMAPI", "AutoGLMEngine", "AutoGLMModels",
            "AutoGLMObservability", "AutoGLMText", "AutoGLMChat", "AutoGLMJSON",
            "AutoGLMDecoding", "AutoGLMCompute", hummingbird, lifecycle, logging,
        ], exclude: ["openai_client.py", "family_conversations.py"]),
        suite("CommandTests", [
            "AutoGLMCommand", "AutoGLMServer", "AutoGLMObservability", "AutoGLMChat",
            "AutoGLMEngine", "AutoGLMDecoding", "AutoGLMModels", "AutoGLMJSON", "AutoGLM", logging,
        ]),
    ],
    cLanguageStandard: .gnu2x
)

// `make fuzz`: the same targets under libFuzzer, whose driver is in no ordinary build.
if ProcessInfo.processInfo.environment["AUTOGLM_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "autoglm-fuzz", dependencies: ["FuzzTargets"], path: "Fuzz/Driver",
            swiftSettings: tests))
}
