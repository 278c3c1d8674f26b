//! What the benchmark asks of every way to cache a directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::common::Setup;
use crate::remote::{Location, RemotePrefix};
use crate::tools::child::{self, FinishedChild, OnSignal};
use crate::work::find;
use crate::workspace;

/// One of the two states of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerVersion {
    /// As it is cached first.
    First,
    /// After some changes.
    Second,
}

impl PeerVersion {
    /// The key, file or directory by which it is known.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "v1",
            Self::Second => "v2",
        }
    }
}

/// A directory that was restored.
#[derive(Debug)]
pub(super) struct PeerRestore {
    /// How long it took until it could be used.
    pub(super) wall: Duration,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// A way to cache a directory, with a place of its own that is empty at first and is cleared when
/// the peer is dropped.
///
/// A peer takes its own time, so that what it needs to do once, or what a user would have done by
/// then, is not counted.
pub(super) trait Peer {
    /// Saves a directory; the second version after the first.
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration>;

    /// The bytes that are kept for everything saved so far.
    fn stored(&self) -> Result<u64>;

    /// Makes the first version available as if on another machine: nothing that only the saving
    /// machine has may be used.
    fn restore(&mut self) -> Result<PeerRestore>;

    /// Ends and removes what [`restore`](Self::restore) made.
    fn release(&mut self) -> Result<()>;
}

/// What a peer gets to work with.
#[derive(Debug)]
pub(super) struct PeerWorkspace<'a> {
    /// The measurement it is part of.
    pub(super) setup: &'a Setup,
    /// A directory for what is its own on this machine; it is there and empty.
    pub(super) local: PathBuf,
    /// Its part of the remote, in which nothing is yet.
    pub(super) place: RemotePrefix<'a>,
}

impl PeerWorkspace<'_> {
    /// A directory below [`local`](Self::local), made anew.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.local.join(name);
        workspace::remove_directory(&dir)?;
        std::fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// The bytes in its part of the remote.
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
            // Names that no remote of cachefs would have are not seen by the place itself.
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
    /// What it is called.
    pub(super) name: &'static str,
    /// What is done to save and to restore.
    pub(super) about: &'static str,
    /// Programs it needs.
    pub(super) programs: &'static [&'static str],
    /// What a remote that is no directory means to it.
    pub(super) bucket: Bucket,
    /// Whether it needs the rights of root.
    pub(super) root: bool,
    /// Makes one.
    pub(super) make: for<'a> fn(PeerWorkspace<'a>) -> Result<Box<dyn Peer + 'a>>,
}

/// What a peer does with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bucket {
    /// It knows buckets, or its stream is carried there and back in the same pipe.
    Known,
    /// Its files are carried there after a save and back before a restore, by `rclone sync`.
    Carried,
    /// It has no such notion; this stands for it.
    Instead(&'static str),
}

/// A program that was started for a peer and ended well.
pub(super) fn run_program(command: &mut Command) -> Result<FinishedChild> {
    child::run_child(command, OnSignal::End)
}
