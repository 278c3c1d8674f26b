//! `tar | zstd`, the usual method of CI caches.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::child::{self, FinishedChild, OnSignal};
use crate::remote::{Direction, RemotePrefix};
use crate::workspace;

/// The row label of tar with zstd.
pub(crate) const NAME: &str = "tar | zstd -T0 -3";

/// The compressor of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TarCompressor {
    /// `zstd -T0 -3`.
    Zstd,
    /// `gzip -6`.
    Gzip,
}

impl TarCompressor {
    /// The command that compresses stdin to stdout.
    fn pack(self) -> Command {
        match self {
            Self::Zstd => new_command("zstd", &["-T0", "-3", "-q", "-c"]),
            Self::Gzip => new_command("gzip", &["-6", "-c"]),
        }
    }

    /// The command that decompresses stdin to stdout.
    fn unpack(self) -> Command {
        match self {
            Self::Zstd => new_command("zstd", &["-q", "-dc"]),
            Self::Gzip => new_command("gzip", &["-dc"]),
        }
    }
}

fn new_command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// A compressed archive in a file or a bucket.
pub(crate) struct TarArchive<'a> {
    compressor: TarCompressor,
    kept: ArchiveLocation<'a>,
}

/// The location of an archive.
enum ArchiveLocation<'a> {
    /// A local file.
    File(PathBuf),
    /// A prefix of its own in a bucket.
    Remote(Box<RemotePrefix<'a>>),
}

impl<'a> TarArchive<'a> {
    /// An archive in a local file.
    pub(crate) fn file(compressor: TarCompressor, path: PathBuf) -> Self {
        Self {
            compressor,
            kept: ArchiveLocation::File(path),
        }
    }

    /// An archive in an otherwise empty prefix of a remote.
    pub(crate) fn remote(compressor: TarCompressor, place: RemotePrefix<'a>) -> Self {
        Self {
            compressor,
            kept: ArchiveLocation::Remote(Box::new(place)),
        }
    }

    /// Whether the archive is a local file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kept, ArchiveLocation::File(_))
    }

    /// Packs a directory: `tar -C DIR -cf - . | zstd -T0 -3`.
    pub(crate) fn save(&self, dir: &Path) -> Result<FinishedChild> {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(dir).args(["-cf", "-", "."]);
        let pack = self.compressor.pack();
        match &self.kept {
            ArchiveLocation::File(path) => child::pipe_to([tar, pack], File::create(path)?.into()),
            ArchiveLocation::Remote(place) => {
                child::run_pipe([tar, pack, transfer_command(place, Direction::Up)?])
            }
        }
    }

    /// Unpacks the archive into an existing directory: `zstd -dc | tar -x`.
    pub(crate) fn restore(&self, dir: &Path) -> Result<FinishedChild> {
        let mut unpack = self.compressor.unpack();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(dir).args(["-xf", "-"]);
        match &self.kept {
            ArchiveLocation::File(path) => {
                unpack.arg(path);
                child::run_pipe([unpack, tar])
            }
            ArchiveLocation::Remote(place) => {
                child::run_pipe([transfer_command(place, Direction::Down)?, unpack, tar])
            }
        }
    }

    /// Size of the archive in bytes.
    pub(crate) fn bytes(&self) -> Result<u64> {
        match &self.kept {
            ArchiveLocation::File(path) => Ok(fs::metadata(path)?.len()),
            ArchiveLocation::Remote(place) => Ok(place.contents()?.1),
        }
    }
}

impl Drop for TarArchive<'_> {
    fn drop(&mut self) {
        // A remote prefix clears itself on drop.
        if let ArchiveLocation::File(path) = &self.kept
            && let Err(error) = workspace::remove_file(path)
        {
            eprintln!("cachefs-bench: could not clean up: {error}");
        }
    }
}

/// This program as the upload or download end of a pipe.
fn transfer_command(place: &RemotePrefix<'_>, direction: Direction) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["transfer", direction.argument()]);
    command.args(place.options()).envs(place.variables());
    Ok(command)
}

/// Version lines of tar and zstd; an error if either is not installed.
pub(crate) fn tar_versions() -> Result<Vec<String>> {
    let first_line = |program: &str| -> Result<String> {
        let asked = child::run_child(Command::new(program).arg("--version"), OnSignal::End)?;
        let line = asked.stdout.lines().next().unwrap_or_default();
        Ok(line.trim_matches(['*', ' ']).to_owned())
    };
    Ok(vec![first_line("tar")?, first_line("zstd")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("from"), temp.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        for compressor in [TarCompressor::Zstd, TarCompressor::Gzip] {
            workspace::remove_directory(&to).unwrap();
            fs::create_dir(&to).unwrap();
            let path = temp.path().join("archive.gz");
            let archive = TarArchive::file(compressor, path.clone());
            archive.save(&from).unwrap();
            assert_eq!(archive.bytes().unwrap(), fs::metadata(&path).unwrap().len());
            archive.restore(&to).unwrap();
            assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"text");
            drop(archive);
            assert!(!path.exists());
        }
        let none = TarArchive::file(TarCompressor::Zstd, from.join("none"));
        none.restore(&to).unwrap_err();
    }
}
