//! Reads images back with a separate reader. The end-to-end tests show that the kernel reads them
//! the same way.

use std::collections::BTreeMap;

use cachefs_store::frame::{ChunkLocation, Codec, FrameLocation};
use cachefs_store::id::{FrameHash, PackId};
use cachefs_store::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewFilePiece, NewInode, NewKind, Timestamp,
    Xattrs, mode,
};
use cachefs_store::pack::PackRef;
use cachefs_store::stack::{Attr, Ino, Numbering, Stack, StackWalk};

use super::build::{DIRECTORIES, FILES};
use super::format::BLOCK;
use super::{Image, ImageRange, suits_image};

const PACK: PackId = PackId([7; 16]);

fn meta(kind: u32) -> Meta {
    Meta {
        mode: kind | 0o640,
        uid: 70_000,
        gid: 3,
        mtime: Timestamp {
            seconds: -5,
            nanos: 999,
        },
        xattrs: Xattrs::default(),
    }
}

fn pieces(size: u64) -> Vec<NewFilePiece> {
    let frame = FrameLocation {
        pack: PACK,
        offset: 0,
        stored: 100,
        raw: 100_000,
        codec: Codec::Zstd,
        hash: FrameHash([1; 32]),
    };
    let chunk = ChunkLocation {
        frame,
        offset: 0,
        length: size as u32,
    };
    if size == 0 {
        Vec::new()
    } else {
        vec![NewFilePiece::Chunk(chunk)]
    }
}

/// Builds a layer with one directory that holds files with these `names` and sizes, and a few other
/// entries.
fn stack(names: &[(String, u64)]) -> Stack {
    stack_with(names, Xattrs::default())
}

/// Like [`stack`], but with attributes on the root, on two directories and on a link in it.
fn stack_with(names: &[(String, u64)], xattrs: Xattrs) -> Stack {
    let file = meta(mode::FILE);
    let with_xattrs = |kind| Meta {
        xattrs: xattrs.clone(),
        ..meta(kind)
    };
    let directory = with_xattrs(mode::DIRECTORY);
    let (link, tty) = (with_xattrs(mode::SYMLINK), meta(mode::CHARACTER));
    let marked = Meta {
        xattrs: Xattrs::new(vec![
            (b"user.mark".to_vec(), b"yes".to_vec()),
            (b"system.posix_acl_access".to_vec(), vec![2; 28]),
        ])
        .unwrap(),
        ..meta(mode::FILE)
    };
    let new = |name, meta, kind| NewEntry {
        name,
        link: EntryTarget::New(NewInode { meta, kind }),
    };
    let pack = PackRef {
        id: PACK,
        length: 1000,
        trailer: 900,
        hash: None,
    };
    let mut builder = LayerBuilder::new(&directory, [pack]).unwrap();
    let (long, content) = (vec![b'x'; 4000], pieces(5000));
    let opaque = false;
    let made = builder
        .fill(
            0,
            &[
                new(
                    b"!first",
                    &file,
                    NewKind::File {
                        size: 5000,
                        content: &content,
                    },
                ),
                NewEntry {
                    name: b"-again",
                    link: EntryTarget::SameAs(0),
                },
                new(b"empty", &directory, NewKind::Directory { opaque }),
                new(b"files", &directory, NewKind::Directory { opaque }),
                new(b"link", &link, NewKind::Symlink(b"files/a")),
                new(b"long", &link, NewKind::Symlink(&long)),
                new(
                    b"marked",
                    &marked,
                    NewKind::File {
                        size: 0,
                        content: &[],
                    },
                ),
                new(b"tty", &tty, NewKind::Special(0x0501)),
            ],
        )
        .unwrap();
    builder.fill(made[2], &[]).unwrap();
    let contents: Vec<_> = names.iter().map(|(_, size)| pieces(*size)).collect();
    let entries: Vec<_> = names
        .iter()
        .zip(&contents)
        .map(|((name, size), content)| {
            new(
                name.as_bytes(),
                &file,
                NewKind::File {
                    size: *size,
                    content,
                },
            )
        })
        .collect();
    builder.fill(made[3], &entries).unwrap();
    let built = builder.finish().unwrap();
    Stack::new(vec![Layer::open(built.id, built.bytes).unwrap().into()]).unwrap()
}

