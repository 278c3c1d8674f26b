//! Archives, as CI caches keep them, and plain copies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::peer::{Peer, Restored, Seat, Version, run};
use crate::remote::Location;
use crate::tools::tar::{Archive, Compressor};
use crate::workspace;

/// `tar` with a compressor.
pub(super) struct Tar<'a> {
    compressor: Compressor,
    kept: Vec<Archive<'a>>,
    seat: Seat<'a>,
}

impl Tar<'_> {
    pub(super) fn zstd(seat: Seat<'_>) -> Result<Box<dyn Peer + '_>> {
        Tar::make(seat, Compressor::Zstd)
    }

    pub(super) fn gzip(seat: Seat<'_>) -> Result<Box<dyn Peer + '_>> {
        Tar::make(seat, Compressor::Gzip)
    }

    fn make(seat: Seat<'_>, compressor: Compressor) -> Result<Box<dyn Peer + '_>> {
        Ok(Box::new(Tar {
            compressor,
            kept: Vec::new(),
            seat,
        }))
    }
}

impl Peer for Tar<'_> {
    fn save(&mut self, version: Version, dir: &Path) -> Result<Duration> {
        let place = &self.seat.place;
        let archive = match place.location() {
            Location::Directory(dir) => {
                fs::create_dir_all(&dir)?;
                Archive::file(self.compressor, dir.join(version.name()))
            }
            Location::Bucket { .. } => {
                Archive::remote(self.compressor, place.below(version.name())?)
            }
        };
        let packed = archive.save(dir)?;
        self.kept.push(archive);
        Ok(packed.wall)
    }

    fn stored(&self) -> Result<u64> {
        self.kept.iter().map(Archive::bytes).sum()
    }

    fn restore(&mut self) -> Result<Restored> {
        let path = self.seat.fresh("restored")?;
        let mut wall = Duration::ZERO;
        if let Some(first) = self.kept.first() {
            wall = first.restore(&path)?.wall;
        }
        Ok(Restored { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        workspace::remove(&self.seat.local.join("restored"))
    }
}

/// `cp -a`.
pub(super) struct Copy<'a> {
    dir: PathBuf,
    seat: Seat<'a>,
}

impl Copy<'_> {
    pub(super) fn make(seat: Seat<'_>) -> Result<Box<dyn Peer + '_>> {
        let dir = match seat.place.location() {
            Location::Directory(dir) => dir,
            Location::Bucket { .. } => anyhow::bail!("cp cannot copy to a bucket"),
        };
        fs::create_dir_all(&dir)?;
        Ok(Box::new(Copy { dir, seat }))
    }

    fn copy(from: &Path, to: &Path) -> Result<Duration> {
        Ok(run(Command::new("cp").arg("-a").arg(from).arg(to))?.wall)
    }
}

impl Peer for Copy<'_> {
    fn save(&mut self, version: Version, dir: &Path) -> Result<Duration> {
        Self::copy(dir, &self.dir.join(version.name()))
    }

    fn stored(&self) -> Result<u64> {
        self.seat.stored()
    }

    fn restore(&mut self) -> Result<Restored> {
        let path = self.seat.local.join("restored");
        let wall = Self::copy(&self.dir.join(Version::First.name()), &path)?;
        Ok(Restored { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        workspace::remove(&self.seat.local.join("restored"))
    }
}
