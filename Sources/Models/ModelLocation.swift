import FoundationEssentials

/// Which files make up the model at a path.
enum ModelLocation {
    case directory(String)
    case safetensors(String)
    case gguf(String)

    init(_ path: String) throws(CheckpointError) {
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw .notFound(
                path: path,
                remedy: "give a directory with config.json, a .gguf file or a .safetensors file")
        }
        if !isDirectory {
            if path.hasSuffix(".gguf") {
                self = .gguf(path)
            } else if path.hasSuffix(".safetensors") {
                self = .safetensors(path)
            } else {
                throw .unsupported(
                    what: "a file that is neither .gguf nor .safetensors", file: path,
                    remedy: "pickled weights (.bin, .pt) are never read; convert them")
            }
            return
        }
        let directory = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        if FileManager.default.fileExists(atPath: directory + "/config.json") {
            self = .directory(directory)
            return
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let files = names.filter { $0.hasSuffix(".gguf") }.sorted()
        // A split file counts as one.
        guard let first = files.first,
            files.count == 1 || files.allSatisfy({ GGUF.isPart($0, of: first) })
        else {
            throw .notFound(
                path: path,
                remedy: files.isEmpty
                    ? "expected config.json or a .gguf file in it"
                    : "it holds \(files.count) .gguf files; name one of them")
        }
        self = .gguf(directory + "/" + first)
    }
}