/// An image, read the way the kernel reads it.
struct Reader<'a> {
    image: &'a Image,
    stack: &'a Stack,
}

/// The fields of an inode record.
#[derive(Debug)]
struct Record {
    layout: u16,
    xattr_bytes: usize,
    mode: u16,
    size: u64,
    start: u32,
    uid: u32,
    mtime: i64,
    nanos: u32,
    links: u32,
    offset: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

impl Reader<'_> {
    fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        let mut out = Vec::new();
        for part in self
            .image
            .parts(self.stack, offset..offset + length)
            .unwrap()
        {
            match part {
                ImageRange::Bytes(bytes) => out.extend_from_slice(bytes),
                ImageRange::Zeros(count) => out.resize(out.len() + count as usize, 0),
                ImageRange::File(..) => panic!("{offset} is metadata"),
            }
        }
        assert_eq!(out.len() as u64, length);
        out
    }

    fn inode(&self, number_: u64) -> Record {
        let offset = number_ * 32;
        let bytes = self.bytes(offset, 64);
        let format = u16::from_le_bytes(number(&bytes, 0));
        assert_eq!(format & 1, 1, "the long form");
        let xattrs = usize::from(u16::from_le_bytes(number(&bytes, 2)));
        Record {
            layout: format >> 1,
            xattr_bytes: if xattrs == 0 {
                0
            } else {
                12 + (xattrs - 1) * 4
            },
            mode: u16::from_le_bytes(number(&bytes, 4)),
            size: u64::from_le_bytes(number(&bytes, 8)),
            start: u32::from_le_bytes(number(&bytes, 16)),
            uid: u32::from_le_bytes(number(&bytes, 24)),
            mtime: i64::from_le_bytes(number(&bytes, 32)),
            nanos: u32::from_le_bytes(number(&bytes, 40)),
            links: u32::from_le_bytes(number(&bytes, 44)),
            offset,
        }
    }

    /// The content of a directory or link.
    fn content(&self, record: &Record) -> Vec<u8> {
        let whole = match record.layout {
            0 => record.size,
            2 => record.size / BLOCK * BLOCK,
            other => panic!("layout {other}"),
        };
        let mut content = self.bytes(u64::from(record.start) * BLOCK, whole);
        if record.layout == 2 {
            let tail = record.offset + 64 + record.xattr_bytes as u64;
            let length = record.size - whole;
            assert!(tail % BLOCK + length <= BLOCK, "the tail leaves its block");
            content.extend(self.bytes(tail, length));
        }
        content
    }

    fn entries(&self, record: &Record) -> Vec<(Vec<u8>, u64, u8)> {
        let mut entries = Vec::new();
        for block in self.content(record).chunks(BLOCK as usize) {
            let count = usize::from(u16::from_le_bytes(number(block, 8))) / 12;
            let offset =
                |index: usize| usize::from(u16::from_le_bytes(number(block, index * 12 + 8)));
            for index in 0..count {
                let end = if index + 1 < count {
                    offset(index + 1)
                } else {
                    block.len()
                };
                let name = block[offset(index)..end]
                    .split(|byte| *byte == 0)
                    .next()
                    .unwrap();
                let inode = u64::from_le_bytes(number(block, index * 12));
                entries.push((name.to_vec(), inode, block[index * 12 + 10]));
            }
        }
        entries
    }

    /// Returns the extended attributes of an inode: prefix number, rest of the name, and value.
    fn xattrs(&self, record: &Record) -> Vec<(u8, Vec<u8>, Vec<u8>)> {
        let bytes = self.bytes(record.offset + 64, record.xattr_bytes as u64);
        let mut rest = bytes.get(12..).unwrap_or_default();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(rest[0]);
            let end = 4 + length + usize::from(u16::from_le_bytes(number(rest, 2)));
            found.push((
                rest[1],
                rest[4..4 + length].to_vec(),
                rest[4 + length..end].to_vec(),
            ));
            rest = &rest[end.next_multiple_of(4)..];
        }
        found
    }

    /// Every path with its inode.
    fn walk(&self, inode: u64, parent: u64, path: &[u8], found: &mut BTreeMap<Vec<u8>, u64>) {
        found.insert(path.to_vec(), inode);
        let record = self.inode(inode);
        if u32::from(record.mode) & mode::TYPE != mode::DIRECTORY {
            return;
        }
        let entries = self.entries(&record);
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "names are in order");
        for (name, child, kind) in entries {
            match &name[..] {
                b"." => assert_eq!(child, inode),
                b".." => assert_eq!(child, parent),
                _ => {
                    let mut path = path.to_vec();
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend(&name);
                    let mode = u32::from(self.inode(child).mode);
                    assert_eq!(kind, super::format::entry_kind(mode));
                    self.walk(child, inode, &path, found);
                }
            }
        }
    }
}

