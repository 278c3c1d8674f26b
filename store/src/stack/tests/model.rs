//! Stacks must behave like a simple model: maps laid over each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT, mode,
};
use crate::stack::{Ino, Stack, squash_layers};

/// A layer's entry for a name.
#[derive(Debug, Clone)]
pub(super) enum Spec {
    Whiteout,
    Link,
    Directory { opaque: bool, entries: Entries },
}

pub(super) type Entries = BTreeMap<u8, Spec>;

const NAMES: std::ops::RangeInclusive<u8> = b'a'..=b'e';

pub(super) fn entries() -> impl Strategy<Value = Entries> {
    let leaf = prop_oneof![Just(Spec::Whiteout), Just(Spec::Link)];
    let spec = leaf.prop_recursive(4, 40, 4, |inner| {
        (prop::bool::weighted(0.2), btree_map(NAMES, inner, 0..5))
            .prop_map(|(opaque, entries)| Spec::Directory { opaque, entries })
    });
    btree_map(NAMES, spec, 0..5)
}

/// A tree that records the layer of each entry.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Model {
    Link {
        layer: usize,
    },
    Directory {
        layer: usize,
        entries: BTreeMap<u8, Model>,
    },
}

fn lay_over(below: &mut BTreeMap<u8, Model>, layer: usize, above: &Entries) {
    for (name, spec) in above {
        match spec {
            Spec::Whiteout => {
                below.remove(name);
            }
            Spec::Link => {
                below.insert(*name, Model::Link { layer });
            }
            Spec::Directory {
                opaque,
                entries: above,
            } => {
                let mut entries = match below.remove(name) {
                    Some(Model::Directory { entries, .. }) if !opaque => entries,
                    _ => BTreeMap::new(),
                };
                lay_over(&mut entries, layer, above);
                below.insert(*name, Model::Directory { layer, entries });
            }
        }
    }
}

fn meta(kind: u32, layer: usize) -> Meta {
    Meta {
        mode: kind | 0o755,
        uid: layer as u32,
        ..Meta::default()
    }
}

pub(super) fn open(built: crate::layer::BuiltLayer) -> Arc<Layer> {
    let layer = Layer::open(built.id, built.bytes).unwrap();
    layer.verify().unwrap();
    Arc::new(layer)
}

pub(super) fn build(number: usize, entries: &Entries) -> Arc<Layer> {
    fn fill(builder: &mut LayerBuilder, inode: u32, number: usize, entries: &Entries) {
        let names: Vec<[u8; 1]> = entries.keys().map(|name| [*name]).collect();
        let (link, directory) = (meta(mode::SYMLINK, number), meta(mode::DIRECTORY, number));
        let new: Vec<_> = names
            .iter()
            .zip(entries.values())
            .map(|(name, spec)| NewEntry {
                name,
                link: match spec {
                    Spec::Whiteout => EntryTarget::Whiteout,
                    Spec::Link => EntryTarget::New(NewInode {
                        meta: &link,
                        kind: NewKind::Symlink(b"t"),
                    }),
                    Spec::Directory { opaque, .. } => {
                        let kind = NewKind::Directory { opaque: *opaque };
                        EntryTarget::New(NewInode {
                            meta: &directory,
                            kind,
                        })
                    }
                },
            })
            .collect();
        let inodes = builder.fill(inode, &new).unwrap();
        for (inode, spec) in inodes.into_iter().zip(entries.values()) {
            if let Spec::Directory { entries, .. } = spec {
                fill(builder, inode, number, entries);
            }
        }
    }
    let mut builder = LayerBuilder::new(&meta(mode::DIRECTORY, number), []).unwrap();
    fill(&mut builder, ROOT, number, entries);
    open(builder.finish().unwrap())
}

/// Reads a whole stack, and checks that partial listings and lookups agree.
fn read(stack: &Stack, directory: Ino) -> BTreeMap<u8, Model> {
    let mut listed = BTreeMap::new();
    let mut numbers = Vec::new();
    stack
        .list(directory, 0, |number, name, ino| {
            numbers.push((number, name.to_vec()));
            assert!(
                listed.insert(name[0], ino).is_none(),
                "a name is listed twice"
            );
            Ok(true)
        })
        .unwrap();
    assert!(numbers.is_sorted());
    for (position, (number, _)) in numbers.iter().enumerate() {
        let mut rest = Vec::new();
        stack
            .list(directory, *number, |number, name, _| {
                rest.push((number, name.to_vec()));
                Ok(true)
            })
            .unwrap();
        assert_eq!(rest, numbers[position + 1..]);
    }
    for name in NAMES {
        assert_eq!(
            stack.lookup(directory, &[name]).unwrap(),
            listed.get(&name).copied()
        );
    }
    let model = |ino| {
        let attr = stack.attr(ino).unwrap();
        assert_eq!(attr.ino, ino);
        let layer = attr.uid as usize;
        match attr.kind() {
            mode::DIRECTORY => Model::Directory {
                layer,
                entries: read(stack, ino),
            },
            _ => Model::Link { layer },
        }
    };
    listed
        .into_iter()
        .map(|(name, ino)| (name, model(ino)))
        .collect()
}

fn check(layers: Vec<Arc<Layer>>, expected: &BTreeMap<u8, Model>, what: &str) {
    let stack = Stack::new(layers).unwrap();
    assert_eq!(&read(&stack, Ino::ROOT), expected, "{what}");
    assert_eq!(&read(&stack, Ino::ROOT), expected, "{what}, read again");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..Default::default() })]

    #[test]
    fn stacks_are_maps_laid_over_each_other(specs in vec(entries(), 1..6)) {
        let mut expected = BTreeMap::new();
        let mut layers = Vec::new();
        for (number, entries) in specs.iter().enumerate() {
            lay_over(&mut expected, number, entries);
            layers.push(build(number, entries));
        }
        check(layers.clone(), &expected, "the stack");
        for start in 0..layers.len() {
            for end in start + 1..=layers.len() {
                let mut squashed = layers.clone();
                let built = squash_layers(&layers[start..end], start == 0).unwrap();
                squashed.splice(start..end, [open(built)]);
                check(squashed, &expected, &format!("{start}..{end} squashed"));
            }
        }
        let bottom = squash_layers(&layers, true).unwrap();
        prop_assert_eq!(bottom.summary.whiteouts, 0);
    }

    /// A process that gets an inode number before it lists anything must find the same directory.
    #[test]
    fn any_directory_can_be_entered_first(specs in vec(entries(), 1..6)) {
        let layers: Vec<_> = specs.iter().enumerate().map(|(n, spec)| build(n, spec)).collect();
        let stack = Stack::new(layers.clone()).unwrap();
        for entry in crate::stack::StackWalk::new(&stack) {
            let entry = entry.unwrap();
            if entry.attr.kind() == mode::DIRECTORY {
                let fresh = Stack::new(layers.clone()).unwrap();
                prop_assert_eq!(read(&fresh, entry.attr.ino), read(&stack, entry.attr.ino));
            }
            prop_assert_eq!(stack.find(&entry.path).unwrap(), Some(entry.attr.ino));
        }
    }
}
