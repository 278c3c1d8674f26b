//! From a stack to an archive.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender, bounded};
use tar::{EntryType, Header};
use tokio::runtime::Handle;

use super::header::{BLOCK, XATTR, encode_keyword};
use super::pax;
use crate::copy::FrameCursor;
use crate::error::{Error, Result};
use crate::frame::FrameLocation;
use crate::layer::mode;
use crate::local::FrameReader;
use crate::progress::Progress;
use crate::stack::{Ino, Stack, StackWalk, WalkEntry};

/// Size of a prefetched group in bytes of files.
const GROUP_BYTES: u64 = 16 << 20;
/// Largest number of entries of a group.
const GROUP_ENTRIES: usize = 4096;
/// Number of groups that may be ready ahead of the writer.
const GROUPS_AHEAD: usize = 2;
/// Archives are filled up to records of this many bytes.
const RECORD: u64 = 20 * BLOCK as u64;

/// How an archive is written.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Name of the directory in the archive; empty for `.`, so that names begin with `./`.
    pub prefix: Vec<u8>,
}

/// Totals of the written archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Entries, the directory itself included.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes of files, holes included.
    pub bytes: u64,
    /// Bytes of the archive before compression.
    pub archive: u64,
}

/// Writes everything in `stack` to `out` as a PAX archive, in the order of paths.
///
/// The same stack gives the same bytes. Fails with [`Error::PathTooLong`] rather than leaving entries out. Blocks, and must be called from outside of `runtime`.
pub fn write_archive(
    stack: &Stack,
    reader: &FrameReader,
    runtime: &Handle,
    out: &mut dyn Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Written> {
    let (send, groups) = bounded(GROUPS_AHEAD);
    std::thread::scope(|scope| {
        let ahead = scope.spawn(move || fetch_ahead(stack, reader, runtime, progress, &send));
        let mut writer = ArchiveWriter {
            stack,
            frames: FrameCursor::new(reader, runtime),
            out,
            prefix: &options.prefix,
            linked: HashMap::new(),
            written: Written::default(),
        };
        let outcome = write_groups(&mut writer, groups, progress);
        let fetched = ahead
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome?;
        fetched?;
        writer.finish()
    })
}

fn write_groups(
    writer: &mut ArchiveWriter<'_>,
    groups: Receiver<Vec<WalkEntry>>,
    progress: &dyn Progress,
) -> Result<()> {
    for group in groups {
        for entry in group {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let before = writer.written;
            writer.entry(&entry)?;
            let files = writer.written.files - before.files;
            progress.done(files, writer.written.bytes.saturating_sub(before.bytes));
        }
    }
    Ok(())
}

/// Walks the stack, and sends groups whose data is in the local cache. Fails if the archive would
/// be incomplete because paths are too long.
fn fetch_ahead(
    stack: &Stack,
    reader: &FrameReader,
    runtime: &Handle,
    progress: &dyn Progress,
    send: &Sender<Vec<WalkEntry>>,
) -> Result<()> {
    let is_local = reader.remote().local_dir().is_some();
    let mut walk = StackWalk::new(stack);
    let mut total = (0, 0);
    loop {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut frames = HashSet::new();
        while bytes < GROUP_BYTES && group.len() < GROUP_ENTRIES {
            let Some(entry) = walk.next().transpose()? else {
                break;
            };
            if entry.attr.kind() == mode::FILE {
                bytes = entry.attr.size.saturating_add(bytes);
                total = (total.0 + 1, entry.attr.size.saturating_add(total.1));
                progress.total(total.0, total.1);
                if !is_local {
                    for piece in stack.pieces(entry.attr.ino, 0..entry.attr.size)? {
                        frames.extend(piece?.location.map(|at| at.frame));
                    }
                }
            }
            if walk.left_out() > 0 {
                let directory = PathBuf::from(OsString::from_vec(entry.path));
                return Err(Error::PathTooLong { directory });
            }
            group.push(entry);
        }
        if group.is_empty() {
            return Ok(());
        }
        let before = reader.stats().prefetch_bytes;
        let frames: Vec<FrameLocation> = frames.into_iter().collect();
        // The writer retries a failed fetch, and reports it.
        if let Err(error) = runtime.block_on(reader.stream(frames)) {
            tracing::debug!("prefetching failed: {error}");
        }
        progress.transferred(reader.stats().prefetch_bytes.saturating_sub(before));
        // The receiver is gone if writing has failed, and that failure is reported.
        if send.send(group).is_err() {
            return Ok(());
        }
    }
}

struct ArchiveWriter<'a> {
    stack: &'a Stack,
    frames: FrameCursor<'a>,
    out: &'a mut dyn Write,
    prefix: &'a [u8],
    /// The name under which an inode with several was written.
    linked: HashMap<Ino, Vec<u8>>,
    written: Written,
}

