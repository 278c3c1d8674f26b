//! `tar | zstd`, which is what CI caches do today.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::child::{self, Finished, OnSignal};

/// How the table calls it.
pub(crate) const NAME: &str = "tar | zstd -T0 -3";

/// Packs a directory into an archive: `tar -C DIR -cf - . | zstd -T0 -3`.
pub(crate) fn save(dir: &Path, archive: &Path) -> Result<Finished> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir).args(["-cf", "-", "."]);
    let mut zstd = Command::new("zstd");
    zstd.args(["-T0", "-3", "-q", "-f", "-o"]).arg(archive);
    child::pipe(&mut tar, &mut zstd)
}

/// Unpacks an archive into a directory that exists: `zstd -dc | tar -x`.
pub(crate) fn restore(archive: &Path, dir: &Path) -> Result<Finished> {
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", "-dc"]).arg(archive);
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir).args(["-xf", "-"]);
    child::pipe(&mut zstd, &mut tar)
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
    use std::fs;

    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("from"), temp.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        let archive = temp.path().join("archive");
        save(&from, &archive).unwrap();
        assert!(fs::metadata(&archive).unwrap().len() > 0);
        restore(&archive, &to).unwrap();
        assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"text");
        restore(&from.join("none"), &to).unwrap_err();
    }
}
