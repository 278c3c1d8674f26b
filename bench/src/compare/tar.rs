//! The other side: `tar | zstd`, and a plain directory in the page cache.

use anyhow::Result;

use super::recorder::Group;
use super::{Run, V1, verify};
use crate::tools::tar::{Archive, NAME};
use crate::work::{find, read};
use crate::workspace;

impl<'a> Run<'a> {
    /// Packs the plain directory, and notes time, bytes and memory.
    pub(super) fn tar_save(&mut self, key: &str) -> Result<Archive<'a>> {
        self.step(&format!("tar: save {key}"))?;
        let archive = match &self.target.directory() {
            Some(_) => Archive::File(self.bench.workspace.path().join(format!("{key}.tar.zst"))),
            None => Archive::Remote(self.target.place(&format!("tar-{key}"))?),
        };
        let packed = archive.save(&self.bench.plain)?;
        let bytes = archive.bytes()?;
        let (time, size) = if key == V1 {
            // In a longer pipe there is a program of ours too, which is not what is asked about.
            if let Archive::File(_) = archive {
                let peak = packed.peak_memory;
                self.recorder
                    .bytes(Group::Memory, "tar + zstd, save v1", peak);
            }
            (Group::SaveFirst, Group::Stored)
        } else {
            (Group::SaveSecond, Group::Added)
        };
        self.recorder.time(time, NAME, packed.wall);
        self.recorder.bytes(size, NAME, bytes);
        Ok(archive)
    }

    /// Unpacks the first version and reads all of it.
    pub(super) fn tar_restore(&mut self, archive: Archive<'_>) -> Result<()> {
        self.step("tar: restore, list, read one file, read all")?;
        let dir = self.bench.workspace.fresh("unpacked")?;
        let unpacked = archive.restore(&dir)?.wall;
        let listed = find::list(&dir)?;
        let one = read::file(&dir.join(&self.bench.typical))?;
        let (all, totals) = read::all(&dir, 2)?;
        let (all_one, _) = read::all(&dir, 1)?;
        verify("what tar unpacked", totals, self.bench.v1.totals)?;
        let recorder = &mut *self.recorder;
        recorder.time(Group::Ready, NAME, unpacked);
        recorder.time(Group::FirstFile, NAME, unpacked + listed + one);
        recorder.time(Group::ReadCold, NAME, unpacked + all);
        recorder.time(Group::ReadColdOne, NAME, unpacked + all_one);
        recorder.time(Group::Copy, NAME, unpacked);
        workspace::remove(&dir)
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
