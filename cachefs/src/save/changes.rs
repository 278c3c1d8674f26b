//! What a path has changed of the cache that was restored there, name by name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cachefs_store::layer::{Meta, mode};
use cachefs_store::refs::{Creator, Platform, RefName};
use cachefs_store::remote::{RemoteSpec, RemoteTraffic, Spending};
use cachefs_store::save::{
    Baseline, Delta, Everything, FileNode, FileTree, NodeKind, Packed, Progress,
};
use cachefs_store::secrets::Scanner;
use cachefs_store::stack::{Attr, EntryChange, Ino, Stack};

use super::file_list::FileList;
use super::{Existing, OpenedKey, SaveOptions, open_context, source};
use crate::error::{Error, Result};
use crate::mounts::MountRecords;
use crate::store_dir::StoreDir;

/// A path that is other than in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// Path from the cache's root, without a leading slash; empty for the root itself.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: EntryChange,
    /// Whether it is, or was, a directory.
    pub directory: bool,
    /// Size of the file it was in bytes, unless it was added or no file.
    pub before: Option<u64>,
    /// Size of the file it is, unless it was removed or is no file.
    pub after: Option<u64>,
}

/// What a path has changed.
#[derive(Debug)]
pub struct PathChanges {
    /// The key that was restored there.
    pub name: RefName,
    /// The paths, in order.
    pub paths: Vec<PathChange>,
    /// What it cost.
    pub traffic: RemoteTraffic,
}

/// Lists what a restored path has changed since. Writes nothing; of a mount, only what was written
/// to it is read.
///
/// The remote is the one that the path was restored from, with the options and credentials of
/// `remote`.
pub fn list_path_changes(
    store: &StoreDir,
    path: &Path,
    remote: &RemoteSpec,
    deadline: Option<Duration>,
    progress: &dyn Progress,
) -> Result<PathChanges> {
    let source = source::find_source(&MountRecords::new(store), path)?;
    let Some(record) = &source.record else {
        return Err(Error::usage(
            format!("no cache was restored to {}", path.display()),
            "`cachefs stats` shows what is restored; `cachefs save --dry-run` compares any directory with a key",
        ));
    };
    let options = &SaveOptions {
        path: path.to_owned(),
        name: record.name.clone(),
        remote: RemoteSpec {
            url: record.remote.clone(),
            ..remote.clone()
        },
        deadline,
        creator: Creator::default(),
        platform: Platform::default(),
        parts: serde_json::Value::Null,
        fallback: vec![record.asked_in.clone()],
        role: None,
        exclude: Arc::new(Everything),
        existing: Existing::default(),
        always: false,
        dry_run: true,
        ttl: None,
        strict_consistency: false,
        allow_empty: true,
        ignore_times: false,
        secrets: Arc::new(Scanner::off()),
        saved_from: None,
        spent: Spending::default(),
    };
    let OpenedKey { mut context, .. } = open_context(store, options, source.named_in(), progress)?;
    context.list = true;
    context.files = source
        .complete
        .then(|| FileList::new(store, context.target.domains.own(), &source.path));
    Ok(PathChanges {
        name: record.name.clone(),
        paths: context.change(&source)?.listed,
        traffic: context.session.traffic(),
    })
}

/// Lists a difference between a tree and the stack below it, in the order of paths.
pub(super) fn list_changes(
    tree: &FileTree,
    delta: &Delta,
    packed: &Packed,
    base: &Baseline<'_>,
    stack: &Stack,
) -> cachefs_store::Result<Vec<PathChange>> {
    let mut changes = Vec::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        let path = tree.path(index);
        for name in delta.missing.get(&index).into_iter().flatten() {
            add_removed(stack, join_path(&path, name), &mut changes)?;
        }
        if !delta.emit.get(index).is_some_and(|emit| *emit) {
            continue;
        }
        if matches!(node.kind, NodeKind::Whiteout) {
            add_removed(stack, path, &mut changes)?;
            continue;
        }
        let directory = matches!(node.kind, NodeKind::Directory { .. });
        let below = match index {
            0 => Some(Ino::ROOT),
            _ => stack.find(&path)?,
        };
        let below = below.map(|ino| stack.attr(ino)).transpose()?;
        // What was a directory, or becomes one, has entries of its own.
        let is_alike = |attr: &Attr| (attr.kind() == mode::DIRECTORY) == directory;
        let first = &tree.nodes[node.link.unwrap_or(index)];
        let after = match &first.kind {
            NodeKind::File { size, .. } => Some(*size),
            _ => None,
        };
        let (change, before) = match below {
            Some(attr) if is_alike(&attr) => {
                let Some(change) = kind_of(first, packed, base, stack, &attr)? else {
                    continue;
                };
                (change, file_size(&attr))
            }
            Some(_) => {
                add_removed(stack, path.clone(), &mut changes)?;
                (EntryChange::Added, None)
            }
            None => (EntryChange::Added, None),
        };
        changes.push(PathChange {
            path,
            change,
            directory,
            before,
            after,
        });
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

/// How a node of the difference differs from the entry below it; `None` for a directory that is
/// only on the way to what does.
fn kind_of(
    node: &FileNode,
    packed: &Packed,
    base: &Baseline<'_>,
    stack: &Stack,
    attr: &Attr,
) -> cachefs_store::Result<Option<EntryChange>> {
    let same_content = match &node.kind {
        NodeKind::Directory { .. } => true,
        NodeKind::File { size, content } => {
            attr.kind() == mode::FILE
                && attr.size == *size
                && base.has_content(packed, content, attr.ino, *size)?
        }
        NodeKind::Symlink(target) => {
            attr.kind() == mode::SYMLINK && stack.symlink_target(attr.ino)? == &**target
        }
        NodeKind::Special(rdev) => attr.kind() == node.meta.mode & mode::TYPE && attr.rdev == *rdev,
        NodeKind::Whiteout => false,
    };
    if !same_content {
        return Ok(Some(EntryChange::Modified));
    }
    let meta = stack.meta(attr.ino)?;
    let but_for_time = Meta {
        mtime: meta.mtime,
        ..node.meta.clone()
    };
    Ok(match (node.meta == meta, but_for_time == meta) {
        (true, _) if matches!(node.kind, NodeKind::Directory { .. }) => None,
        // A hard link that leads elsewhere than before.
        (true, _) => Some(EntryChange::Attributes),
        (false, true) => Some(EntryChange::Times),
        (false, false) => Some(EntryChange::Attributes),
    })
}

fn file_size(attr: &Attr) -> Option<u64> {
    (attr.kind() == mode::FILE).then_some(attr.size)
}

fn join_path(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

/// A path of the stack that is gone, with all below it.
fn add_removed(
    stack: &Stack,
    path: Vec<u8>,
    changes: &mut Vec<PathChange>,
) -> cachefs_store::Result<()> {
    let Some(ino) = stack.find(&path)? else {
        return Ok(());
    };
    let mut pending = vec![(path, ino)];
    while let Some((path, ino)) = pending.pop() {
        let attr = stack.attr(ino)?;
        let directory = attr.kind() == mode::DIRECTORY;
        if directory {
            stack.list(ino, 0, |_, name, child| {
                pending.push((join_path(&path, name), child));
                Ok(true)
            })?;
        }
        changes.push(PathChange {
            path,
            change: EntryChange::Removed,
            directory,
            before: file_size(&attr),
            after: None,
        });
    }
    Ok(())
}
