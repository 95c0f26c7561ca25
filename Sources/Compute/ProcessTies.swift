import CAutoGLMKernels

/// What ties a process to the one that has started it.
package enum ProcessTies {
    /// From now on the system kills this process when its parent ends, however that comes.
    /// - Returns: false when the parent has ended already.
    package static func follow(parent: Int32) -> Bool { k_process_follow(parent) == 0 }

    /// A descriptor of memory that both may read and write; nil where the system refuses.
    package static func sharedMemory() -> Int32? {
        let descriptor = k_process_memory()
        return descriptor >= 0 ? descriptor : nil
    }
}
