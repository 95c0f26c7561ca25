import CAutoGLMKernels

/// The C library's allocator: what it keeps of freed memory counts as ours, with the system and
/// with the limits of our control group.
package enum Allocator {
    /// Once, at the start of a long-running process.
    package static func settle() { k_allocator_settle() }

    /// Gives freed memory back to the system. Takes milliseconds.
    package static func trim() { k_allocator_trim() }
}
