//! The references: `tar | zstd`, and a plain directory in the page cache.

use anyhow::Result;

use super::{CompareRun, V1, quantity};
use crate::common::print_step;
use crate::dataset::verify_totals;
use crate::tools::tar::{NAME, TarArchive, TarCompressor};
use crate::work::{find, read};
use crate::workspace;

impl<'a> CompareRun<'a> {
    /// Packs the plain directory and records time, size and memory.
    pub(super) fn tar_save(&mut self, key: &str) -> Result<TarArchive<'a>> {
        print_step(&format!("tar: save {key}"))?;
        let target = &self.setup.target;
        let archive = if target.is_bucket() {
            TarArchive::remote(TarCompressor::Zstd, target.place(&format!("tar-{key}"))?)
        } else {
            let path = self.setup.workspace.path().join(format!("{key}.tar.zst"));
            TarArchive::file(TarCompressor::Zstd, path)
        };
        let packed = archive.save(&self.subject.plain)?;
        let bytes = archive.bytes()?;
        let (time, size) = if key == V1 {
            // For a bucket the pipe includes our own upload program, whose memory would distort the
            // sum.
            if archive.is_file() {
                let peak = packed.peak_memory;
                self.recorder
                    .bytes(quantity::MEMORY, "tar + zstd, save v1", peak);
            }
            (quantity::SAVE_FIRST, quantity::STORED)
        } else {
            (quantity::SAVE_SECOND, quantity::ADDED)
        };
        self.recorder.time(time, NAME, packed.wall);
        self.recorder.bytes(size, NAME, bytes);
        Ok(archive)
    }

    /// Unpacks v1 and reads all files.
    pub(super) fn tar_restore(&mut self, archive: TarArchive<'_>) -> Result<()> {
        print_step("tar: restore, list, read one file, read all")?;
        let dir = self.setup.workspace.fresh("unpacked")?;
        let unpacked = archive.restore(&dir)?.wall;
        let listed = find::list_directory(&dir)?;
        let one = read::read_file(&dir.join(&self.subject.typical))?;
        let (all, totals) = read::read_all_files(&dir, 2)?;
        let (all_one, _) = read::read_all_files(&dir, 1)?;
        verify_totals("what tar unpacked", totals, self.subject.v1.totals)?;
        let recorder = &mut *self.recorder;
        recorder.time(quantity::READY, NAME, unpacked);
        recorder.time(quantity::FIRST_FILE, NAME, unpacked + listed + one);
        recorder.time(quantity::READ_COLD, NAME, unpacked + all);
        recorder.time(quantity::READ_COLD_ONE, NAME, unpacked + all_one);
        recorder.time(quantity::COPY, NAME, unpacked);
        workspace::remove_directory(&dir)
    }

    /// Walks and reads the plain directory, which is in the page cache.
    pub(super) fn walk_plain(&mut self) -> Result<()> {
        print_step("plain directory: find, read all")?;
        let plain = &self.subject.plain;
        let wanted = self.subject.v1.totals;
        read::read_all_files(plain, 2)?;
        let (found, totals) = find::find_tree(plain)?;
        let (two, read) = read::read_all_files(plain, 2)?;
        let (one, _) = read::read_all_files(plain, 1)?;
        verify_totals("the plain directory", totals, wanted)?;
        verify_totals("the plain directory", read, wanted)?;
        let label = "plain directory, warm";
        self.recorder.time(quantity::FIND, label, found);
        self.recorder.time(quantity::READ_WARM, label, two);
        self.recorder.time(quantity::READ_WARM_ONE, label, one);
        Ok(())
    }
}
