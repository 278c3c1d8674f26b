//! How a long piece of work tells what it is doing. The library never prints.

/// Receives counts of work done; called from many threads.
pub trait Progress: Send + Sync {
    /// So much is now known to be there to do.
    fn total(&self, files: u64, bytes: u64);
    /// So much more was done.
    fn done(&self, files: u64, bytes: u64);
    /// So many more bytes were sent to, or received from, the remote.
    fn transferred(&self, bytes: u64);
    /// Whether the work should stop; asked often.
    fn cancelled(&self) -> bool;
}

/// Nobody watches.
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
