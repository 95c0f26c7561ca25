import FoundationEssentials
import Glibc

/// What this process uses, as the kernel counts it.
package struct ProcessUsage: Sendable {
    package var cpuSeconds: Double
    package var residentBytes: Int
    package var virtualBytes: Int
    package var threads: Int
    package var openFiles: Int?
    package var openFilesMax: Int?

    /// nil where there is no `/proc`.
    package static func now() -> ProcessUsage? {
        guard let data = FileManager.default.contents(atPath: "/proc/self/stat"),
            let close = data.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        // The program's name stands in parentheses and may hold anything, so count from its end.
        let fields = data[data.index(after: close)...].split(separator: UInt8(ascii: " "))
            .map { String(decoding: $0, as: UTF8.self) }
        guard fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]),
            let threads = Int(fields[17]), let virtual = Int(fields[20]),
            let pages = Int(fields[21])
        else { return nil }
        let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
        return ProcessUsage(
            cpuSeconds: (user + system) / ticks,
            residentBytes: pages * max(1, sysconf(Int32(_SC_PAGESIZE))),
            virtualBytes: virtual, threads: threads,
            openFiles: try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count,
            openFilesMax: openFilesMax())
    }

    private static func openFilesMax() -> Int? {
        guard let data = FileManager.default.contents(atPath: "/proc/self/limits") else {
            return nil
        }
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n")
        where line.hasPrefix("Max open files") {
            return line.dropFirst("Max open files".count).split(separator: " ").first
                .flatMap { Int($0) }
        }
        return nil
    }
}

/// The metrics of the process, read when they are asked for.
final class ProcessMetrics: Collector {
    /// Seconds since 1970.
    private let startTime: Double

    init(startTime: Double) {
        self.startTime = startTime
    }

    func collect(into out: inout Exposition) {
        out.gauge("process_start_time_seconds", "Start of the process since 1970.", startTime)
        guard let usage = ProcessUsage.now() else { return }
        out.counter("process_cpu_seconds", "User and system time.", usage.cpuSeconds)
        out.gauge("process_resident_memory_bytes", "Memory in RAM.", Double(usage.residentBytes))
        out.gauge("process_virtual_memory_bytes", "Address space.", Double(usage.virtualBytes))
        out.gauge("process_threads", "Threads.", Double(usage.threads))
        if let open = usage.openFiles {
            out.gauge("process_open_fds", "Open file descriptors.", Double(open))
        }
        if let most = usage.openFilesMax {
            out.gauge("process_max_fds", "File descriptors allowed.", Double(most))
        }
    }
}
