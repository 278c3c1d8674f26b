//! Properties of single stacks.

use std::sync::Arc;

use super::model::open;
use crate::layer::{EntryTarget, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT, mode};
use crate::stack::{
    Ino, MAX_DEPTH, Numbering, Numbers, SQUASH_DEPTH, Stack, squash_layers, squash_plan,
};

fn directory() -> Meta {
    Meta {
        mode: mode::DIRECTORY | 0o755,
        ..Meta::default()
    }
}

/// A layer whose root has one pipe with these names, which share an inode.
fn linked(names: &[&str]) -> Arc<crate::layer::Layer> {
    let pipe = Meta {
        mode: mode::FIFO | 0o644,
        ..Meta::default()
    };
    let mut builder = LayerBuilder::new(&directory(), []).unwrap();
    let entry = |(position, name): (usize, &&'static str)| NewEntry {
        name: name.as_bytes(),
        link: match position {
            0 => EntryTarget::New(NewInode {
                meta: &pipe,
                kind: NewKind::Special(0),
            }),
            _ => EntryTarget::SameAs(0),
        },
    };
    let names: Vec<&'static str> = names.iter().map(|name| &*name.to_string().leak()).collect();
    let entries: Vec<_> = names.iter().enumerate().map(entry).collect();
    builder.fill(ROOT, &entries).unwrap();
    open(builder.finish().unwrap())
}

#[test]
fn no_layer_is_an_empty_directory() {
    let stack = Stack::new(Vec::new()).unwrap();
    assert_eq!(stack.attr(Ino::ROOT).unwrap().kind(), mode::DIRECTORY);
    assert_eq!(stack.lookup(Ino::ROOT, b"a").unwrap(), None);
    stack
        .list(Ino::ROOT, 0, |_, _, _| panic!("there is nothing to list"))
        .unwrap();
}

#[test]
fn too_many_layers_are_refused() {
    assert!(Stack::new(vec![linked(&["a"]); MAX_DEPTH]).is_ok());
    assert!(Stack::new(vec![linked(&["a"]); MAX_DEPTH + 1]).is_err());
}

#[test]
fn unknown_numbers_are_errors() {
    let stack = Stack::new(vec![linked(&["a"]), linked(&["b"])]).unwrap();
    for number in [0, 3, 1 << 32, 3 << 32, u64::MAX] {
        assert!(stack.attr(Ino::from_number(number)).is_err(), "{number}");
        assert!(
            stack.lookup(Ino::from_number(number), b"a").is_err(),
            "{number}"
        );
    }
}

#[test]
fn dense_numbers_have_no_gaps_and_lead_back() {
    let layers = vec![linked(&["a"]), linked(&["b", "c"]), linked(&["d"])];
    let stack = Stack::new(layers).unwrap();
    let inodes = [&b""[..], b"a", b"b", b"c", b"d"].map(|name| stack.find(name).unwrap().unwrap());
    let numbers = Numbers::new(&stack, Numbering::Dense);
    let [root, first, ..] = inodes.map(|ino| numbers.number(ino));
    assert_eq!(root, 1);
    assert!(
        ((1 << 30)..(1 << 32) - (1 << 30)).contains(&(first - 1)),
        "{first}"
    );
    // Each layer has a root and one pipe.
    let expected = [1, first, first + 2, first + 2, first + 4];
    assert_eq!(inodes.map(|ino| numbers.number(ino)), expected);
    for ino in inodes {
        assert_eq!(numbers.ino(numbers.number(ino)), ino);
    }
    for number in [0, 2, first - 2, first + 5, 1 << 32, 1 << 33, u64::MAX] {
        assert!(stack.attr(numbers.ino(number)).is_err(), "{number}");
    }
    let another = Stack::new(vec![linked(&["a"]), linked(&["b"])]).unwrap();
    let another = Numbers::new(&another, Numbering::Dense);
    assert!(another.number(inodes[1]).abs_diff(first) > 1000);
    let by_layer = Numbers::new(&stack, Numbering::ByLayer);
    assert_eq!(by_layer.number(inodes[4]), (2 << 32) + 2);
    assert_eq!(by_layer.ino((2 << 32) + 2), inodes[4]);
}

#[test]
fn squashing_counts_links_afresh() {
    let lower = linked(&["a", "b", "c"]);
    let mut builder = LayerBuilder::new(&directory(), []).unwrap();
    builder
        .fill(
            ROOT,
            &[NewEntry {
                name: b"b",
                link: EntryTarget::Whiteout,
            }],
        )
        .unwrap();
    let squashed = squash_layers(&[lower, open(builder.finish().unwrap())], true).unwrap();
    let stack = Stack::new(vec![open(squashed)]).unwrap();
    let (a, c) = (
        stack.find(b"a").unwrap().unwrap(),
        stack.find(b"c").unwrap().unwrap(),
    );
    assert_eq!(a, c);
    assert_eq!(stack.attr(a).unwrap().links, 2);
    assert_eq!(stack.find(b"b").unwrap(), None);
}

#[test]
fn a_base_is_left_alone_until_what_lies_on_it_is_large() {
    assert_eq!(squash_plan(&[10; 16], SQUASH_DEPTH), None);
    let mut entries = vec![10_000];
    entries.extend([100; 16]);
    assert_eq!(squash_plan(&entries, SQUASH_DEPTH), Some(1..17));
    entries.extend([1000; 10]);
    assert_eq!(squash_plan(&entries, SQUASH_DEPTH), Some(0..27));
    assert_eq!(squash_plan(&[], SQUASH_DEPTH), None);
}
