//! Archives, as CI caches store them, and plain copies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::peer::{Peer, PeerRestore, PeerVersion, PeerWorkspace, run_program};
use crate::remote::Location;
use crate::tools::tar::{TarArchive, TarCompressor};
use crate::workspace;

/// `tar` with a compressor.
pub(super) struct Tar<'a> {
    compressor: TarCompressor,
    kept: Vec<TarArchive<'a>>,
    seat: PeerWorkspace<'a>,
}

impl Tar<'_> {
    pub(super) fn zstd(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        Tar::make(seat, TarCompressor::Zstd)
    }

    pub(super) fn gzip(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        Tar::make(seat, TarCompressor::Gzip)
    }

    fn make(seat: PeerWorkspace<'_>, compressor: TarCompressor) -> Result<Box<dyn Peer + '_>> {
        Ok(Box::new(Tar {
            compressor,
            kept: Vec::new(),
            seat,
        }))
    }
}

impl Peer for Tar<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let place = &self.seat.place;
        let archive = match place.location() {
            Location::Directory(dir) => {
                fs::create_dir_all(&dir)?;
                TarArchive::file(self.compressor, dir.join(version.name()))
            }
            Location::Bucket { .. } => {
                TarArchive::remote(self.compressor, place.below(version.name())?)
            }
        };
        let packed = archive.save(dir)?;
        self.kept.push(archive);
        Ok(packed.wall)
    }

    fn stored(&self) -> Result<u64> {
        self.kept.iter().map(TarArchive::bytes).sum()
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let mut wall = Duration::ZERO;
        if let Some(first) = self.kept.first() {
            wall = first.restore(&path)?.wall;
        }
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        workspace::remove_directory(&self.seat.local.join("restored"))
    }
}

/// `cp -a`.
pub(super) struct CopyPeer<'a> {
    dir: PathBuf,
    seat: PeerWorkspace<'a>,
}

impl CopyPeer<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let dir = match seat.place.location() {
            Location::Directory(dir) => dir,
            Location::Bucket { .. } => anyhow::bail!("cp cannot copy to a bucket"),
        };
        fs::create_dir_all(&dir)?;
        Ok(Box::new(CopyPeer { dir, seat }))
    }

    fn copy(from: &Path, to: &Path) -> Result<Duration> {
        Ok(run_program(Command::new("cp").arg("-a").arg(from).arg(to))?.wall)
    }
}

impl Peer for CopyPeer<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        Self::copy(dir, &self.dir.join(version.name()))
    }

    fn stored(&self) -> Result<u64> {
        self.seat.stored()
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.local.join("restored");
        let wall = Self::copy(&self.dir.join(PeerVersion::First.name()), &path)?;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        workspace::remove_directory(&self.seat.local.join("restored"))
    }
}