fn check(stack: &Stack) {
    assert!(suits_image(stack));
    let image = Image::new(stack, Numbering::Dense).unwrap();
    let reader = Reader {
        image: &image,
        stack,
    };
    let first = reader.bytes(0, BLOCK);
    image.build(stack).unwrap();
    assert_eq!(
        first,
        reader.bytes(0, BLOCK + 1)[..BLOCK as usize],
        "the first block is the same"
    );

    let mut found = BTreeMap::new();
    reader.walk(36, 36, b"", &mut found);
    let entries: Vec<_> = StackWalk::new(stack).map(Result::unwrap).collect();
    assert_eq!(found.len(), entries.len());
    let mut inodes: BTreeMap<Ino, u64> = BTreeMap::new();
    for entry in entries {
        let inode = found[&entry.path];
        let xattrs = stack.xattrs(entry.attr.ino).unwrap();
        let values: Vec<_> = xattrs.iter().map(|(_, value)| value.to_vec()).collect();
        let stored = reader.xattrs(&reader.inode(inode));
        assert_eq!(
            stored
                .into_iter()
                .map(|(.., value)| value)
                .collect::<Vec<_>>(),
            values
        );
        assert_eq!(
            *inodes.entry(entry.attr.ino).or_insert(inode),
            inode,
            "links share an inode"
        );
        same(&reader, &reader.inode(inode), &entry.attr);
    }
}

fn same(reader: &Reader<'_>, record: &Record, attr: &Attr) {
    assert_eq!(u32::from(record.mode), attr.mode);
    assert_eq!((record.uid, record.links), (attr.uid, attr.links));
    assert_eq!(
        (record.mtime, record.nanos),
        (attr.mtime.seconds, attr.mtime.nanos)
    );
    match attr.kind() {
        mode::FILE => {
            assert_eq!(record.size, attr.size);
            if attr.size > 0 {
                let start = u64::from(record.start) * BLOCK;
                let parts = reader
                    .image
                    .parts(
                        reader.stack,
                        start..start + attr.size.next_multiple_of(BLOCK),
                    )
                    .unwrap();
                assert_eq!(parts[0], ImageRange::File(attr.ino, 0..attr.size));
                assert!(
                    matches!(parts[1..], [] | [ImageRange::Zeros(_)]),
                    "{parts:?}"
                );
            }
        }
        mode::SYMLINK => assert_eq!(
            reader.content(record),
            reader.stack.symlink_target(attr.ino).unwrap()
        ),
        mode::CHARACTER => assert_eq!(record.start, 0x0501),
        _ => {}
    }
}

#[test]
fn an_image_shows_what_the_stack_holds() {
    for count in [0, 1, 50, 300, 2000] {
        let names: Vec<_> = (0..count)
            .map(|number| (format!("{number:05}"), number % 9000))
            .collect();
        check(&stack(&names));
    }
}

