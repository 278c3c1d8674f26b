//! The rule by which entries of the same path in several layers become one.

use std::sync::Arc;

use super::InodeRef;
use crate::error::{Error, Result};
use crate::layer::{Layer, ROOT, mode};

/// The directories of several layers that together make up one directory, topmost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    /// At least one.
    pub(crate) places: Vec<InodeRef>,
    /// Whether anything below these layers is hidden.
    pub(crate) closed: bool,
}

/// Target of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merged {
    /// No layer says anything about it.
    Absent,
    /// The topmost layer with this name removes it.
    Whiteout,
    /// Anything but a directory.
    Leaf(InodeRef),
    /// A directory.
    Directory(Sources),
}

fn is_directory(layer: &Layer, inode: u32) -> Result<bool> {
    Ok(layer.inode(inode)?.mode.get() & mode::TYPE == mode::DIRECTORY)
}

/// The roots of all layers.
pub(crate) fn root_sources(layers: &[Arc<Layer>]) -> Result<Sources> {
    let mut sources = Sources {
        places: Vec::with_capacity(layers.len()),
        closed: false,
    };
    for (number, layer) in layers.iter().enumerate().rev() {
        if !is_directory(layer, ROOT)? {
            return Err(Error::damaged(
                format!("layer {}", layer.id()),
                "its root is not a directory",
            ));
        }
        sources.places.push(InodeRef {
            layer: number,
            inode: ROOT,
        });
        if layer.is_opaque(ROOT)? {
            sources.closed = true;
            break;
        }
    }
    Ok(sources)
}

/// Merges the entries of all sources of a directory for one name.
///
/// `find` looks the name up in one source: `None` if that source does not contain it, `Some(None)`
/// for a whiteout.
pub(crate) fn resolve_name(
    layers: &[Arc<Layer>],
    sources: &Sources,
    mut find: impl FnMut(&InodeRef) -> Result<Option<Option<u32>>>,
) -> Result<Merged> {
    let mut directory: Option<Sources> = None;
    for place in &sources.places {
        let Some(found) = find(place)? else { continue };
        let layer = &layers[place.layer];
        match (found, &mut directory) {
            // A whiteout above all other entries: the name does not exist, whatever the layers
            // below contain.
            (None, None) => return Ok(Merged::Whiteout),
            (Some(inode), open) if is_directory(layer, inode)? => {
                let here = InodeRef {
                    layer: place.layer,
                    inode,
                };
                let sources = open.get_or_insert(Sources {
                    places: Vec::new(),
                    closed: false,
                });
                sources.places.push(here);
                if layer.is_opaque(inode)? {
                    sources.closed = true;
                    break;
                }
            }
            (Some(inode), None) => {
                return Ok(Merged::Leaf(InodeRef {
                    layer: place.layer,
                    inode,
                }));
            }
            // A whiteout or a file below a directory ends the list of its sources.
            (_, Some(sources)) => {
                sources.closed = true;
                break;
            }
        }
    }
    Ok(match directory {
        None => Merged::Absent,
        Some(mut directory) => {
            directory.closed |= sources.closed;
            Merged::Directory(directory)
        }
    })
}

/// Merges the listings of a directory's sources; calls `emit` for each name in order.
pub(crate) fn list_merged(
    layers: &[Arc<Layer>],
    sources: &Sources,
    mut emit: impl FnMut(&[u8], InodeRef, u32, Merged) -> Result<()>,
) -> Result<()> {
    struct Cursor<'a> {
        place: InodeRef,
        layer: &'a Layer,
        next: u32,
        end: u32,
    }
    let mut cursors = Vec::with_capacity(sources.places.len());
    for place in &sources.places {
        let layer = &layers[place.layer];
        if let Some(range) = layer.children(place.inode)? {
            cursors.push(Cursor {
                place: *place,
                layer,
                next: range.start,
                end: range.end,
            });
        }
    }
    let mut last: Option<&[u8]> = None;
    loop {
        let mut least: Option<(&[u8], InodeRef, u32)> = None;
        for cursor in cursors.iter().filter(|cursor| cursor.next < cursor.end) {
            let name = cursor.layer.entry_name(cursor.next)?;
            if least.is_none_or(|(least, ..)| name < least) {
                least = Some((name, cursor.place, cursor.next));
            }
        }
        let Some((name, place, dirent)) = least else {
            return Ok(());
        };
        // Layers come from a remote and may be forged. Unsorted names would be listed twice, or be
        // found by `list` and not by `lookup`.
        if last.is_some_and(|last| last >= name) {
            return Err(Error::damaged(
                format!("layer {}", layers[place.layer].id()),
                "the entries of a directory are out of order",
            ));
        }
        last = Some(name);
        let mut hits = Vec::with_capacity(cursors.len());
        for cursor in cursors.iter_mut().filter(|cursor| cursor.next < cursor.end) {
            let (candidate, inode) = cursor.layer.entry(cursor.place.inode, cursor.next)?;
            if candidate == name {
                hits.push((cursor.place, inode));
                cursor.next += 1;
            }
        }
        // Hits are in the order of `sources`, in which `resolve_name` requests them, so one pass
        // serves all.
        let mut hits = hits.into_iter().peekable();
        let merged = resolve_name(layers, sources, |place| {
            Ok(hits
                .next_if(|(candidate, _)| candidate == place)
                .map(|(_, inode)| inode))
        })?;
        emit(name, place, dirent, merged)?;
    }
}
