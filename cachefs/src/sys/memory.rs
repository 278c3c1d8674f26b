//! Settings of the allocator for memory that a daemon no longer needs.

/// Configures the allocator to return memory to the kernel, and to share it between threads.
///
/// By default, after the first large buffer is freed, glibc serves such buffers from its heap. Then
/// the buffers of every session, 16 MiB of which FUSE uses the first page, are cleared byte by byte
/// and stay resident: some 15 ms and 48 MiB for each mount.
///
/// Also, glibc gives threads heaps of their own, eight for each core, and memory that a thread has
/// freed stays in its heap. With 50 mounts, each with threads, a daemon had 264 to 293 MB; with one
/// heap it has 200 to 217 MB.
pub fn set_up_allocator() {
    /// Smaller than any buffer for requests, larger than frequent allocations.
    #[cfg(target_env = "gnu")]
    const THRESHOLD: libc::c_int = 4 << 20;
    /// Enough for as many cores as decode frames at once.
    #[cfg(target_env = "gnu")]
    const HEAPS: libc::c_int = 2;
    #[cfg(target_env = "gnu")]
    // SAFETY: they set numbers in the allocator, which has a lock of its own.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Returns the pages of freed memory to the kernel. Takes 10 to 20 ms for 100 MB, during which
/// threads may wait for memory, so do not call it before a mount or for every file.
///
/// glibc trims only the end of a heap, and one small live allocation after a large tree prevents
/// that: of 200 MB of a daemon without mounts, 140 MB were free.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
