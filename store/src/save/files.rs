//! Packing the files of a tree: of one at rest, or of one that other programs write to.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use super::batch::{self, FileBatch, OnChange, ReadBatch, ReadPart};
use super::gathered::GatheredNodes;
use super::pipeline::{Packed, ReadBatches, Supply, pack_supply};
use super::reading::{Reading, Skipped};
use super::secret_guard::{Guard, Watch};
use super::target::Target;
use super::tree::{FileContent, FileTree, NodeKind};
use super::unstable_files;
use crate::error::Result;
use crate::progress::Progress;

/// The files to pack, and how they are read.
pub(super) struct FilesToPack<'a> {
    /// The directory that the tree was scanned from.
    pub(super) root: BorrowedFd<'a>,
    pub(super) reading: &'a dyn Reading,
    pub(super) gathered: &'a GatheredNodes,
    pub(super) guard: Guard<'a>,
    pub(super) consistency: Consistency,
}

/// Treatment of a file that changes while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consistency {
    /// It fails the save with [`Error::Changed`](crate::Error::Changed): nothing should write to the
    /// path.
    Strict,
    /// It is read again, and in the end taken as it was at one moment. A file that vanishes, or has no
    /// two equal reads, is left out.
    Settle,
}

/// Reads every unread file of `tree`, stores the new chunks, and notes in the tree which chunks
/// each file consists of. Also returns the files that were left out.
///
/// `known` holds the locations of chunks that the tree refers to already; it becomes part of the
/// result. If the guard rejects a file, none of its chunks with a secret is stored. If the
/// rejection fails the save, the remaining files are still searched, but not stored.
///
/// # Errors
///
/// Those of the target, and [`Error::Changed`](crate::Error::Changed) depending on [`Consistency`].
pub(super) fn pack_files(
    files: &FilesToPack<'_>,
    tree: &mut FileTree,
    target: &dyn Target,
    known: Packed,
    progress: &dyn Progress,
) -> Result<(Packed, Vec<Skipped>)> {
    let root = files.root;
    let read = |tree: &FileTree, known, on_change| {
        let supply = FileSupply::new(files, tree, on_change)?;
        pack_supply(&supply, target, known, progress)
    };
    let first = match files.consistency {
        Consistency::Strict => OnChange::Fail,
        Consistency::Settle => OnChange::Mark,
    };
    let (mut packed, parts) = read(tree, known, first)?;
    // With `OnChange::Fail` nothing is marked, so all that follows does nothing.
    let mut changed = note_content(tree, parts, &mut packed);
    let mut skipped = Vec::new();
    for (attempt, pause) in unstable_files::PAUSES.iter().enumerate() {
        if changed.is_empty() {
            break;
        }
        std::thread::sleep(*pause);
        let (unread, gone) = unstable_files::look_again(root, tree, files.reading, &changed)?;
        skipped.extend(gone);
        let is_last = attempt + 1 == unstable_files::PAUSES.len();
        let on_change = if is_last {
            OnChange::Accept
        } else {
            OnChange::Mark
        };
        let (more, parts) = read(tree, packed, on_change)?;
        packed = more;
        changed = note_content(tree, parts, &mut packed);
        if is_last {
            // The last read accepts a file that changes meanwhile. A second read that finds the same
            // bytes shows that the file had this content at the moment between the two.
            let differs = |node: &usize| {
                !tree.is_left_out(*node) && !unstable_files::is_same(root, tree, *node)
            };
            changed = unread.into_iter().filter(differs).collect();
        }
    }
    for node in changed {
        skipped.push(Skipped {
            path: tree.os_path(node),
            what: unstable_files::UNSTABLE,
        });
        if let NodeKind::File { content, .. } = &mut tree.nodes[node].kind {
            *content = FileContent::LeftOut;
        }
    }
    Ok((packed, skipped))
}

/// The unread files of a tree, in batches.
struct FileSupply<'a> {
    files: &'a FilesToPack<'a>,
    tree: &'a FileTree,
    batches: Vec<FileBatch>,
    watch: Watch<'a>,
    on_change: OnChange,
}

impl<'a> FileSupply<'a> {
    fn new(files: &'a FilesToPack<'a>, tree: &'a FileTree, on_change: OnChange) -> Result<Self> {
        Ok(Self {
            files,
            tree,
            batches: batch::plan_batches(files.root, tree, files.gathered)?,
            watch: Watch::new(&files.guard, tree),
            on_change,
        })
    }
}

impl Supply for FileSupply<'_> {
    fn at_most(&self) -> usize {
        self.batches.len()
    }

    fn reader(&self) -> Box<dyn ReadBatches + '_> {
        let FilesToPack {
            root,
            reading,
            gathered,
            ..
        } = self.files;
        let reader =
            batch::BatchReader::new(*root, self.tree, *reading, &self.watch, self.on_change)
                .gathering(gathered);
        Box::new(FilesReader {
            batches: &self.batches,
            reader,
        })
    }

    fn is_complete(&self, batches: usize) -> bool {
        batches >= self.batches.len()
    }
}

struct FilesReader<'a> {
    batches: &'a [FileBatch],
    reader: batch::BatchReader<'a>,
}

impl ReadBatches for FilesReader<'_> {
    fn next(
        &mut self,
        turn: &dyn Fn() -> Option<usize>,
        buffer: Vec<u8>,
    ) -> Result<Option<(usize, ReadBatch)>> {
        let numbered = turn().and_then(|number| Some((number, self.batches.get(number)?)));
        let Some((number, batch)) = numbered else {
            return Ok(None);
        };
        Ok(Some((number, self.reader.read(batch, buffer)?)))
    }
}

/// Notes the chunks of files in the tree, and findings in `packed`. Returns files that changed
/// while they were read; they stay unread.
pub(crate) fn note_content(
    tree: &mut FileTree,
    parts: Vec<ReadPart>,
    packed: &mut Packed,
) -> Vec<usize> {
    let changed: BTreeSet<usize> = parts
        .iter()
        .filter(|part| part.changed)
        .map(|part| part.part.node)
        .collect();
    for part in parts {
        if changed.contains(&part.part.node) {
            continue;
        }
        let node = &mut tree.nodes[part.part.node];
        let is_left_out = part.is_left_out();
        let findings = part.findings.into_iter();
        packed
            .findings
            .extend(findings.map(|finding| (part.part.node, finding)));
        if part.part.range.start == 0 {
            node.meta.xattrs = part.xattrs;
        }
        if let NodeKind::File { content, .. } = &mut node.kind {
            if is_left_out {
                *content = FileContent::LeftOut;
            }
            if *content == FileContent::Unread {
                *content = FileContent::Read(Vec::new());
            }
            if let FileContent::Read(pieces) = content {
                for piece in part.pieces {
                    match (pieces.last_mut(), piece.id) {
                        // A hole that reaches over the border of two parts.
                        (Some((None, hole)), None) => *hole += piece.length,
                        _ => pieces.push((piece.id, piece.length)),
                    }
                }
            }
        }
    }
    changed.into_iter().collect()
}
