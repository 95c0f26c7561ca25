import AutoGLMCompute
import FoundationEssentials
import Glibc

/// How much memory the machine and the control groups around this process leave it.
package struct MemoryLimits: Sendable {
    /// A control group's limit and the file that says what it uses.
    struct Group: Sendable, Equatable {
        var limitFile: String
        var usageFile: String
        var statFile: String
        /// The line of `statFile` with page cache that the kernel drops before it kills.
        var reclaimableKey: String
    }

    /// Own group first, then its parents: the tightest one counts.
    let groups: [Group]

    /// Finds the groups once; their limits are read anew at every call.
    package init() {
        self.init(
            cgroup: Self.readText("/proc/self/cgroup") ?? "",
            mounts: Self.readText("/proc/self/mountinfo") ?? "")
    }

    /// - Parameters:
    ///   - cgroup: `/proc/self/cgroup`
    ///   - mounts: `/proc/self/mountinfo`
    init(cgroup: String, mounts: String) {
        var groups: [Group] = []
        for line in cgroup.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isUnified = fields[1].isEmpty
            let controllers = fields[1].split(separator: ",")
            guard isUnified || controllers.contains("memory"),
                let mount = Self.mount(isUnified ? nil : "memory", in: mounts)
            else { continue }
            for folder in Self.folders(of: String(fields[2]), mount) {
                groups.append(isUnified ? .unified(folder) : .legacy(folder))
            }
        }
        self.groups = groups
    }

    private struct Mount {
        /// The group that the mount point shows.
        var root: String
        var point: String
    }

    /// The mount of version 2, or of a controller of version 1.
    private static func mount(_ controller: String?, in mounts: String) -> Mount? {
        for line in mounts.split(separator: "\n") {
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let left = halves[0].split(separator: " ")
            let right = halves[1].split(separator: " ")
            guard left.count >= 5, let type = right.first else { continue }
            let options = right.last?.split(separator: ",") ?? []
            let fits =
                if let controller {
                    type == "cgroup" && options.contains(Substring(controller))
                } else { type == "cgroup2" }
            if fits { return Mount(root: String(left[3]), point: String(left[4])) }
        }
        return nil
    }

    /// The folders of a group and its parents, as far as the mount shows them.
    private static func folders(of group: String, _ mount: Mount) -> [String] {
        var parts = group.split(separator: "/")
        let root = mount.root.split(separator: "/")
        // In a container the mount shows the group itself as its root.
        if parts.starts(with: root) { parts.removeFirst(root.count) } else { parts = [] }
        var folders: [String] = []
        while true {
            folders.append(([mount.point] + parts.map(String.init)).joined(separator: "/"))
            guard parts.popLast() != nil else { return folders }
        }
    }

    // MARK: Reading

    /// Bytes that can be taken without swapping and before a group's limit.
    package func available() -> Int {
        var available = 4 << 30
        if let meminfo = Self.readText("/proc/meminfo"),
            let kibibytes = Self.number(after: "MemAvailable:", in: meminfo)
        {
            available = kibibytes << 10
        }
        for group in groups {
            guard let limit = Self.readText(group.limitFile).flatMap(Self.number),
                let usage = Self.readText(group.usageFile).flatMap(Self.number)
            else { continue }
            let stat = Self.readText(group.statFile) ?? ""
            let reclaimable = Self.number(after: group.reclaimableKey + " ", in: stat) ?? 0
            let (used, _) = usage.subtractingReportingOverflow(reclaimable)
            available = min(available, max(limit - max(used, 0), 0))
        }
        return available
    }

    /// Bytes of this process in RAM that the kernel cannot drop: all but pages of files.
    package static func resident() -> Int { resident(of: "self") }

    /// The same of another process; 0 when there is none.
    static func resident(process: Int32) -> Int { resident(of: "\(process)") }

    private static func resident(of process: String) -> Int {
        guard let text = readText("/proc/\(process)/statm") else { return 0 }
        let fields = text.split(separator: " ").map { Int($0) ?? 0 }
        guard fields.count > 2 else { return 0 }
        return max(fields[1] - fields[2], 0) * max(1, sysconf(Int32(_SC_PAGESIZE)))
    }

    /// Once, at the start of a long-running process.
    package static func settleAllocator() { Allocator.settle() }

    /// Gives memory that was freed back to the system. Takes milliseconds.
    package static func giveBack() { Allocator.trim() }

    private static func number(after key: String, in text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix(key) {
            return line.dropFirst(key.count).split(separator: " ").first.flatMap { Int($0) }
        }
        return nil
    }

    /// nil for `max`.
    private static func number(_ text: String) -> Int? {
        Int(text.prefix { $0 != "\n" })
    }

    private static func readText(_ path: String) -> String? {
        try? String(contentsOfFile: path, encoding: .utf8)
    }
}

extension MemoryLimits.Group {
    fileprivate static func unified(_ folder: String) -> MemoryLimits.Group {
        .init(
            limitFile: folder + "/memory.max", usageFile: folder + "/memory.current",
            statFile: folder + "/memory.stat", reclaimableKey: "inactive_file")
    }

    fileprivate static func legacy(_ folder: String) -> MemoryLimits.Group {
        .init(
            limitFile: folder + "/memory.limit_in_bytes",
            usageFile: folder + "/memory.usage_in_bytes",
            statFile: folder + "/memory.stat", reclaimableKey: "total_inactive_file")
    }
}
