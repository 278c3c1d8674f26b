//! The interface that each way to cache a directory implements.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::common::Setup;
use crate::remote::{Location, RemotePrefix};
use crate::tools::child::{self, FinishedChild, OnSignal};
use crate::work::find;
use crate::workspace;

/// One of the two versions of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerVersion {
    /// As first cached.
    First,
    /// After some changes.
    Second,
}

impl PeerVersion {
    /// The key, file name or directory name of the version.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "v1",
            Self::Second => "v2",
        }
    }
}

/// A restored directory.
#[derive(Debug)]
pub(super) struct PeerRestore {
    /// Time until the directory was usable.
    pub(super) wall: Duration,
    /// Path of the directory.
    pub(super) path: PathBuf,
}

/// A way to cache a directory. It gets an empty prefix in the remote, which is cleared on drop.
///
/// Peers measure their own time, so that one-time setup and steps that a user does beforehand are
/// excluded.
pub(super) trait Peer {
    /// Saves a directory and returns the time taken. The first version is saved before the second.
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration>;

    /// Bytes stored in the remote for all saves so far.
    fn stored(&self) -> Result<u64>;

    /// Makes the first version available as on another machine. It must not use local state of the
    /// saving machine.
    fn restore(&mut self) -> Result<PeerRestore>;

    /// Unmounts and removes the result of [`restore`](Self::restore).
    fn release(&mut self) -> Result<()>;
}

/// Working area of a peer.
#[derive(Debug)]
pub(super) struct PeerWorkspace<'a> {
    /// The measurement that the peer takes part in.
    pub(super) setup: &'a Setup,
    /// A directory for local state; exists and is empty.
    pub(super) local: PathBuf,
    /// The peer's prefix in the remote, initially empty.
    pub(super) place: RemotePrefix<'a>,
}

impl PeerWorkspace<'_> {
    /// Creates an empty directory below [`local`](Self::local).
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.local.join(name);
        workspace::remove_directory(&dir)?;
        std::fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// Total size of the peer's remote prefix, in bytes.
    pub(super) fn stored(&self) -> Result<u64> {
        match self.place.location() {
            Location::Directory(dir) => Ok(find::find_tree(&dir)?.1.bytes),
            Location::Bucket { .. } => Ok(self.place.contents()?.1),
        }
    }
}

impl Drop for PeerWorkspace<'_> {
    fn drop(&mut self) {
        let remote = match self.place.location() {
            // The prefix clears only names that cachefs would use, so remove the whole directory
            // here.
            Location::Directory(dir) => workspace::remove_directory(&dir),
            Location::Bucket { .. } => Ok(()),
        };
        if let Err(error) = remote.and(workspace::remove_directory(&self.local)) {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}

/// A kind of peer.
pub(super) struct PeerKind {
    /// The row label in the report.
    pub(super) name: &'static str,
    /// Description of the save and restore steps, for the report.
    pub(super) about: &'static str,
    /// Required programs.
    pub(super) programs: &'static [&'static str],
    /// How the peer stores data in a bucket.
    pub(super) bucket: Bucket,
    /// Whether the peer needs root.
    pub(super) root: bool,
    /// Creates a peer.
    pub(super) make: for<'a> fn(PeerWorkspace<'a>) -> Result<Box<dyn Peer + 'a>>,
}

/// How a peer stores data in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bucket {
    /// The peer writes to buckets itself, or we stream its data to the bucket in the same pipe.
    Known,
    /// `rclone sync` uploads the peer's files after a save and downloads them before a restore.
    Carried,
    /// The peer does not support buckets; the named peer replaces it.
    Instead(&'static str),
}

/// Runs a program for a peer; a non-zero exit status is an error.
pub(super) fn run_program(command: &mut Command) -> Result<FinishedChild> {
    child::run_child(command, OnSignal::End)
}
