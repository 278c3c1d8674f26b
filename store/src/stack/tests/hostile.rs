//! Layers with invalid records but correct hashes. Readers may reject them or show nonsense, but
//! must not panic, loop, or access anything outside of the tree.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::open;
use crate::frame::{ChunkLocation, Codec, FrameLocation};
use crate::id::{FrameHash, PackId};
use crate::layer::testing::rewrite_layer;
use crate::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewFilePiece, NewInode, NewKind, ROOT,
    Xattrs, mode,
};
use crate::pack::PackRef;
use crate::stack::{Ino, Stack, StackWalk, squash_layers};

/// A walk with more steps than this counts as an endless loop.
const STEPS: usize = 10_000;

/// A layer with every kind of entry.
fn honest() -> Arc<Layer> {
    let pack = PackRef {
        id: PackId([7; 16]),
        length: 10_000,
        trailer: 9_000,
        hash: None,
    };
    let chunk = |offset, length| {
        let hash = FrameHash::of(&[1]);
        let frame = FrameLocation {
            pack: pack.id,
            offset: 8,
            stored: 500,
            raw: 1000,
            codec: Codec::Zstd,
            hash,
        };
        NewFilePiece::Chunk(ChunkLocation {
            frame,
            offset,
            length,
        })
    };
    let xattrs = Xattrs::new(vec![(b"user.a".to_vec(), b"b".to_vec())]).unwrap();
    let plain = |kind: u32| Meta {
        mode: kind | 0o755,
        ..Meta::default()
    };
    let (file, link, device) = (
        plain(mode::FILE),
        plain(mode::SYMLINK),
        plain(mode::CHARACTER),
    );
    let directory = Meta {
        xattrs,
        ..plain(mode::DIRECTORY)
    };
    let content = [chunk(0, 300), NewFilePiece::Hole(4096), chunk(300, 700)];
    let new = |meta, kind| EntryTarget::New(NewInode { meta, kind });
    let mut builder = LayerBuilder::new(&directory, [pack]).unwrap();
    let mut level = vec![ROOT];
    for depth in 0..3 {
        let mut next = Vec::new();
        for inode in level {
            let directories = NewKind::Directory { opaque: depth == 1 };
            let entries = [
                NewEntry {
                    name: b"a",
                    link: new(&directory, directories.clone()),
                },
                NewEntry {
                    name: b"b",
                    link: new(&directory, directories),
                },
                NewEntry {
                    name: b"file",
                    link: new(
                        &file,
                        NewKind::File {
                            size: 5096,
                            content: &content,
                        },
                    ),
                },
                NewEntry {
                    name: b"gone",
                    link: EntryTarget::Whiteout,
                },
                NewEntry {
                    name: b"hard",
                    link: EntryTarget::SameAs(2),
                },
                NewEntry {
                    name: b"link",
                    link: new(&link, NewKind::Symlink(b"../a")),
                },
                NewEntry {
                    name: b"null",
                    link: new(&device, NewKind::Special(259)),
                },
            ];
            next.extend_from_slice(&builder.fill(inode, &entries).unwrap()[..2]);
        }
        level = next;
    }
    open(builder.finish().unwrap())
}

/// Overwrites four bytes of a table.
#[derive(Debug, Clone)]
struct Tamper {
    section: usize,
    place: Index,
    aligned: bool,
    value: u32,
}

fn tamper() -> impl Strategy<Value = Tamper> {
    let value = prop_oneof![
        0_u32..40,
        select(vec![
            u32::MAX,
            u32::MAX - 1,
            1 << 31,
            1 << 18,
            512 << 10,
            0x2f2e_2e2f,
            0x2e2e
        ]),
        any::<u32>(),
    ];
    (0..8_usize, any::<Index>(), any::<bool>(), value).prop_map(
        |(section, place, aligned, value)| Tamper {
            section,
            place,
            aligned,
            value,
        },
    )
}

fn apply(layer: &Layer, tampers: &[Tamper]) -> Arc<Layer> {
    let built = rewrite_layer(layer, |tables| {
        for tamper in tampers {
            let table = &mut tables[tamper.section];
            if table.len() < 4 {
                continue;
            }
            let mut at = tamper.place.index(table.len() - 3);
            if tamper.aligned {
                at -= at % 4;
            }
            table[at..at + 4].copy_from_slice(&tamper.value.to_le_bytes());
        }
    });
    Arc::new(Layer::open(built.id, built.bytes).unwrap())
}

