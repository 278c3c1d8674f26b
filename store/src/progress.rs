//! Progress of long work, for a caller to show or to cancel. The library never prints.

/// Receives counts of work done; called from many threads.
pub trait Progress: Send + Sync {
    /// This much more work is now known.
    fn total(&self, files: u64, bytes: u64);
    /// This much more is done.
    fn done(&self, files: u64, bytes: u64);
    /// This many more bytes were sent to, or received from, the remote.
    fn transferred(&self, bytes: u64);
    /// Whether the work should stop; called often.
    fn cancelled(&self) -> bool;
}

/// Shows nothing and never cancels.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _: u64, _: u64) {}
    fn done(&self, _: u64, _: u64) {}
    fn transferred(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}
