//! Squashing: several layers of a stack rewritten as one. Only metadata moves; chunks stay in the
//! packs they are in.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::InodeRef;
use super::merge::{self, Merged, Sources};
use crate::error::Result;
use crate::layer::{
    BuiltLayer, EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewFilePiece, NewInode, NewKind,
    ROOT, mode,
};

/// Number of layers below the newest that a stack may have. Saves squash deeper ones: each layer costs
/// a look-up in every directory that is read.
pub const SQUASH_DEPTH: usize = 16;

/// Selects the layers to squash, given the number of entries of each from the bottom; `None` if
/// there are at most `depth`, usually [`SQUASH_DEPTH`].
///
/// The bottom layer, which many keys and branches share, stays unless the layers on top have grown
/// to half of it. So squashing writes each entry a bounded number of times, and a base remains one
/// object that every machine has.
pub fn squash_plan(entries: &[u64], depth: usize) -> Option<Range<usize>> {
    if entries.len() <= depth.max(1) {
        return None;
    }
    // Counts of records, which need not be true.
    let above = entries[1..].iter().copied().fold(0, u64::saturating_add);
    let first = if above < entries[0] / 2 { 1 } else { 0 };
    // One layer alone is as shallow as it gets.
    Some(first..entries.len()).filter(|range| range.len() > 1)
}

/// Rewrites `layers` as one layer that has the same effect.
///
/// `bottom` says that nothing lies below them, so that marks which only hide lower layers can go.
pub fn squash_layers(layers: &[Arc<Layer>], bottom: bool) -> Result<BuiltLayer> {
    let mut packs = Vec::new();
    for layer in layers {
        layer.check_shares()?;
        packs.extend(layer.packs()?);
    }
    let roots = merge::root_sources(layers)?;
    let top = roots.places[0];
    let mut builder = LayerBuilder::new(&layers[top.layer].meta(top.inode)?, packs)?;
    let mut links = HashMap::new();
    let mut pending = vec![(ROOT, roots)];
    while let Some((inode, sources)) = pending.pop() {
        let entries = squash_entries(layers, &sources, bottom)?;
        let directories =
            fill_directory(&mut builder, inode, &entries, layers, bottom, &mut links)?;
        pending.extend(directories.into_iter().rev());
    }
    builder.finish()
}

struct SquashEntry {
    name: Vec<u8>,
    merged: Merged,
    meta: Meta,
    links: u32,
    content: Vec<NewFilePiece>,
    size: u64,
}

fn squash_entries(
    layers: &[Arc<Layer>],
    sources: &Sources,
    bottom: bool,
) -> Result<Vec<SquashEntry>> {
    let mut entries = Vec::new();
    merge::list_merged(layers, sources, |name, _, _, merged| {
        let place = match &merged {
            Merged::Absent => return Ok(()),
            Merged::Whiteout if bottom || sources.closed => return Ok(()),
            Merged::Whiteout => None,
            Merged::Leaf(place) => Some(*place),
            Merged::Directory(sources) => Some(sources.places[0]),
        };
        let mut entry = SquashEntry {
            name: name.to_vec(),
            merged,
            meta: Meta::default(),
            links: 1,
            content: Vec::new(),
            size: 0,
        };
        if let Some(place) = place {
            let layer = &layers[place.layer];
            let record = layer.inode(place.inode)?;
            entry.meta = layer.meta(place.inode)?;
            entry.links = record.links.get();
            entry.size = record.size.get();
            if record.mode.get() & mode::TYPE == mode::FILE {
                entry.content = layer_content(layer, place.inode, record.size.get())?;
            }
        }
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

/// A file's pieces in the form in which layers are built.
pub(crate) fn layer_content(layer: &Layer, inode: u32, size: u64) -> Result<Vec<NewFilePiece>> {
    layer
        .pieces(inode, 0..size)?
        .map(|piece| {
            let piece = piece?;
            Ok(match piece.location {
                Some(location) => NewFilePiece::Chunk(location),
                None => NewFilePiece::Hole(piece.end - piece.start),
            })
        })
        .collect()
}

/// Adds the entries of one directory; returns its subdirectories and their sources.
fn fill_directory(
    builder: &mut LayerBuilder,
    directory: u32,
    entries: &[SquashEntry],
    layers: &[Arc<Layer>],
    bottom: bool,
    links: &mut HashMap<InodeRef, u32>,
) -> Result<Vec<(u32, Sources)>> {
    let mut new = Vec::with_capacity(entries.len());
    let mut linked_here: HashMap<InodeRef, usize> = HashMap::new();
    for (position, entry) in entries.iter().enumerate() {
        let link = match &entry.merged {
            Merged::Absent | Merged::Whiteout => EntryTarget::Whiteout,
            Merged::Directory(sources) => EntryTarget::New(entry.inode(NewKind::Directory {
                opaque: sources.closed && !bottom,
            })),
            Merged::Leaf(place) => match (links.get(place), linked_here.get(place)) {
                (Some(inode), _) => EntryTarget::Existing(*inode),
                (None, Some(position)) => EntryTarget::SameAs(*position),
                (None, None) => {
                    if entry.links > 1 {
                        linked_here.insert(*place, position);
                    }
                    EntryTarget::New(entry.inode(match entry.meta.mode & mode::TYPE {
                        mode::FILE => NewKind::File {
                            size: entry.size,
                            content: &entry.content,
                        },
                        mode::SYMLINK => {
                            NewKind::Symlink(layers[place.layer].symlink_target(place.inode)?)
                        }
                        _ => NewKind::Special(entry.size),
                    }))
                }
            },
        };
        new.push(NewEntry {
            name: &entry.name,
            link,
        });
    }
    let inodes = builder.fill(directory, &new)?;
    let mut directories = Vec::new();
    links.extend(
        linked_here
            .into_iter()
            .map(|(place, position)| (place, inodes[position])),
    );
    for (entry, inode) in entries.iter().zip(inodes) {
        if let Merged::Directory(sources) = &entry.merged {
            directories.push((inode, sources.clone()));
        }
    }
    Ok(directories)
}

impl SquashEntry {
    fn inode<'a>(&'a self, kind: NewKind<'a>) -> NewInode<'a> {
        NewInode {
            meta: &self.meta,
            kind,
        }
    }
}
