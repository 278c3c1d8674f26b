//! Packs that are known from memory, and the files of those that the database does not have yet.
//!
//! A file has the pack's length and the offset of its trailer, 4 bytes each, then the trailer, which
//! carries its own hash.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::indexed::Indexed;
use crate::error::{Error, Result};
use crate::frame::{ChunkLocation, FrameLocation};
use crate::id::{ChunkId, DomainId, PackId, TrailerHash};
use crate::pack::{PackRef, Trailer};

/// A pack of a repository and where its chunks are.
#[derive(Debug)]
pub(super) struct KnownPack {
    pub(super) domain: DomainId,
    pub(super) pack: PackRef,
    pub(super) trailer: Trailer,
    frames: Vec<FrameLocation>,
    /// Number of the frame, offset in it and length.
    chunks: HashMap<ChunkId, (u32, u32, u32)>,
}

impl KnownPack {
    pub(super) fn new(domain: DomainId, pack: PackRef, trailer: Trailer) -> Self {
        let mut chunks = HashMap::with_capacity(trailer.chunks.len());
        let mut listed = trailer.chunks.iter();
        for (number, frame) in trailer.frames.iter().enumerate() {
            let mut offset = 0;
            for chunk in listed.by_ref().take(frame.chunks.get() as usize) {
                let length = chunk.length.get();
                chunks
                    .entry(chunk.id)
                    .or_insert((number as u32, offset, length));
                offset += length;
            }
        }
        Self {
            domain,
            pack,
            frames: trailer.frame_locations(&pack.id).collect(),
            trailer,
            chunks,
        }
    }

    pub(super) fn is(&self, domain: &DomainId, pack: &PackId) -> bool {
        self.domain == *domain && self.pack.id == *pack
    }

    pub(super) fn get(&self, chunk: &ChunkId) -> Option<Indexed> {
        let &(frame, offset, length) = self.chunks.get(chunk)?;
        Some(Indexed {
            location: ChunkLocation {
                frame: *self.frames.get(frame as usize)?,
                offset,
                length,
            },
            pack: self.pack,
        })
    }
}

/// The files of pending packs.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// Opens the journal in `directory`, and returns the packs that an earlier process left in it.
    pub(super) fn open(directory: PathBuf) -> Result<(Self, Vec<Arc<KnownPack>>)> {
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let mut left = Vec::new();
        for file in fs::read_dir(&directory)
            .map_err(Error::io("read", &directory))?
            .flatten()
        {
            match read_pending(&file.path()) {
                Some(pack) => left.push(Arc::new(pack)),
                // A partial file: its writer died before it reported the pack as known.
                None => drop(fs::remove_file(file.path())),
            }
        }
        Ok((Self { directory }, left))
    }

    fn path(&self, pack: &KnownPack) -> PathBuf {
        self.directory
            .join(format!("{}-{}", pack.domain, pack.pack.id))
    }

    /// Keeps a pack. Failing to only means that it is forgotten when the process ends too early.
    pub(super) fn keep(&self, pack: &KnownPack) {
        let mut bytes = Vec::with_capacity(8 + pack.trailer.encoded_len());
        bytes.extend_from_slice(&pack.pack.length.to_le_bytes());
        bytes.extend_from_slice(&pack.pack.trailer.to_le_bytes());
        pack.trailer.encode(&mut bytes);
        let path = self.path(pack);
        if let Err(error) = fs::write(&path, bytes) {
            tracing::warn!("cannot write {}: {error}", path.display());
            let _ = fs::remove_file(path);
        }
    }

    /// Removes a pack's file, now that the database has it or nobody wants it.
    pub(super) fn forget(&self, pack: &KnownPack) {
        let _ = fs::remove_file(self.path(pack));
    }
}

fn read_pending(path: &Path) -> Option<KnownPack> {
    let (domain, id) = path.file_name()?.to_str()?.split_once('-')?;
    let id: PackId = id.parse().ok()?;
    let bytes = fs::read(path).ok()?;
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (trailer, rest) = rest.split_first_chunk::<4>()?;
    let pack = PackRef {
        id,
        length: u32::from_le_bytes(*length),
        trailer: u32::from_le_bytes(*trailer),
        hash: Some(TrailerHash::of(rest)),
    };
    let trailer = Trailer::of(&pack, rest).ok()?;
    Some(KnownPack::new(domain.parse().ok()?, pack, trailer))
}