impl ArchiveWriter<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(write_error)?;
        self.written.archive += bytes.len() as u64;
        Ok(())
    }

    /// Fills up with zeros to a multiple of `unit`.
    fn fill(&mut self, unit: u64) -> Result<()> {
        const ZEROS: [u8; RECORD as usize] = [0; RECORD as usize];
        let at = self.written.archive;
        let filling = at.next_multiple_of(unit) - at;
        self.put(&ZEROS[..filling as usize])
    }

    fn finish(mut self) -> Result<Written> {
        self.put(&[0; 2 * BLOCK])?;
        self.fill(RECORD)?;
        Ok(self.written)
    }

    fn name(&self, entry: &WalkEntry) -> Vec<u8> {
        // As `tar -C DIR .` has it: no name can look like an option.
        let prefix = match self.prefix {
            b"" => b".",
            prefix => prefix,
        };
        let mut name = prefix.to_vec();
        if !name.ends_with(b"/") {
            name.push(b'/');
        }
        name.extend_from_slice(&entry.path);
        if entry.attr.kind() == mode::DIRECTORY && !name.ends_with(b"/") {
            name.push(b'/');
        }
        name
    }

    fn entry(&mut self, entry: &WalkEntry) -> Result<()> {
        let attr = &entry.attr;
        let name = self.name(entry);
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        self.written.entries += 1;
        if attr.kind() != mode::DIRECTORY && attr.links > 1 {
            if let Some(first) = self.linked.get(&attr.ino).cloned() {
                header.set_entry_type(EntryType::Link);
                self.describe(&mut header, &mut records, entry, &name, &first)?;
                return self.header(header, &records, 0, &name);
            }
            self.linked.insert(attr.ino, name.clone());
        }
        let mut target = Vec::new();
        header.set_entry_type(match attr.kind() {
            mode::DIRECTORY => EntryType::Directory,
            mode::SYMLINK => {
                target = self.stack.symlink_target(attr.ino)?.to_vec();
                EntryType::Symlink
            }
            mode::FIFO => EntryType::Fifo,
            mode::CHARACTER => EntryType::Char,
            mode::BLOCK => EntryType::Block,
            _ => EntryType::Regular,
        });
        if matches!(attr.kind(), mode::CHARACTER | mode::BLOCK) {
            let parts = (rustix::fs::major(attr.rdev), rustix::fs::minor(attr.rdev));
            header.set_device_major(parts.0).map_err(write_error)?;
            header.set_device_minor(parts.1).map_err(write_error)?;
        }
        if attr.kind() == mode::FILE {
            return self.file(entry, header, records, name);
        }
        self.describe(&mut header, &mut records, entry, &name, &target)?;
        self.header(header, &records, 0, &name)
    }

    fn file(
        &mut self,
        entry: &WalkEntry,
        mut header: Header,
        mut records: Vec<u8>,
        name: Vec<u8>,
    ) -> Result<()> {
        let (ino, size) = (entry.attr.ino, entry.attr.size);
        self.written.files += 1;
        self.written.bytes = size.saturating_add(self.written.bytes);
        let data = self.data(ino, size)?;
        let stored: u64 = data.iter().map(|data| data.end - data.start).sum();
        if stored == size {
            self.describe(&mut header, &mut records, entry, &name, b"")?;
            self.header(header, &records, size, &name)?;
        } else {
            let map = sparse_map(&data, size);
            pax::push_record(&mut records, b"GNU.sparse.major", b"1");
            pax::push_record(&mut records, b"GNU.sparse.minor", b"0");
            pax::push_record(&mut records, b"GNU.sparse.name", &name);
            pax::push_record(
                &mut records,
                b"GNU.sparse.realsize",
                size.to_string().as_bytes(),
            );
            let placeholder = sparse_name(&name);
            self.describe(&mut header, &mut records, entry, &placeholder, b"")?;
            self.header(header, &records, stored + map.len() as u64, &placeholder)?;
            self.put(&map)?;
        }
        self.content(ino, size)?;
        self.fill(BLOCK as u64)
    }

    /// Where a file has bytes.
    fn data(&self, ino: Ino, size: u64) -> Result<Vec<Range<u64>>> {
        let mut data: Vec<Range<u64>> = Vec::new();
        if size == 0 {
            return Ok(data);
        }
        for piece in self.stack.pieces(ino, 0..size)? {
            let piece = piece?;
            if piece.location.is_none() {
                continue;
            }
            match data.last_mut() {
                Some(last) if last.end == piece.start => last.end = piece.end,
                _ => data.push(piece.start..piece.end),
            }
        }
        Ok(data)
    }

    fn content(&mut self, ino: Ino, size: u64) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        for piece in self.stack.pieces(ino, 0..size)? {
            if let Some(at) = piece?.location {
                let raw = self.frames.get(&at.frame)?;
                let bytes = raw
                    .get(at.offset as usize..(at.offset + at.length) as usize)
                    .ok_or_else(|| Error::damaged("a layer", "a chunk exceeds its frame"))?;
                self.put(bytes)?;
            }
        }
        Ok(())
    }

    /// Puts fields into the header if they fit, otherwise into records.
    fn describe(
        &self,
        header: &mut Header,
        records: &mut Vec<u8>,
        entry: &WalkEntry,
        name: &[u8],
        target: &[u8],
    ) -> Result<()> {
        const LARGEST_ID: u32 = 0o7_777_777;
        const LATEST: i64 = 0o77_777_777_777;
        let attr = &entry.attr;
        header.set_mode(attr.mode & 0o7777);
        for (key, id) in [(&b"uid"[..], attr.uid), (b"gid", attr.gid)] {
            if id > LARGEST_ID {
                pax::push_record(records, key, id.to_string().as_bytes());
            }
        }
        header.set_uid(u64::from(attr.uid.min(LARGEST_ID)));
        header.set_gid(u64::from(attr.gid.min(LARGEST_ID)));
        header.set_mtime(attr.mtime.seconds.clamp(0, LATEST) as u64);
        if attr.mtime.nanos != 0 || !(0..=LATEST).contains(&attr.mtime.seconds) {
            let text = pax::timestamp_text(attr.mtime);
            pax::push_record(records, b"mtime", text.as_bytes());
        }
        let fields = header.as_old_mut();
        for (key, field, text) in [
            (&b"path"[..], &mut fields.name, name),
            (b"linkpath", &mut fields.linkname, target),
        ] {
            let fits = text.len() <= field.len();
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
            if !fits || !text.is_ascii() {
                pax::push_record(records, key, text);
            }
        }
        for (name, value) in self.stack.xattrs(attr.ino)?.iter() {
            let key = [XATTR.as_bytes(), &encode_keyword(name)].concat();
            pax::push_record(records, &key, value);
        }
        Ok(())
    }

    fn header(&mut self, mut header: Header, records: &[u8], size: u64, name: &[u8]) -> Result<()> {
        const LARGEST: u64 = 0o77_777_777_777;
        let mut records = records.to_vec();
        if size > LARGEST {
            pax::push_record(&mut records, b"size", size.to_string().as_bytes());
        }
        if !records.is_empty() {
            let mut ahead = Header::new_ustar();
            ahead.set_entry_type(EntryType::XHeader);
            ahead.set_mode(0o644);
            ahead.set_uid(0);
            ahead.set_gid(0);
            ahead.set_mtime(0);
            ahead.set_size(records.len() as u64);
            let field = &mut ahead.as_old_mut().name;
            let label = [b"PaxHeaders/", last_part(name)].concat();
            let length = label.len().min(field.len());
            field[..length].copy_from_slice(&label[..length]);
            ahead.set_cksum();
            self.put(ahead.as_bytes())?;
            self.put(&records)?;
            self.fill(BLOCK as u64)?;
        }
        header.set_size(size.min(LARGEST));
        header.set_cksum();
        self.put(header.as_bytes())
    }
}

fn last_part(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    name.rsplit(|byte| *byte == b'/').next().unwrap_or(name)
}

/// Name of the stored bytes for readers that do not support sparse files.
fn sparse_name(name: &[u8]) -> Vec<u8> {
    let last = last_part(name);
    let directory = &name[..name.len() - last.len()];
    [directory, b"GNUSparseFile.0/", last].concat()
}

/// The map that comes before the stored bytes, filled up to a block.
fn sparse_map(data: &[Range<u64>], size: u64) -> Vec<u8> {
    // Tools end the map with the end of the file, so that a hole there is seen.
    let ends_with_hole = data.last().is_none_or(|last| last.end < size);
    let end = ends_with_hole.then_some(size..size);
    let stretches: Vec<_> = data.iter().cloned().chain(end).collect();
    let mut map = format!("{}\n", stretches.len());
    for stretch in stretches {
        map.push_str(&format!(
            "{}\n{}\n",
            stretch.start,
            stretch.end - stretch.start
        ));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

fn write_error(error: io::Error) -> Error {
    Error::io("write", "the archive")(error)
}
