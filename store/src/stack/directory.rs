//! A directory of a stack, and the memory of those that needed merging.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use super::merge::{self, Merged, Sources};
use super::{Ino, InodeRef};
use crate::error::Result;
use crate::layer::Layer;

/// An entry of a merged directory: the location of its name, and its target.
#[derive(Debug, Clone, Copy)]
pub(super) struct StackEntry {
    /// The layer whose dirent contains the name.
    pub(super) layer: u32,
    /// The dirent.
    pub(super) dirent: u32,
    /// The inode number.
    pub(super) ino: Ino,
}

/// A directory that more than one layer has.
#[derive(Debug)]
pub(super) struct MergedDirectory {
    pub(super) sources: Sources,
    entries: OnceLock<Box<[StackEntry]>>,
}

impl MergedDirectory {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources,
            entries: OnceLock::new(),
        }
    }

    /// The merged listing, created on first use.
    pub(super) fn entries(&self, layers: &[Arc<Layer>]) -> Result<&[StackEntry]> {
        if let Some(entries) = self.entries.get() {
            return Ok(entries);
        }
        let mut entries = Vec::new();
        merge::list_merged(layers, &self.sources, |_, place, dirent, merged| {
            let top = match &merged {
                Merged::Absent | Merged::Whiteout => return Ok(()),
                Merged::Leaf(place) => *place,
                Merged::Directory(sources) => sources.places[0],
            };
            entries.push(StackEntry {
                layer: place.layer as u32,
                dirent,
                ino: Ino::new(top),
            });
            Ok(())
        })?;
        Ok(self.entries.get_or_init(|| entries.into()))
    }
}

/// Merged directories by their topmost place.
///
/// Only a memory: everything in it follows from the layers.
#[derive(Debug, Default)]
pub(super) struct Directories(RwLock<HashMap<InodeRef, Arc<MergedDirectory>>>);

impl Directories {
    pub(super) fn get(&self, place: &InodeRef) -> Option<Arc<MergedDirectory>> {
        self.0.read().get(place).cloned()
    }

    pub(super) fn insert(&self, sources: Sources) -> Arc<MergedDirectory> {
        let place = sources.places[0];
        self.0
            .write()
            .entry(place)
            .or_insert_with(|| Arc::new(MergedDirectory::new(sources)))
            .clone()
    }
}
