//! Report of a copy.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Largest number of issues that a report lists; the rest are only counted.
const MAX_ISSUES: usize = 1000;

/// Meaning of an [`Issue`] for the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueKind {
    /// The entry is not there.
    NotCreated,
    /// The entry is there, without an attribute that it should have.
    AttributeLost,
}

/// An entry that is not as it was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Where it is, relative to the target; empty for the target itself.
    pub path: PathBuf,
    /// Meaning.
    pub kind: IssueKind,
    /// The failed operation and the reason.
    pub detail: String,
}

/// Result of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopyReport {
    /// Names that were created, directories included, the target itself not.
    pub entries: u64,
    /// Sum of the sizes of the files that were created.
    pub bytes: u64,
    /// Number of entries that could not be created.
    pub not_created: u64,
    /// Number of attributes that could not be set.
    pub attributes_lost: u64,
    /// The first thousand of both, in no particular order.
    pub issues: Vec<Issue>,
}

/// Collects a [`CopyReport`] from many threads.
pub(super) struct Reporter<'a> {
    target: &'a Path,
    entries: AtomicU64,
    bytes: AtomicU64,
    issues: Mutex<CopyReport>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(target: &'a Path) -> Self {
        Self {
            target,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            issues: Mutex::default(),
        }
    }

    pub(super) fn created(&self, bytes: u64) {
        self.entries.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Takes a failed system call: an error when it makes the rest pointless, an issue otherwise.
    pub(super) fn failed(
        &self,
        kind: IssueKind,
        path: &Path,
        action: &'static str,
        errno: Errno,
    ) -> Result<()> {
        if is_fatal(errno) {
            return Err(Error::io(action, self.target.join(path))(errno.into()));
        }
        self.issue(
            kind,
            path,
            format!("cannot {action}: {}", std::io::Error::from(errno)),
        );
        Ok(())
    }

    pub(super) fn issue(&self, kind: IssueKind, path: &Path, detail: String) {
        let mut report = self.issues.lock();
        match kind {
            IssueKind::NotCreated => report.not_created += 1,
            IssueKind::AttributeLost => report.attributes_lost += 1,
        }
        if report.issues.len() < MAX_ISSUES {
            report.issues.push(Issue {
                path: path.to_owned(),
                kind,
                detail,
            });
        }
    }

    pub(super) fn finish(self) -> CopyReport {
        CopyReport {
            entries: self.entries.into_inner(),
            bytes: self.bytes.into_inner(),
            ..self.issues.into_inner()
        }
    }
}

/// Whether a failure says something of the disk or the process rather than of one entry.
fn is_fatal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOSPC
            | Errno::DQUOT
            | Errno::IO
            | Errno::ROFS
            | Errno::NFILE
            | Errno::MFILE
            | Errno::NOMEM
            | Errno::STALE
    )
}
