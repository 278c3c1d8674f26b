//! `tar | zstd`, which is what CI caches do today.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::child::{self, Finished, OnSignal};
use crate::remote::{Direction, Place};
use crate::workspace;

/// How the table calls it.
pub(crate) const NAME: &str = "tar | zstd -T0 -3";

/// Where an archive is kept.
pub(crate) enum Archive<'a> {
    /// In a file.
    File(PathBuf),
    /// In a place of its own of a remote that is no directory.
    Remote(Place<'a>),
}

impl Archive<'_> {
    /// Packs a directory: `tar -C DIR -cf - . | zstd -T0 -3`.
    pub(crate) fn save(&self, dir: &Path) -> Result<Finished> {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(dir).args(["-cf", "-", "."]);
        let mut zstd = Command::new("zstd");
        zstd.args(["-T0", "-3", "-q"]);
        match self {
            Self::File(path) => {
                zstd.args(["-f", "-o"]).arg(path);
                child::pipe([tar, zstd])
            }
            Self::Remote(place) => {
                zstd.arg("-c");
                child::pipe([tar, zstd, transfer(place, Direction::Up)?])
            }
        }
    }

    /// Unpacks it into a directory that exists: `zstd -dc | tar -x`.
    pub(crate) fn restore(&self, dir: &Path) -> Result<Finished> {
        let mut zstd = Command::new("zstd");
        zstd.args(["-q", "-dc"]);
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(dir).args(["-xf", "-"]);
        match self {
            Self::File(path) => {
                zstd.arg(path);
                child::pipe([zstd, tar])
            }
            Self::Remote(place) => child::pipe([transfer(place, Direction::Down)?, zstd, tar]),
        }
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> Result<u64> {
        match self {
            Self::File(path) => Ok(fs::metadata(path)?.len()),
            Self::Remote(place) => Ok(place.contents()?.1),
        }
    }
}

impl Drop for Archive<'_> {
    fn drop(&mut self) {
        // A place empties itself.
        if let Self::File(path) = self
            && let Err(error) = workspace::remove_file(path)
        {
            eprintln!("cachefs-bench: could not clean up: {error}");
        }
    }
}

/// This program as one that carries a stream.
fn transfer(place: &Place<'_>, direction: Direction) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["transfer", direction.argument()]);
    command.args(place.options()).envs(place.variables());
    Ok(command)
}

/// The versions of both programs, one line each; fails when one is not installed.
pub(crate) fn versions() -> Result<Vec<String>> {
    let first_line = |program: &str| -> Result<String> {
        let asked = child::run(Command::new(program).arg("--version"), OnSignal::End)?;
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
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        let path = temp.path().join("archive");
        let archive = Archive::File(path.clone());
        archive.save(&from).unwrap();
        assert_eq!(archive.bytes().unwrap(), fs::metadata(&path).unwrap().len());
        archive.restore(&to).unwrap();
        assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"text");
        drop(archive);
        assert!(!path.exists());
        Archive::File(from.join("none")).restore(&to).unwrap_err();
    }
}
