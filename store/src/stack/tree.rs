//! The tree of a stack: lookups, listings, attributes and contents by inode number.

use std::sync::Arc;

use super::directory::{Directories, MergedDirectory};
use super::merge::{self, Merged, Sources};
use super::{Ino, InodeRef, MAX_DEPTH, Owner, privileges};
use crate::error::{Error, Result};
use crate::id::LayerId;
use crate::layer::{ContentPiece, Layer, Meta, ROOT, Timestamp, Xattrs, mode};

/// Depth from the nearest remembered directory at which a directory is remembered.
const REMEMBER: usize = 64;

/// Attributes of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u32,
    /// Size in bytes; of a symbolic link, the length of its target.
    pub size: u64,
    /// Number of 512-byte blocks that are no holes.
    pub blocks: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Device number, of a device.
    pub rdev: u64,
}

impl Attr {
    /// The type bits of the mode.
    pub fn kind(&self) -> u32 {
        self.mode & mode::TYPE
    }
}

/// Layers seen as one tree.
#[derive(Debug)]
pub struct Stack {
    layers: Vec<Arc<Layer>>,
    root: Sources,
    directories: Directories,
    /// Whether privileges are withheld.
    withheld: bool,
    /// The owner to show for all entries, instead of the saved ones.
    owner: Option<Owner>,
}

/// A directory of the stack: one layer's own, or merged.
enum Listing {
    Single(InodeRef),
    Merged(Arc<MergedDirectory>),
}

impl Stack {
    /// Stacks layers, the bottom one first. No layer at all is an empty directory.
    pub fn new(layers: Vec<Arc<Layer>>) -> Result<Self> {
        if layers.len() > MAX_DEPTH {
            return Err(Error::TooLarge {
                what: "the number of layers",
                limit: format!("{MAX_DEPTH} layers"),
            });
        }
        let root = merge::root_sources(&layers)?;
        Ok(Self {
            layers,
            root,
            directories: Directories::default(),
            withheld: false,
            owner: None,
        })
    }

    /// The same tree without privileges: device nodes, setuid and setgid except on directories, and
    /// extended attributes other than those of users and access lists. Trees of a remote are shown
    /// in this form unless a user requests the rest.
    #[must_use]
    pub fn without_privileges(self) -> Self {
        Self {
            withheld: true,
            ..self
        }
    }

    /// The same tree with everything that [`Self::without_privileges`] leaves out.
    pub(crate) fn whole(&self) -> Self {
        Self {
            layers: self.layers.clone(),
            root: self.root.clone(),
            directories: Directories::default(),
            withheld: false,
            owner: self.owner,
        }
    }

    /// Whether an entry is visible.
    fn shows(&self, ino: Ino) -> Result<bool> {
        if !self.withheld {
            return Ok(true);
        }
        let place = self.record_place(ino);
        let record = self.layer(place)?.inode(place.inode)?;
        Ok(!privileges::is_device(record.mode.get()))
    }

