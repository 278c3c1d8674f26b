//! The blocks of a directory: sorted entries with their names behind them.

use zerocopy::IntoBytes;

use super::format::{BLOCK, DIRENT, Dirent};

/// One entry as it is to be written.
pub(super) struct ErofsDirent<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u64,
    pub(super) kind: u8,
}

/// Adds up how long a directory's content is, name by name.
#[derive(Debug, Default)]
pub(super) struct DirectorySize {
    full: u64,
    last: u64,
}

impl DirectorySize {
    pub(super) fn add(&mut self, name: &[u8]) {
        let bytes = (DIRENT + name.len()) as u64;
        if self.last + bytes > BLOCK {
            self.full += BLOCK;
            self.last = 0;
        }
        self.last += bytes;
    }

    /// Bytes in all.
    pub(super) fn total(&self) -> u64 {
        self.full + self.last
    }
}

/// Appends a directory's content to `out`: full blocks padded with zeros, the last one as long as
/// it is. The entries are in the order of their names, `.` and `..` among them.
pub(super) fn write_directory(entries: &[ErofsDirent<'_>], out: &mut Vec<u8>) {
    let mut rest = entries;
    loop {
        let start = out.len();
        let mut used = 0;
        let count = rest
            .iter()
            .take_while(|entry| {
                used += DIRENT + entry.name.len();
                used <= BLOCK as usize
            })
            .count();
        let (block, after) = rest.split_at(count);
        let mut name_offset = count * DIRENT;
        for entry in block {
            let dirent = Dirent {
                inode: entry.inode.into(),
                name_offset: (name_offset as u16).into(),
                kind: entry.kind,
                reserved: 0,
            };
            out.extend_from_slice(dirent.as_bytes());
            name_offset += entry.name.len();
        }
        for entry in block {
            out.extend_from_slice(entry.name);
        }
        rest = after;
        if rest.is_empty() {
            return;
        }
        out.resize(start + BLOCK as usize, 0);
    }
}
