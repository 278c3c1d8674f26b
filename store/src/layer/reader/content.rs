//! Reading the content of files: pieces, frames and packs.

use super::{ContentPiece, Layer, UNKNOWN};
use crate::error::Result;
use crate::frame;
use crate::frame::{ChunkLocation, Codec, FrameLocation};
use crate::layer::mode;
use crate::layer::record::{
    ChunkRec, FrameRec, HOLE, InodeRec, LayerSection, LayerVersion, OldPackRec, PackRec,
    inode_flags,
};
use crate::pack::PackRef;

impl Layer {
    /// Number of 512-byte blocks of a file that are no holes.
    pub fn blocks(&self, file: &InodeRec) -> Result<u64> {
        let mut data = file.size.get();
        if file.flags.get() & inode_flags::SPARSE != 0 {
            for index in 0..file.count.get() {
                let piece = self.piece(file, index)?;
                if piece.location.is_none() {
                    data = data.saturating_sub(piece.end - piece.start);
                }
            }
        }
        Ok(data.div_ceil(512))
    }

    /// The piece `index` (from 0) of a file.
    pub fn piece(&self, file: &InodeRec, index: u32) -> Result<ContentPiece> {
        let first = file.first.get();
        let position = first
            .checked_add(index)
            .ok_or_else(|| self.damaged("a file exceeds its table"))?;
        let record: &ChunkRec = self.record(LayerSection::Chunks, position)?;
        let start = match index {
            0 => 0,
            _ => self
                .record::<ChunkRec>(LayerSection::Chunks, position - 1)?
                .end
                .get(),
        };
        let end = record.end.get();
        if end <= start || end > file.size.get() {
            return Err(self.damaged("the pieces of a file are out of order"));
        }
        if record.frame.get() == HOLE {
            return Ok(ContentPiece {
                start,
                end,
                location: None,
            });
        }
        let frame = self.frame(record.frame.get())?;
        let offset = record.offset.get();
        if u64::from(offset).saturating_add(end - start) > u64::from(frame.raw) {
            return Err(self.damaged("a chunk exceeds its frame"));
        }
        let location = ChunkLocation {
            frame,
            offset,
            length: (end - start) as u32,
        };
        Ok(ContentPiece {
            start,
            end,
            location: Some(location),
        })
    }

    /// The pieces of a file that overlap `range`, in order.
    pub fn pieces(
        &self,
        inode: u32,
        range: std::ops::Range<u64>,
    ) -> Result<impl Iterator<Item = Result<ContentPiece>>> {
        let file = self.inode(inode)?;
        if file.mode.get() & mode::TYPE != mode::FILE {
            return Err(self.damaged("the entry is not a file"));
        }
        let count = file.count.get();
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.piece(file, middle)?.end <= range.start {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok((low..count)
            .map(|index| self.piece(file, index))
            .take_while(move |piece| piece.as_ref().map_or(true, |piece| piece.start < range.end)))
    }

    /// The frame with this number.
    pub fn frame(&self, number: u32) -> Result<FrameLocation> {
        let record: &FrameRec = self.record(LayerSection::Frames, number)?;
        let codec = Codec::from_number(record.codec)
            .ok_or_else(|| self.damaged("a frame has an unknown encoding"))?;
        let (stored, raw) = (record.stored.get(), record.raw.get());
        if stored as usize > frame::MAX_RAW || raw as usize > frame::MAX_RAW {
            return Err(self.damaged("a frame exceeds the maximum size"));
        }
        if stored == 0 || raw == 0 {
            return Err(self.damaged("a frame is empty"));
        }
        Ok(FrameLocation {
            pack: self.pack(record.pack.get())?.id,
            offset: record.offset.get(),
            stored,
            raw,
            codec,
            hash: record.hash,
        })
    }

    /// Number of frames that the layer refers to.
    pub fn frame_count(&self) -> u32 {
        self.head.records[LayerSection::Frames as usize]
    }

    fn pack(&self, number: u32) -> Result<PackRef> {
        if self.head.version == LayerVersion::One {
            let record: &OldPackRec = self.record(LayerSection::Packs, number)?;
            return Ok(PackRef {
                id: record.id,
                length: record.length.get(),
                trailer: record.trailer.get(),
                hash: None,
            });
        }
        let record: &PackRec = self.record(LayerSection::Packs, number)?;
        Ok(PackRef {
            id: record.id,
            length: record.length.get(),
            trailer: record.trailer.get(),
            hash: (record.hash != UNKNOWN).then_some(record.hash),
        })
    }

    /// The packs that the layer refers to.
    pub fn packs(&self) -> Result<Vec<PackRef>> {
        (0..self.head.records[LayerSection::Packs as usize])
            .map(|number| self.pack(number))
            .collect()
    }
}