    /// Shows every entry with this owner: [`Self::attr`] returns it. [`Self::meta`] still returns
    /// the saved owner.
    #[must_use]
    pub fn shown_as(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    /// The owner to show for all entries, instead of the saved ones.
    pub fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// The layers, the bottom one first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// Whether any inode has extended attributes.
    pub fn has_xattrs(&self) -> bool {
        self.layers.iter().any(|layer| layer.summary().xattrs)
    }

    /// Whether any file may have holes.
    pub fn has_sparse_files(&self) -> bool {
        self.layers.iter().any(|layer| layer.summary().sparse)
    }

    fn layer(&self, place: InodeRef) -> Result<&Layer> {
        self.layers
            .get(place.layer)
            .map(|layer| &**layer)
            .ok_or_else(|| {
                Error::damaged(
                    "an inode number",
                    format!("the stack has no layer {}", place.layer),
                )
            })
    }

    /// The inode whose record describes an entry: for the root, that of the topmost layer.
    fn record_place(&self, ino: Ino) -> InodeRef {
        if ino == Ino::ROOT {
            InodeRef {
                layer: self.layers.len().saturating_sub(1),
                inode: ROOT,
            }
        } else {
            ino.place()
        }
    }

    fn listing(&self, ino: Ino) -> Result<Listing> {
        if self.layers.len() == 1 {
            return Ok(Listing::Single(ino.place()));
        }
        let place = self.record_place(ino);
        if let Some(directory) = self.directories.get(&place) {
            // One that only one layer has is remembered for its path; its entries keep the numbers
            // that they have in the layer.
            return Ok(match directory.sources.places.len() {
                1 => Listing::Single(place),
                _ => Listing::Merged(directory),
            });
        }
        let sources = self.sources(place)?;
        if sources.places.len() == 1 {
            return Ok(Listing::Single(place));
        }
        Ok(Listing::Merged(self.directories.insert(sources)))
    }

    /// Checks the bounds for a walk over the whole tree; see [`Layer::check_shares`]. Call this
    /// before any walk.
    pub fn check_shares(&self) -> Result<()> {
        self.layers
            .iter()
            .try_for_each(|layer| layer.check_shares())
    }

    /// The parts of an entry: its inode in each layer that contains it, the topmost first. Entries
    /// of the same origin are equal, including all entries below them, in any stack.
    pub(super) fn origin(&self, ino: Ino) -> Result<Vec<(LayerId, u32)>> {
        if self.layers.is_empty() {
            return Ok(Vec::new());
        }
        let named = |place: &InodeRef| self.layer(*place).map(|layer| (layer.id(), place.inode));
        let place = self.record_place(ino);
        if self.layer(place)?.inode(place.inode)?.mode.get() & mode::TYPE != mode::DIRECTORY {
            return Ok(vec![named(&place)?]);
        }
        match self.listing(ino)? {
            Listing::Single(place) => Ok(vec![named(&place)?]),
            Listing::Merged(directory) => directory.sources.places.iter().map(named).collect(),
        }
    }

    /// Finds the sources of a directory from its path.
    fn sources(&self, place: InodeRef) -> Result<Sources> {
        let layer = self.layer(place)?;
        let mut names = Vec::new();
        let mut inode = place.inode;
        let mut known = None;
        while inode != ROOT {
            // The path from the nearest directory that is known will do. In a tree that is nested
            // deeply, the one from the root makes a walk take quadratic time.
            known = self.directories.get(&InodeRef { inode, ..place });
            if known.is_some() {
                break;
            }
            let record = layer.inode(inode)?;
            if record.mode.get() & mode::TYPE != mode::DIRECTORY || record.parent.get() >= inode {
                return Err(Error::damaged(
                    format!("layer {}", layer.id()),
                    "a directory does not lead to the root",
                ));
            }
            names.push(layer.entry_name(record.size.get() as u32)?);
            inode = record.parent.get();
        }
        let mut sources = match &known {
            Some(directory) => directory.sources.clone(),
            None => self.root.clone(),
        };
        let is_far = names.len() > REMEMBER;
        for name in names.into_iter().rev() {
            sources = match self.merged(&sources, name)? {
                Merged::Directory(sources) => sources,
                _ => {
                    return Err(Error::damaged(
                        format!("layer {}", layer.id()),
                        "a directory refers to the wrong parent",
                    ));
                }
            };
        }
        if is_far {
            self.directories.insert(sources.clone());
        }
        Ok(sources)
    }

    fn merged(&self, sources: &Sources, name: &[u8]) -> Result<Merged> {
        merge::resolve_name(&self.layers, sources, |place| {
            self.layers[place.layer].find(place.inode, name)
        })
    }

    /// Looks a name up in a directory.
    pub fn lookup(&self, directory: Ino, name: &[u8]) -> Result<Option<Ino>> {
        match self.lookup_any(directory, name)? {
            Some(ino) if self.shows(ino)? => Ok(Some(ino)),
            _ => Ok(None),
        }
    }

    fn lookup_any(&self, directory: Ino, name: &[u8]) -> Result<Option<Ino>> {
        if self.layers.is_empty() {
            return Ok(None);
        }
        match self.listing(directory)? {
            Listing::Single(place) => {
                let found = self.layer(place)?.find(place.inode, name)?.flatten();
                Ok(found.map(|inode| Ino::new(InodeRef { inode, ..place })))
            }
            Listing::Merged(directory) => match self.merged(&directory.sources, name)? {
                Merged::Absent | Merged::Whiteout => Ok(None),
                Merged::Leaf(place) => Ok(Some(Ino::new(place))),
                Merged::Directory(sources) => {
                    let ino = Ino::new(sources.places[0]);
                    if sources.places.len() > 1 {
                        self.directories.insert(sources);
                    }
                    Ok(Some(ino))
                }
            },
        }
    }

    /// Follows a path of names from the root; does not follow symbolic links.
    pub fn find(&self, path: &[u8]) -> Result<Option<Ino>> {
        let mut ino = Ino::ROOT;
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            if self.attr(ino)?.kind() != mode::DIRECTORY {
                return Ok(None);
            }
            match self.lookup(ino, name)? {
                Some(next) => ino = next,
                None => return Ok(None),
            }
        }
        Ok(Some(ino))
    }

