import Foundation

/// Reference data that lies beside the checkout (`../shared/data`). Nothing of it ships with the
/// product, so tests that need it are skipped where it is absent.
public enum SharedData {
    /// The root of this checkout.
    public static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    public static let root = repository.deletingLastPathComponent()
        .appendingPathComponent("shared/data")

    public static let isPresent = FileManager.default.fileExists(atPath: root.path)

    /// The URL of one entry, or nil when the reference data is not there.
    public static func url(_ path: String) -> URL? {
        let url = root.appendingPathComponent(path)
        return FileManager.default.fileExists(atPath: url.path) ? url : nil
    }

    public static func path(_ path: String) -> String {
        root.appendingPathComponent(path).path
    }
}
