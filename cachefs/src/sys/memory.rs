//! What the allocator does with memory that a daemon no longer needs.

/// Has the allocator give memory back: to the kernel, and to threads that need some.
///
/// Left alone, glibc learns from the first large buffer that is freed to take such from its heap.
/// Then every session's buffers of 16 MiB, of which FUSE uses the first page, are cleared byte by
/// byte and stay resident: some 15 ms and 48 MiB for each mount.
///
/// And it gives threads heaps of their own, eight for each core. What a thread has freed there waits
/// for the same threads: with 50 mounts, each with threads, a daemon had 264 to 293 MB, and with one
/// heap 200 to 217.
pub fn set_up_allocator() {
    /// Smaller than any buffer for requests, larger than what is allocated all the time.
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

/// Gives the pages of freed memory back to the kernel. Takes 10 to 20 ms for 100 MB, in which threads
/// may wait for memory: nothing for the way to a mount, or for every file.
///
/// glibc does so only at the end of a heap, and something small that lives on is always behind what
/// a large tree took: of 200 MB of a daemon without mounts, 140 were free.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
