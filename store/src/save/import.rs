//! Saving the files of a tar archive.

use std::io::Read;

use super::change::packs_missing;
use super::delta::{Baseline, MissingEntries};
use super::hard_links::diff_links;
use super::job::SaveJob;
use super::layer::build_layer;
use super::moved_files::Moved;
use super::packed_path::{PackedPath, PathDelta};
use super::pipeline::Packed;
use super::report::SaveReport;
use super::target::Target;
use crate::archive::{self, ReadOptions};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::stack::Stack;

/// Result of an import.
#[derive(Debug)]
pub struct ImportReport {
    /// The save of the archive's files.
    pub save: SaveReport,
    /// Number of members that are not below the directory.
    pub outside: u64,
    /// The archive's own name of the directory, when it was found out.
    pub found: Option<String>,
}

/// An archive that is read.
pub type ArchiveSource<'a> = Box<dyn Read + Send + 'a>;

impl SaveJob {
    /// Saves the files of an archive as one layer on top of the key's stack. Members that the key
    /// has and the archive lacks stay.
    ///
    /// `open` opens the archive at its beginning. It is called a second time if the index named
    /// packs that the remote no longer has, and may then return `None` if the source cannot be read
    /// again.
    ///
    /// # Errors
    ///
    /// [`Error::ArchiveConsumed`] if the archive is needed a second time and cannot be read again;
    /// otherwise the errors of [`SaveJob::run`], of `open`, and of the archive.
    pub fn import<'a, E: From<Error>>(
        self,
        options: &ReadOptions,
        open: &mut dyn FnMut() -> Result<Option<ArchiveSource<'a>>, E>,
        progress: &dyn Progress,
    ) -> Result<ImportReport, E> {
        let began = self.now();
        let base = self.held();
        let stack = Stack::new(self.open_layers(&base)?)?;
        let baseline = Baseline::new(&stack, &self.target)?;
        self.target.learn(&baseline.packs())?;
        // As with a directory: the index may name packs that someone has deleted from the remote.
        for _ in 0..2 {
            let source = open()?.ok_or(Error::ArchiveConsumed)?;
            let target = &self.target;
            let mut read =
                archive::read_archive(source, options, target, Packed::default(), progress)?;
            if Self::is_incomplete(target, &baseline, &read.packed)? {
                continue;
            }
            let (moved, deletions) = (Moved::default(), MissingEntries::Ignore);
            let (tree, packed) = (&read.tree, &read.packed);
            let (delta, joined) = diff_links(tree, &moved, &baseline, packed, true, deletions)?;
            let tree = joined.as_ref().unwrap_or(tree);
            let layer = if delta.is_empty() && !base.is_empty() {
                None
            } else {
                Some(build_layer(tree, &delta, packed, &baseline)?)
            };
            let stored = self.store_layers(PackedPath {
                delta: PathDelta {
                    scanned: tree.files(),
                    delta,
                    layer,
                    skipped: std::mem::take(&mut read.skipped),
                    packed: std::mem::take(&mut read.packed),
                    ..PathDelta::default()
                },
                base,
                restored_at: None,
                previous: None,
                began,
            })?;
            return Ok(ImportReport {
                save: self.publish(stored)?,
                outside: read.outside,
                found: read.found,
            });
        }
        Err(packs_missing().into())
    }
}
