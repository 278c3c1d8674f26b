//! An archive's members, one after the other.

use std::io::Read;

use tar::Header;

use super::failure::{self, read_error};
use super::header::{self, BLOCK};
use super::pax::{self, PaxRecords};
use super::sparse::{Map, SparseLayout};
use crate::error::Result;
use crate::layer::{Meta, mode};

/// A long name may take this many bytes; the system takes no longer path.
const LONGEST_NAME: u64 = 64 << 10;
/// Largest padding after the end: archives are padded to a record, usually of 10 KiB.
const FILLING: u64 = 16 << 20;

/// Kind of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    Directory,
    /// A file; [`Members::read`] returns its bytes next.
    File(SparseLayout),
    Symlink(Vec<u8>),
    /// Another name of an earlier member.
    HardLink(Vec<u8>),
    Fifo,
    /// A character or block device.
    Device,
    /// A member that is not a file, by its type flag.
    Unknown(u8),
}

/// A member of an archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The name as stored in the archive.
    pub(super) name: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) kind: MemberKind,
}

/// Headers that come before the one they speak of.
#[derive(Default)]
struct PrecedingHeaders {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: PaxRecords,
}

/// Reads members.
pub(super) struct Members<R> {
    source: R,
    /// Records that hold for all members that follow.
    global: PaxRecords,
    /// Bytes of the member's data that are still to be read.
    left: u64,
    /// Bytes that fill its last block.
    filling: u64,
    ended: bool,
}

impl<R: Read> Members<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            global: PaxRecords::default(),
            left: 0,
            filling: 0,
            ended: false,
        }
    }

    /// Reads the header of the next member; skips the rest of the previous one.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut ahead = PrecedingHeaders::default();
        while !self.ended {
            self.skip_rest()?;
            let Some(header) = header::parse_header(&self.block()?)? else {
                self.ended = true;
                self.read_filling()?;
                break;
            };
            let size = header
                .entry_size()
                .map_err(|_| failure::damaged("a header's size is not a number"))?;
            match header.entry_type().as_byte() {
                b'g' => {
                    let records = PaxRecords::read(&self.small(size, pax::LARGEST)?)?;
                    self.global = self.global.overlaid(records);
                }
                b'x' => ahead.records = PaxRecords::read(&self.small(size, pax::LARGEST)?)?,
                b'L' => ahead.name = Some(self.long_name(size)?),
                b'K' => ahead.link = Some(self.long_name(size)?),
                _ => return self.member(&header, size, ahead).map(Some),
            }
        }
        Ok(None)
    }

    fn member(&mut self, header: &Header, size: u64, ahead: PrecedingHeaders) -> Result<Member> {
        let records = self.global.overlaid(ahead.records);
        self.data(records.number("size")?.unwrap_or(size))?;
        let name = records
            .get("GNU.sparse.name")
            .or(records.get("path"))
            .map(<[u8]>::to_vec)
            .or(ahead.name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let target = || {
            records
                .get("linkpath")
                .map(<[u8]>::to_vec)
                .or(ahead.link)
                .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
                .unwrap_or_default()
        };
        let flag = header.entry_type().as_byte();
        // Old archives without types mark directories with a slash.
        let flag = match flag {
            0 | b'0' if name.ends_with(b"/") => b'5',
            flag => flag,
        };
        let kind = match flag {
            0 | b'0' | b'7' | b'S' => MemberKind::File(self.layout(header, &records, flag)?),
            b'1' => MemberKind::HardLink(target()),
            b'2' => MemberKind::Symlink(target()),
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            flag if header::is_device(flag) => MemberKind::Device,
            flag => MemberKind::Unknown(flag),
        };
        let meta = header::member_meta(
            header,
            &records,
            header::type_bits(flag).unwrap_or(mode::FILE),
        )?;
        Ok(Member { name, meta, kind })
    }

    /// Where the member's data is in the file, when they are not the same.
    fn layout(&mut self, header: &Header, records: &PaxRecords, flag: u8) -> Result<SparseLayout> {
        if flag == b'S' {
            return self.gnu_layout(header);
        }
        let size = match records.number("GNU.sparse.realsize")? {
            Some(size) => Some(size),
            None => records.number("GNU.sparse.size")?,
        };
        let Some(size) = size else {
            return Ok(SparseLayout::dense(self.left));
        };
        if records.get("GNU.sparse.major") == Some(b"1") {
            let mut map = Map::default();
            map.in_data(|| {
                let mut block = [0; BLOCK];
                self.read(&mut block)?;
                Ok(block)
            })?;
            return SparseLayout::new(size, &map.0, self.left);
        }
        match Map::pax(records)? {
            Some(map) => SparseLayout::new(size, &map.0, self.left),
            None => Err(failure::damaged("a sparse file has no map")),
        }
    }

    /// The old GNU form: the map begins in the header and continues in the following blocks, which
    /// the member's size does not include.
    fn gnu_layout(&mut self, header: &Header) -> Result<SparseLayout> {
        let wrong = || failure::damaged("the header of a sparse file is incomplete");
        let gnu = header.as_gnu().ok_or_else(wrong)?;
        let mut map = Map::default();
        map.gnu(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let block = self.block()?;
            more = map.gnu_extension(&block)?;
        }
        let size = gnu.real_size().map_err(|_| wrong())?;
        SparseLayout::new(size, &map.0, self.left)
    }

    /// Reads the next bytes of the member's data; there must be as many.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let length = buffer.len() as u64;
        if length > self.left {
            return Err(failure::damaged("a member ends too early"));
        }
        self.source.read_exact(buffer).map_err(read_error)?;
        self.left -= length;
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.source.read_exact(&mut block).map_err(read_error)?;
        Ok(block)
    }

    /// `size` bytes of data follow.
    fn data(&mut self, size: u64) -> Result<()> {
        let rounded = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or_else(|| failure::damaged("a member exceeds the maximum file size"))?;
        self.left = size;
        self.filling = rounded - size;
        Ok(())
    }

    /// Reads all data of something that describes a member.
    fn small(&mut self, size: u64, limit: u64) -> Result<Vec<u8>> {
        if size > limit {
            return Err(failure::damaged("a header is too large"));
        }
        self.data(size)?;
        let mut bytes = vec![0; size as usize];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut name = self.small(size, LONGEST_NAME)?;
        name.truncate(
            name.iter()
                .position(|byte| *byte == 0)
                .unwrap_or(name.len()),
        );
        Ok(name)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.left) + std::mem::take(&mut self.filling);
        let skipped = std::io::copy(&mut (&mut self.source).take(rest), &mut std::io::sink())
            .map_err(read_error)?;
        if skipped < rest {
            return Err(failure::damaged("it is truncated"));
        }
        Ok(())
    }

    /// Reads to the end of the compressed stream, where its checksum is.
    fn read_filling(&mut self) -> Result<()> {
        std::io::copy(&mut (&mut self.source).take(FILLING), &mut std::io::sink())
            .map(drop)
            .map_err(read_error)
    }
}
