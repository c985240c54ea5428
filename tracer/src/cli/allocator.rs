//! What the C library's allocator does with memory that is free again.

/// Has memory go back to the system. By default glibc keeps what was once large for the next time, and
/// a heap for each thread: with 100,000 flows that is a third on top, which nobody uses.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    /// Bytes that get pages of their own: batches of records, lists of all flows.
    const LARGE: libc::c_int = 128 << 10;
    // SAFETY: sets numbers of the allocator, before there is a second thread
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Other C libraries do so anyway.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
