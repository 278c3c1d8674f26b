//! The difference between a path and the stack that it is a change of.

use std::collections::HashSet;
use std::time::SystemTime;

use super::changed_paths::{PathChange, list_changed_paths};
use super::delta::{Baseline, Delta, MissingEntries};
use super::dry_target::DryTarget;
use super::exclude::remove_excluded;
use super::file_list::FileList;
use super::files::{Consistency, FilesToPack, pack_files};
use super::gathered::{GatheredNodes, find_gathered};
use super::hard_links::diff_links;
use super::job::SaveJob;
use super::layer::build_layer;
use super::moved_files::Moved;
use super::overlay_redirects::graft_redirects;
use super::packed_path::PathDelta;
use super::pipeline::Packed;
use super::saved_owner::give_back;
use super::scan::{Scanned, confirm_unchanged, scan_settled, scan_tree};
use super::secret_guard::Guard;
use super::shrinkage::measure_shrinkage;
use super::source::PathSource;
use super::target::Target;
use super::tree::FileTree;
use crate::error::{Error, Result};
use crate::layer::BuiltLayer;
use crate::progress::Progress;
use crate::secrets::SecretHandling;
use crate::stack::Stack;

/// State shared by both rounds of a comparison.
struct DeltaSearch<'a> {
    job: &'a SaveJob,
    source: &'a PathSource,
    files: Option<&'a FileList>,
    stack: &'a Stack,
    target: &'a dyn Target,
    base: Baseline<'a>,
    progress: &'a dyn Progress,
}

/// A difference with all that it was found from.
struct FoundDelta {
    tree: FileTree,
    delta: PathDelta,
}

impl SaveJob {
    /// Finds the changes of a path, and stores the new chunks.
    pub(super) fn find_delta(
        &self,
        source: &PathSource,
        files: Option<&FileList>,
        progress: &dyn Progress,
    ) -> Result<PathDelta> {
        let found = self.search(source, files, progress, |_, _| Ok(()))?;
        Ok(found.delta)
    }

    /// Lists the changes of a restored path, sorted by path. Writes nothing if the request is a dry
    /// run.
    pub fn list_changes(
        &self,
        source: &PathSource,
        progress: &dyn Progress,
    ) -> Result<Vec<PathChange>> {
        let files = source.complete.then(|| self.file_list(source));
        let mut changes = Vec::new();
        self.search(source, files.as_ref(), progress, |search, found| {
            let FoundDelta { tree, delta } = found;
            let (base, stack) = (&search.base, search.stack);
            changes = list_changed_paths(tree, &delta.delta, &delta.packed, base, stack)?;
            Ok(())
        })?;
        Ok(changes)
    }

    /// Finds the difference, and calls `inspect` with it while the stack is still open.
    fn search(
        &self,
        source: &PathSource,
        files: Option<&FileList>,
        progress: &dyn Progress,
        inspect: impl FnOnce(&DeltaSearch<'_>, &FoundDelta) -> Result<()>,
    ) -> Result<FoundDelta> {
        let mut stack = Stack::new(self.open_layers(&source.base)?)?;
        // Entries that the mount hides from its user are not missing.
        if source.restored().is_some_and(|path| !path.privileged) {
            stack = stack.without_privileges();
        }
        let without_writing = DryTarget(&self.target);
        let target: &dyn Target = if self.state.request.dry_run {
            &without_writing
        } else {
            &self.target
        };
        let search = DeltaSearch {
            job: self,
            source,
            files,
            stack: &stack,
            target,
            base: Baseline::new(&stack, target)?,
            progress,
        };
        // The index may know packs that are gone, for example because someone emptied the remote.
        // The index then forgets them, and the second round reads all files and stores the missing
        // chunks.
        for round in 0..2 {
            if let Some(found) = search.try_once(round == 0)? {
                inspect(&search, &found)?;
                return Ok(found);
            }
        }
        Err(packs_missing())
    }

    /// Whether the index named a pack that the remote no longer has. The stack's own packs are
    /// taken to be there: a ref that can be read names nothing that is missing.
    pub(super) fn is_incomplete(
        target: &dyn Target,
        base: &Baseline<'_>,
        packed: &Packed,
    ) -> Result<bool> {
        let own: HashSet<_> = base.packs().into_iter().map(|pack| pack.id).collect();
        let foreign: Vec<_> = packed
            .known_packs
            .values()
            .filter(|pack| !own.contains(&pack.id))
            .copied()
            .collect();
        Ok(!foreign.is_empty() && !target.confirm(&foreign)?.is_empty())
    }
}

/// The error when even packs that this save has written are not there.
pub(super) fn packs_missing() -> Error {
    Error::damaged("the remote", "packs that were just written are missing")
}

impl DeltaSearch<'_> {
    /// Runs one round; `None` if the index named packs that are gone. `may_recall` allows skipping
    /// files whose times show that an earlier save has read them.
    fn try_once(&self, may_recall: bool) -> Result<Option<FoundDelta>> {
        let request = &self.job.state.request;
        let (source, exclude) = (self.source, &*request.exclude);
        // Taken before the scan: a file that is written from here on must be read by the next save.
        let started = SystemTime::now();
        // The upper of a mount lists only changes: a file that the scan misses would come back as it
        // is in the layer below.
        let scan_all = if source.complete {
            scan_tree
        } else {
            scan_settled
        };
        let mut scanned = scan_all(source.root(), source.reading(), exclude, self.progress)?;
        if request.strict_consistency {
            scanned.refuse_vanished()?;
        }
        let gathered = find_gathered(&mut scanned.tree, &source.gathered);
        let counts = scanned.tree.files();
        if !request.allow_empty && source.is_empty(&scanned.tree) {
            let delta = PathDelta {
                skipped: scanned.skipped,
                empty: true,
                scanned: counts,
                ..PathDelta::default()
            };
            return Ok(Some(FoundDelta {
                tree: scanned.tree,
                delta,
            }));
        }
        self.progress.total(counts.0, counts.1);
        let known = match may_recall && !request.ignore_times {
            true => self.recall_files(&mut scanned.tree),
            false => Packed::default(),
        };
        let unread = scanned.tree.unread();
        self.progress.done(counts.0 - unread.0, counts.1 - unread.1);
        // Only files that are read look chunks up, so an unchanged path costs no requests here.
        if unread.0 > 0 {
            self.target.learn(&self.base.packs())?;
        }
        let moved = self.map_to_stack(&mut scanned)?;
        let mut packed = self.pack(&mut scanned, &gathered, known)?;
        let mut findings = packed.findings.iter();
        let mut delta = PathDelta {
            refused: findings.any(|(_, found)| found.fate == SecretHandling::Refused),
            skipped: std::mem::take(&mut scanned.skipped),
            scanned: counts,
            ..PathDelta::default()
        };
        if !delta.refused {
            // Each file was checked while it was read. On a mount, also check that nothing was added
            // or removed meanwhile.
            if !source.complete && request.strict_consistency {
                confirm_unchanged(source.root(), &scanned.tree)?;
            }
            if SaveJob::is_incomplete(self.target, &self.base, &packed)? {
                return Ok(None);
            }
            let is_read = unread.0 > 0 && !request.dry_run;
            let files = self.files.filter(|_| is_read);
            (delta.delta, delta.layer) = std::thread::scope(|scope| {
                if let Some(files) = files {
                    let (tree, packed) = (&scanned.tree, &packed);
                    scope.spawn(move || files.write(tree, packed, started, &request.secrets));
                }
                self.compare(&scanned.tree, &moved, &packed)
            })?;
            delta.shrinkage = measure_shrinkage(&scanned.tree, &delta.delta, self.stack)?;
        }
        // Only now: the list of files leaves out those with findings.
        let findings = std::mem::take(&mut packed.findings);
        delta.findings = findings.into_iter().map(|(_, finding)| finding).collect();
        delta.packed = packed;
        Ok(Some(FoundDelta {
            tree: scanned.tree,
            delta,
        }))
    }

