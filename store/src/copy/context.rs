//! Everything that the workers of a copy share.

use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::destination::Destination;
use super::large_file_table::LargeFiles;
use super::plan::CopyPlan;
use super::report::Reporter;
use crate::error::Error;
use crate::progress::Progress;
use crate::stack::Stack;

/// State that all threads of one copy share.
pub(super) struct CopyContext<'a> {
    pub(super) stack: &'a Stack,
    pub(super) plan: &'a CopyPlan,
    pub(super) destination: Destination<'a>,
    pub(super) reporter: Reporter<'a>,
    pub(super) progress: &'a dyn Progress,
    pub(super) large: LargeFiles,
    pub(super) threads: usize,
    /// Directories that were made writable, with the permissions that they had.
    pub(super) opened_up: Mutex<Vec<(usize, u32)>>,
    /// Set when something failed that makes the rest pointless.
    pub(super) stop: AtomicBool,
    pub(super) failed: Mutex<Option<Error>>,
}
