//! Saving what a tar archive holds.

use std::io::Read;
use std::time::Instant;

use cachefs_store::archive::{self, ReadOptions};
use cachefs_store::refs;
use cachefs_store::save::{
    Baseline, MissingEntries, Moved, Packed, Progress, build_layer, diff_links,
};
use cachefs_store::stack::Stack;

use super::{FoundChange, OpenedKey, SaveContext, SaveOptions, SaveReport, open_context, publish};
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;

/// What to import, and as what.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The key and how to save it. The path is what the archive is called in messages.
    pub save: SaveOptions,
    /// What becomes of the names in the archive, and how much it may hold.
    pub read: ReadOptions,
}

/// What an import did.
#[derive(Debug)]
pub struct ImportReport {
    /// What was saved.
    pub save: SaveReport,
    /// Number of members that are not below the directory.
    pub outside: u64,
    /// What the archive calls the directory, when that was found out.
    pub found: Option<String>,
}

/// An archive that is read.
pub type ArchiveSource<'a> = Box<dyn Read + Send + 'a>;

/// Saves what an archive holds under a key, as one layer on what the key holds already.
///
/// `open` gives the archive from its beginning. It is called a second time when the index named
/// packs that the remote no longer has, and may then answer `None` if the source can't be read
/// again.
pub fn import_archive<'a>(
    store: &StoreDir,
    options: &ImportOptions,
    open: &mut dyn FnMut() -> Result<Option<ArchiveSource<'a>>>,
    progress: &dyn Progress,
) -> Result<ImportReport> {
    let started = Instant::now();
    let OpenedKey { context, existing } = open_context(store, &options.save, None, progress)?;
    let base = refs::unite_records(refs::retain_unexpired(existing.clone())).0;
    let stack = context.session.open_stack(&base)?;
    let (change, outside, found) =
        change_from_archive(&context, &stack, base.is_empty(), options, open)?;
    let mut save = publish::publish_save(&context, &base, None, existing, change)?;
    save.traffic = context.session.traffic();
    save.elapsed = started.elapsed();
    Ok(ImportReport {
        save,
        outside,
        found,
    })
}

fn change_from_archive<'a>(
    context: &SaveContext<'_>,
    stack: &Stack,
    is_first: bool,
    options: &ImportOptions,
    open: &mut dyn FnMut() -> Result<Option<ArchiveSource<'a>>>,
) -> Result<(FoundChange, u64, Option<String>)> {
    let target = &context.target;
    let base = Baseline::new(stack, target)?;
    cachefs_store::save::Target::learn(target, &base.packs())?;
    // As with a directory: the index may name packs that someone has deleted from the remote.
    for _ in 0..2 {
        let Some(source) = open()? else {
            return Err(Error::State {
                message: "the remote has lost packs that the archive's files were known to be in"
                    .to_owned(),
                hint: "import it again: they are stored anew",
            });
        };
        let read = archive::read_archive(
            source,
            &options.read,
            target,
            Packed::default(),
            context.progress,
        )?;
        if context.is_incomplete(target, &base, &read.packed)? {
            continue;
        }
        let (moved, deletions) = (Moved::default(), MissingEntries::Ignore);
        let (delta, joined) = diff_links(&read.tree, &moved, &base, &read.packed, true, deletions)?;
        let tree = joined.as_ref().unwrap_or(&read.tree);
        let layer = if delta.is_empty() && !is_first {
            None
        } else {
            Some(build_layer(tree, &delta, &read.packed, &base)?)
        };
        let change = FoundChange {
            listed: Vec::new(),
            shrinkage: None,
            findings: Vec::new(),
            refused: false,
            empty: false,
            scanned: read.tree.files(),
            delta,
            layer,
            packed: read.packed,
            skipped: read.skipped,
        };
        return Ok((change, read.outside, read.found));
    }
    let packs = "packs that were just written are not there";
    Err(cachefs_store::Error::damaged("the remote", packs).into())
}
