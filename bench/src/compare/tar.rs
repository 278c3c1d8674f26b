//! The other side: `tar | zstd`, and a plain directory in the page cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::recorder::Group;
use super::{Run, V1, verify};
use crate::tools::tar;
use crate::work::{find, read};
use crate::workspace;

impl Run<'_> {
    /// Packs the plain directory, and notes time, bytes and memory.
    pub(super) fn tar_save(&mut self, key: &str) -> Result<PathBuf> {
        self.step(&format!("tar: save {key}"))?;
        let archive = self.bench.workspace.path().join(format!("{key}.tar.zst"));
        workspace::remove_file(&archive)?;
        let packed = tar::save(&self.bench.plain, &archive)?;
        let bytes = fs::metadata(&archive)?.len();
        let (time, size) = if key == V1 {
            self.recorder
                .bytes(Group::Memory, "tar + zstd, save v1", packed.peak_memory);
            (Group::SaveFirst, Group::Stored)
        } else {
            (Group::SaveSecond, Group::Added)
        };
        self.recorder.time(time, tar::NAME, packed.wall);
        self.recorder.bytes(size, tar::NAME, bytes);
        Ok(archive)
    }

    /// Unpacks the first version and reads all of it.
    pub(super) fn tar_restore(&mut self, archive: &Path) -> Result<()> {
        self.step("tar: restore, list, read one file, read all")?;
        let dir = self.bench.workspace.fresh("unpacked")?;
        let unpacked = tar::restore(archive, &dir)?.wall;
        let listed = find::list(&dir)?;
        let one = read::file(&dir.join(&self.bench.typical))?;
        let (all, totals) = read::all(&dir, 2)?;
        let (all_one, _) = read::all(&dir, 1)?;
        verify("what tar unpacked", totals, self.bench.v1.totals)?;
        let recorder = &mut *self.recorder;
        recorder.time(Group::Ready, tar::NAME, unpacked);
        recorder.time(Group::FirstFile, tar::NAME, unpacked + listed + one);
        recorder.time(Group::ReadCold, tar::NAME, unpacked + all);
        recorder.time(Group::ReadColdOne, tar::NAME, unpacked + all_one);
        recorder.time(Group::Copy, tar::NAME, unpacked);
        workspace::remove(&dir)?;
        Ok(workspace::remove_file(archive)?)
    }

    /// Walks and reads the plain directory, which is in the page cache.
    pub(super) fn walk_plain(&mut self) -> Result<()> {
        self.step("plain directory: find, read all")?;
        let plain = &self.bench.plain;
        let wanted = self.bench.v1.totals;
        read::all(plain, 2)?;
        let (found, totals) = find::find(plain)?;
        let (two, read) = read::all(plain, 2)?;
        let (one, _) = read::all(plain, 1)?;
        verify("the plain directory", totals, wanted)?;
        verify("the plain directory", read, wanted)?;
        let label = "plain directory, warm";
        self.recorder.time(Group::Find, label, found);
        self.recorder.time(Group::ReadWarm, label, two);
        self.recorder.time(Group::ReadWarmOne, label, one);
        Ok(())
    }
}