/// Uses a stack in every supported way.
fn explore(layers: Vec<Arc<Layer>>) {
    let Ok(stack) = Stack::new(layers.clone()) else {
        return;
    };
    for (step, entry) in StackWalk::new(&stack).enumerate() {
        assert!(step < STEPS, "the walk goes on for ever");
        let Ok(entry) = entry else { break };
        for name in entry
            .path
            .split(|byte| *byte == b'/')
            .filter(|_| !entry.path.is_empty())
        {
            assert!(!matches!(name, b"" | b"." | b".."));
        }
        let _ = stack.find(&entry.path);
        visit(&stack, entry.attr.ino);
    }
    for (number, layer) in layers.iter().enumerate() {
        for inode in 0..layer.inode_count() + 1 {
            let ino = Ino::from_number(((number as u64) << 32) + u64::from(inode) + 1);
            visit(&stack, ino);
        }
    }
    let _ = squash_layers(&layers, true);
    let _ = squash_layers(&layers, false);
}

fn visit(stack: &Stack, ino: Ino) {
    let _ = (stack.attr(ino), stack.meta(ino), stack.symlink_target(ino));
    let _ = (stack.lookup(ino, b"a"), stack.lookup(ino, b"zzz"));
    let mut entries = 0;
    let _ = stack.list(ino, 0, |_, _, _| {
        entries += 1;
        assert!(entries < STEPS);
        Ok(true)
    });
    for range in [0..u64::MAX, 100..200, u64::MAX - 1..u64::MAX] {
        let Ok(pieces) = stack.pieces(ino, range) else {
            continue;
        };
        let mut end = None;
        for (step, piece) in pieces.enumerate() {
            assert!(step < STEPS);
            let Ok(piece) = piece else { break };
            assert!(piece.start < piece.end);
            assert!(end.is_none_or(|end| end == piece.start));
            end = Some(piece.end);
            if let Some(at) = piece.location {
                assert_eq!(u64::from(at.length), piece.end - piece.start);
                assert!(at.offset + at.length <= at.frame.raw);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..Default::default() })]

    #[test]
    fn impossible_records_do_no_harm(
        lower in vec(tamper(), 0..6),
        upper in vec(tamper(), 0..6),
    ) {
        let honest = honest();
        explore(vec![apply(&honest, &lower)]);
        explore(vec![apply(&honest, &lower), honest.clone()]);
        explore(vec![honest.clone(), apply(&honest, &lower), apply(&honest, &upper)]);
    }

    #[test]
    fn a_flipped_bit_is_found(position in any::<Index>(), bit in 0..8) {
        let honest = honest();
        let mut object = honest.object().to_vec();
        object[position.index(honest.object().len())] ^= 1_u8 << bit;
        let opened = Layer::open(honest.id(), object.into());
        prop_assert!(opened.and_then(|layer| layer.verify()).is_err());
    }

    #[test]
    fn a_cut_object_is_found(position in any::<Index>()) {
        let honest = honest();
        let object = honest.object().slice(..position.index(honest.object().len()));
        let opened = Layer::open(honest.id(), object);
        prop_assert!(opened.and_then(|layer| layer.verify()).is_err());
    }
}

#[test]
fn a_root_is_a_directory() {
    let built = rewrite_layer(&honest(), |tables| tables[0][1] = 0x80);
    let layer = Arc::new(Layer::open(built.id, built.bytes).unwrap());
    assert!(Stack::new(vec![layer.clone()]).is_err());
    assert!(squash_layers(&[layer], true).is_err());
}

/// Two parents for each of thirty nested directories would give 2^30 paths.
#[test]
fn a_directory_has_one_place() {
    let directory = Meta {
        mode: mode::DIRECTORY | 0o755,
        ..Meta::default()
    };
    let kind = NewKind::Directory { opaque: false };
    let mut builder = LayerBuilder::new(&directory, []).unwrap();
    let mut inode = ROOT;
    for _ in 0..30 {
        let entries = [
            NewEntry {
                name: b"a",
                link: EntryTarget::New(NewInode {
                    meta: &directory,
                    kind: kind.clone(),
                }),
            },
            NewEntry {
                name: b"b",
                link: EntryTarget::SameAs(0),
            },
        ];
        inode = builder.fill(inode, &entries).unwrap()[0];
    }
    explore(vec![open(builder.finish().unwrap())]);
}
