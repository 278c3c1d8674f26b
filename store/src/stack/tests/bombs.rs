//! Small layers that make readers use memory or time out of proportion to their size.

use std::sync::Arc;

use super::model::open;
use crate::layer::testing::{overlap_pages, rewrite_layer};
use crate::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT, mode,
};
use crate::stack::{Ino, Stack, StackWalk, squash_layers};

/// Indexes of tables.
const INODES: usize = 0;
const DIRENTS: usize = 1;
const NAMES: usize = 2;
/// Size of an inode record, and the offsets of its first dirent and dirent count.
const INODE: usize = 56;
const FIRST: usize = 40;
const COUNT: usize = 44;

fn meta(mode_bits: u32) -> Meta {
    Meta {
        mode: mode_bits,
        ..Meta::default()
    }
}

/// Two directories `a` and `b`, with a link in each.
fn honest() -> Arc<Layer> {
    let (directory, link) = (meta(mode::DIRECTORY | 0o755), meta(mode::SYMLINK | 0o777));
    let new = |meta, kind| EntryTarget::New(NewInode { meta, kind });
    let kind = NewKind::Directory { opaque: false };
    let mut builder = LayerBuilder::new(&directory, []).unwrap();
    let entries = [b"a", b"b"].map(|name| NewEntry {
        name,
        link: new(&directory, kind.clone()),
    });
    for inode in builder.fill(ROOT, &entries).unwrap() {
        let inside = [b"x", b"y"].map(|name| NewEntry {
            name,
            link: new(&link, NewKind::Symlink(b"to")),
        });
        builder.fill(inode, &inside).unwrap();
    }
    open(builder.finish().unwrap())
}

fn put(table: &mut [u8], at: usize, value: u32) {
    table[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_page_that_is_listed_twice_is_refused() {
    let built = overlap_pages(&honest());
    let error = Layer::open(built.0, built.1).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[test]
fn tables_that_compress_too_well_are_refused() {
    // 64 MiB of one repeated byte compress to a few kilobytes.
    let built = rewrite_layer(&honest(), |tables| tables[NAMES].resize(64 << 20, b'a'));
    assert!(built.bytes.len() < 64 << 10);
    let error = Layer::open(built.id, built.bytes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("exceed the maximum decoded size"),
        "{error}"
    );
    let built = rewrite_layer(&honest(), |tables| tables[DIRENTS].resize(12 << 20, 0));
    let error = Layer::open(built.id, built.bytes).unwrap_err();
    assert!(error.to_string().contains("more entries"), "{error}");
}

/// A thousand directories that share the same thousand entries would have a million.
#[test]
fn directories_cannot_share_their_entries() {
    let built = rewrite_layer(&honest(), |tables| {
        let inodes = &mut tables[INODES];
        let first = u32::from_le_bytes(inodes[INODE + FIRST..][..4].try_into().unwrap());
        // `b` claims the entries of `a`, and those after them.
        put(inodes, 2 * INODE + FIRST, first);
        put(inodes, 2 * INODE + COUNT, 4);
    });
    let layer = Arc::new(Layer::open(built.id, built.bytes).unwrap());
    assert!(layer.check_shares().is_err());
    let stack = Stack::new(vec![layer.clone()]).unwrap();
    assert!(StackWalk::new(&stack).any(|entry| entry.is_err()));
    assert!(squash_layers(&[layer], true).is_err());
}

#[test]
fn entries_out_of_order_are_refused_when_listed() {
    for names in [b"ba", b"aa"] {
        let built = rewrite_layer(&honest(), |tables| {
            tables[NAMES][..2].copy_from_slice(names)
        });
        let layer = Arc::new(Layer::open(built.id, built.bytes).unwrap());
        let stack = Stack::new(vec![layer]).unwrap();
        assert!(stack.list(Ino::ROOT, 0, |_, _, _| Ok(true)).is_err());
        // Continuing a listing after the first entry also detects it.
        assert!(stack.list(Ino::ROOT, 1, |_, _, _| Ok(true)).is_err());
    }
}

#[test]
fn modes_without_a_known_type_are_refused() {
    for bits in [0, 0o030_644, 0o150_644, 0o170_644, 0o1_040_755] {
        let built = rewrite_layer(&honest(), |tables| put(&mut tables[INODES], INODE, bits));
        let layer = Layer::open(built.id, built.bytes).unwrap();
        assert!(layer.inode(1).is_err(), "{bits:o}");
        assert!(layer.check_shares().is_err(), "{bits:o}");
    }
    honest().check_shares().unwrap();
}