    /// Notes in the tree the content of files that an earlier save read and nobody touched since.
    /// Returns where their chunks are.
    fn recall_files(&self, tree: &mut FileTree) -> Packed {
        let scanner = &self.job.state.request.secrets;
        self.files
            .and_then(FileList::read)
            // A list by a save that searched for other secrets says nothing of these.
            .filter(|seen| seen.is_searched_by(scanner))
            .map_or_else(Packed::default, |seen| {
                seen.apply(tree, self.source.shown())
            })
    }

    /// Reverts the differences that a restore makes on purpose: owners, renamed directories, and
    /// entries that earlier saves left out.
    fn map_to_stack(&self, scanned: &mut Scanned) -> Result<Moved> {
        let Scanned {
            tree, redirects, ..
        } = scanned;
        let (source, exclude) = (self.source, &*self.job.state.request.exclude);
        if let Some(owner) = source.restored().and_then(|path| path.owner) {
            give_back(tree, redirects, self.stack, owner)?;
        }
        let moved = graft_redirects(tree, redirects, self.stack, exclude)?;
        // Only a complete directory whose missing entries count as deleted lists all of its
        // entries.
        if !(source.complete && source.deletions == MissingEntries::Record) {
            remove_excluded(tree, self.stack, exclude)?;
        }
        Ok(moved)
    }

    /// Reads the files that are not known, and stores their new chunks.
    fn pack(
        &self,
        scanned: &mut Scanned,
        gathered: &GatheredNodes,
        known: Packed,
    ) -> Result<Packed> {
        let request = &self.job.state.request;
        let files = FilesToPack {
            root: self.source.root(),
            reading: self.source.reading(),
            gathered,
            guard: Guard {
                scanner: &request.secrets,
                root: self.source.shown(),
                below: self.stack,
            },
            consistency: match request.strict_consistency {
                true => Consistency::Strict,
                false => Consistency::Settle,
            },
        };
        let (target, progress) = (self.target, self.progress);
        let (packed, skipped) = pack_files(&files, &mut scanned.tree, target, known, progress)?;
        scanned.skipped.extend(skipped);
        Ok(packed)
    }

    /// The difference to the stack, and the layer that makes it.
    fn compare(
        &self,
        tree: &FileTree,
        moved: &Moved,
        packed: &Packed,
    ) -> Result<(Delta, Option<BuiltLayer>)> {
        let (complete, deletions) = (self.source.complete, self.source.deletions);
        let (delta, joined) = diff_links(tree, moved, &self.base, packed, complete, deletions)?;
        let tree = joined.as_ref().unwrap_or(tree);
        // The first save of a key has a layer even if the directory is empty.
        let is_first = self.source.base.is_empty();
        let layer = if delta.is_empty() && !is_first {
            None
        } else {
            Some(build_layer(tree, &delta, packed, &self.base)?)
        };
        Ok((delta, layer))
    }
}