#[test]
fn names_that_fill_a_block_to_the_last_byte() {
    // `.` and `..` take 27 bytes and 15 names of 259 bytes leave 184, so a last name of 172 fills
    // the block exactly.
    for last in 160..=180 {
        let mut names: Vec<_> = (0..15)
            .map(|number| (format!("{number:0247}"), 1))
            .collect();
        names.push(("z".repeat(last), 1));
        check(&stack(&names));
    }
}

/// The root inode starts 1,152 bytes into the first block. From 2,864 bytes on, its attributes
/// spill into the second block, where the other inodes must not start then.
#[test]
fn attributes_of_any_length_are_behind_their_inode() {
    let names = [("a".to_owned(), 10), ("b".to_owned(), 5000)];
    let around = |edge: usize| edge - 70..edge + 30;
    let sizes = around(2880)
        .chain(around(4096))
        .chain([6976, 20_000, 65_535]);
    for size in sizes {
        let value = (0..size).map(|byte| byte as u8).collect();
        let xattrs = Xattrs::new(vec![(b"user.x".to_vec(), value)]).unwrap();
        check(&stack_with(&names, xattrs));
    }
}

#[test]
fn an_empty_stack_is_an_empty_directory() {
    check(&Stack::new(Vec::new()).unwrap());
}

/// Kernels identify the inodes of a mount by position, even after a newer version takes it over.
#[test]
fn inodes_of_older_mounts_are_where_they_were() {
    let stack = stack(&[("a".to_owned(), 10)]);
    let first = |numbering| {
        let image = Image::new(&stack, numbering).unwrap();
        let reader = Reader {
            image: &image,
            stack: &stack,
        };
        let mut found = BTreeMap::new();
        reader.walk(36, 36, b"", &mut found);
        found[&b"!first"[..]]
    };
    assert_eq!(first(Numbering::ByLayer), BLOCK / 32);
    let dense = first(Numbering::Dense);
    assert!((1 << 28..1 << 30).contains(&dense), "{dense}");
}

#[test]
fn what_lies_between_files_is_zeros() {
    let stack = stack(&[("a".to_owned(), 10)]);
    let image = Image::new(&stack, Numbering::Dense).unwrap();
    let start = FILES * BLOCK;
    let parts = image.parts(&stack, start..start + 4 * BLOCK).unwrap();
    let [
        ImageRange::File(first, a),
        ImageRange::Zeros(gap),
        ImageRange::File(second, b),
        ImageRange::Zeros(rest),
    ] = &parts[..]
    else {
        panic!("{parts:?}");
    };
    assert_eq!(
        (a.clone(), *gap, b.clone(), *rest),
        (0..5000, 3192, 0..10, BLOCK - 10 + BLOCK)
    );
    assert!(first != second);
    for range in [
        DIRECTORIES * BLOCK - 10..DIRECTORIES * BLOCK + 10,
        Image::LENGTH - 10..Image::LENGTH,
    ] {
        let length = range.end - range.start;
        let parts = image.parts(&stack, range).unwrap();
        let total: u64 = parts
            .iter()
            .map(|part| match part {
                ImageRange::Bytes(bytes) => bytes.len() as u64,
                ImageRange::Zeros(count) => *count,
                ImageRange::File(_, range) => range.end - range.start,
            })
            .sum();
        assert_eq!(total, length);
    }
}

#[test]
fn attributes_without_a_place_are_refused() {
    let encode = |name: &[u8], length| {
        let xattrs = Xattrs::new(vec![(name.to_vec(), vec![1; length])]).unwrap();
        super::xattr::encode_xattrs(&xattrs)
    };
    assert_eq!(
        super::xattr::inode_xattr_count(&encode(b"user.a", 3).unwrap()),
        3
    );
    assert!(encode(b"user.a", 65_535).is_ok());
    assert!(encode(b"user.a", 65_536).is_err());
    assert!(encode(b"os2.a", 1).is_err());
}