    /// Lists a directory from entry number `skip` on, in the order of names, until `emit` says
    /// stop by returning `false`. Its arguments are the number of the next entry, the name and the
    /// inode.
    ///
    /// Numbers stay valid as long as the stack exists, in any process that opens it.
    pub fn list(
        &self,
        directory: Ino,
        skip: u64,
        mut emit: impl FnMut(u64, &[u8], Ino) -> Result<bool>,
    ) -> Result<()> {
        if self.layers.is_empty() {
            return Ok(());
        }
        match self.listing(directory)? {
            Listing::Single(place) => {
                let layer = self.layer(place)?;
                let Some(range) = layer.children(place.inode)? else {
                    return Ok(());
                };
                let mut before = match skip.checked_sub(1) {
                    Some(number) if skip < u64::from(range.end - range.start) => {
                        Some(layer.entry_name(range.start + number as u32)?)
                    }
                    _ => None,
                };
                for number in skip..u64::from(range.end - range.start) {
                    let (name, inode) = layer.entry(place.inode, range.start + number as u32)?;
                    // Otherwise lookups, listings and the image would show different trees.
                    if before.is_some_and(|before| before >= name) {
                        return Err(Error::damaged(
                            format!("layer {}", layer.id()),
                            "the entries of a directory are out of order",
                        ));
                    }
                    before = Some(name);
                    let Some(inode) = inode else { continue };
                    let ino = Ino::new(InodeRef { inode, ..place });
                    if self.shows(ino)? && !emit(number + 1, name, ino)? {
                        break;
                    }
                }
            }
            Listing::Merged(directory) => {
                let entries = directory.entries(&self.layers)?;
                for (number, entry) in entries.iter().enumerate().skip(skip as usize) {
                    let name = self.layers[entry.layer as usize].entry_name(entry.dirent)?;
                    if self.shows(entry.ino)? && !emit(number as u64 + 1, name, entry.ino)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn shown_mode(&self, mode_bits: u32) -> u32 {
        match self.withheld {
            true => privileges::harmless_mode(mode_bits),
            false => mode_bits,
        }
    }

    /// An inode's attributes, with the owner that it is shown to have.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        let saved = self.saved_attr(ino)?;
        Ok(match self.owner {
            Some(Owner { uid, gid }) => Attr { uid, gid, ..saved },
            None => saved,
        })
    }

    fn saved_attr(&self, ino: Ino) -> Result<Attr> {
        if self.layers.is_empty() {
            return Ok(Attr {
                ino: Ino::ROOT,
                mode: mode::DIRECTORY | 0o755,
                uid: 0,
                gid: 0,
                links: 1,
                size: 0,
                blocks: 0,
                mtime: Timestamp::default(),
                rdev: 0,
            });
        }
        let place = self.record_place(ino);
        let layer = self.layer(place)?;
        let record = layer.inode(place.inode)?;
        let mode_bits = self.shown_mode(record.mode.get());
        let (mut size, mut blocks, mut rdev) = (0, 0, 0);
        match mode_bits & mode::TYPE {
            mode::FILE => {
                size = record.size.get();
                blocks = layer.blocks(record)?;
            }
            mode::SYMLINK => size = record.size.get(),
            mode::CHARACTER | mode::BLOCK => rdev = record.size.get(),
            _ => {}
        }
        Ok(Attr {
            ino,
            mode: mode_bits,
            uid: record.uid.get(),
            gid: record.gid.get(),
            links: record.links.get().max(1),
            size,
            blocks,
            mtime: Timestamp {
                seconds: record.mtime.get(),
                nanos: record.mtime_nanos.get().min(999_999_999),
            },
            rdev,
        })
    }

    /// The saved attributes of an inode in the form of a layer, including those that
    /// [`Self::without_privileges`] hides: a moved entry keeps them.
    pub(crate) fn whole_meta(&self, ino: Ino) -> Result<Meta> {
        if self.layers.is_empty() {
            return Ok(Meta {
                mode: mode::DIRECTORY | 0o755,
                ..Meta::default()
            });
        }
        let place = self.record_place(ino);
        self.layer(place)?.meta(place.inode)
    }

    /// An inode's attributes as they were saved, in the form in which layers are built.
    pub fn meta(&self, ino: Ino) -> Result<Meta> {
        let meta = self.whole_meta(ino)?;
        Ok(Meta {
            mode: self.shown_mode(meta.mode),
            xattrs: privileges::visible_xattrs(meta.xattrs, self.withheld),
            ..meta
        })
    }

    /// A symbolic link's target.
    pub fn symlink_target(&self, ino: Ino) -> Result<&[u8]> {
        let place = self.record_place(ino);
        self.layer(place)?.symlink_target(place.inode)
    }

    /// An inode's extended attributes; never those that overlayfs would take for its own.
    pub fn xattrs(&self, ino: Ino) -> Result<Xattrs> {
        if self.layers.is_empty() {
            return Ok(Xattrs::default());
        }
        let place = self.record_place(ino);
        let xattrs = self.layer(place)?.xattrs(place.inode)?;
        Ok(privileges::visible_xattrs(xattrs, self.withheld))
    }

    /// The pieces of a file that overlap `range`.
    pub fn pieces(
        &self,
        ino: Ino,
        range: std::ops::Range<u64>,
    ) -> Result<impl Iterator<Item = Result<ContentPiece>>> {
        let place = self.record_place(ino);
        self.layer(place)?.pieces(place.inode, range)
    }
}
