//! Where the bytes of a sparse file are, in the four ways in which archives say it.

use std::ops::Range;

use tar::{GnuExtSparseHeader, GnuSparseHeader};

use super::failure;
use super::pax::{PaxRecords, parse_decimal};
use crate::error::{Error, Result};

/// A file may have this many stretches of data.
const MOST: usize = 1 << 20;

/// A file's size and its stretches of data, in order; the rest are holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SparseLayout {
    pub(super) size: u64,
    pub(super) data: Vec<Range<u64>>,
}

impl SparseLayout {
    /// A file without holes.
    pub(super) fn dense(size: u64) -> Self {
        Self {
            size,
            data: (size > 0).then_some(0..size).into_iter().collect(),
        }
    }

    /// A file with holes, of which the archive holds `stored` bytes.
    pub(super) fn new(size: u64, map: &[(u64, u64)], stored: u64) -> Result<Self> {
        let mut data = Vec::new();
        let (mut end, mut sum) = (0, 0_u64);
        for &(offset, length) in map {
            let stop = offset.checked_add(length).filter(|stop| *stop <= size);
            let (Some(stop), true) = (stop, offset >= end) else {
                return Err(sparse_error());
            };
            end = stop;
            sum += length;
            if length > 0 {
                data.push(offset..stop);
            }
        }
        if sum != stored {
            return Err(sparse_error());
        }
        Ok(Self { size, data })
    }
}

fn sparse_error() -> Error {
    failure::damaged("the map of a sparse file does not fit the file")
}

/// A map that is being collected.
#[derive(Debug, Default)]
pub(super) struct Map(pub(super) Vec<(u64, u64)>);

impl Map {
    fn push(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.0.len() == MOST {
            return Err(sparse_error());
        }
        self.0.push((offset, length));
        Ok(())
    }

    /// Takes the entries of an old GNU header.
    pub(super) fn gnu(&mut self, entries: &[GnuSparseHeader]) -> Result<()> {
        for entry in entries.iter().filter(|entry| !entry.is_empty()) {
            let (Ok(offset), Ok(length)) = (entry.offset(), entry.length()) else {
                return Err(sparse_error());
            };
            self.push(offset, length)?;
        }
        Ok(())
    }

    /// Parses the entries of a further block; returns whether another one follows.
    pub(super) fn gnu_extension(&mut self, block: &[u8; 512]) -> Result<bool> {
        let mut header = GnuExtSparseHeader::new();
        header.as_mut_bytes().copy_from_slice(block);
        self.gnu(header.sparse())?;
        Ok(header.is_extended())
    }

    /// Takes the map of the PAX forms 0.0 and 0.1; `None` when the records have none.
    pub(super) fn pax(records: &PaxRecords) -> Result<Option<Self>> {
        let mut map = Self::default();
        if let Some(list) = records.get("GNU.sparse.map") {
            let numbers = list
                .split(|byte| *byte == b',')
                .map(parse_decimal)
                .collect::<Option<Vec<u64>>>()
                .ok_or_else(sparse_error)?;
            for pair in numbers.chunks(2) {
                let &[offset, length] = pair else {
                    return Err(sparse_error());
                };
                map.push(offset, length)?;
            }
            return Ok(Some(map));
        }
        let mut offset = None;
        let mut found = false;
        for (key, value) in records.iter() {
            match key {
                b"GNU.sparse.offset" => {
                    offset = Some(parse_decimal(value).ok_or_else(sparse_error)?)
                }
                b"GNU.sparse.numbytes" => {
                    found = true;
                    let offset = offset.take().ok_or_else(sparse_error)?;
                    map.push(offset, parse_decimal(value).ok_or_else(sparse_error)?)?;
                }
                _ => {}
            }
        }
        Ok(found.then_some(map))
    }

    /// Reads the map of the PAX form 1.0, which lies in front of the data: decimal numbers, each
    /// with a line feed, filled up to a block. `block` gives the next one.
    ///
    /// Returns how many bytes it took.
    pub(super) fn in_data(&mut self, mut block: impl FnMut() -> Result<[u8; 512]>) -> Result<u64> {
        let (mut wanted, mut taken) = (None, 0);
        let mut digits = Vec::new();
        let mut offset = None;
        loop {
            let bytes = block()?;
            taken += bytes.len() as u64;
            for byte in bytes {
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(sparse_error());
                    }
                    continue;
                }
                let value: u64 = parse_decimal(&digits).ok_or_else(sparse_error)?;
                digits.clear();
                match (wanted, offset.take()) {
                    (None, _) => {
                        if value > MOST as u64 {
                            return Err(sparse_error());
                        }
                        wanted = Some(value as usize);
                    }
                    (Some(_), None) => offset = Some(value),
                    (Some(_), Some(offset)) => self.push(offset, value)?,
                }
                if wanted == Some(self.0.len()) {
                    return Ok(taken);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_overlap_or_reach_out_are_refused() {
        assert_eq!(
            SparseLayout::new(100, &[(0, 10), (50, 0), (90, 10)], 20).unwrap(),
            SparseLayout {
                size: 100,
                data: vec![0..10, 90..100],
            }
        );
        for (size, map, stored) in [
            (100, &[(0, 10), (5, 10)][..], 20),
            (100, &[(95, 10)], 10),
            (100, &[(u64::MAX, 2)], 2),
            (100, &[(50, 10), (0, 10)], 20),
            (100, &[(0, 10)], 11),
        ] {
            assert!(SparseLayout::new(size, map, stored).is_err(), "{map:?}");
        }
    }

    #[test]
    fn a_map_in_front_of_the_data_may_take_several_blocks() {
        let count = 200;
        let mut text = format!("{count}\n");
        for number in 0..count {
            text.push_str(&format!("{}\n{}\n", number * 1000, 10));
        }
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let mut blocks = bytes.chunks(512);
        let mut map = Map::default();
        let taken = map
            .in_data(|| Ok(blocks.next().unwrap().try_into().unwrap()))
            .unwrap();
        assert_eq!(taken, bytes.len() as u64);
        assert_eq!(map.0.len(), count);
        assert_eq!(map.0[199], (199_000, 10));
        assert!(Map::default().in_data(|| Ok([b'1'; 512])).is_err());
    }
}
