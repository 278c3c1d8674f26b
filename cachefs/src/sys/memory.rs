//! How the allocator treats large buffers.

/// Has large buffers come from the kernel, and go back to it, one by one.
///
/// Left alone, glibc learns from the first large buffer that is freed to take such from its heap.
/// Then every session's buffers of 16 MiB, of which FUSE uses the first page, are cleared byte by
/// byte and stay resident: some 15 ms and 48 MiB for each mount.
pub fn release_large_buffers() {
    /// Smaller than any buffer for requests, larger than what is allocated all the time.
    #[cfg(target_env = "gnu")]
    const THRESHOLD: libc::c_int = 4 << 20;
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number in the allocator, which has a lock of its own.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
    }
}
