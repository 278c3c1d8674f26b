//! Directories nested deeper than any path can express, on a small stack.

use std::sync::Arc;

use super::model::open;
use crate::archive::{self, WriteOptions};
use crate::error::Error;
use crate::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT, mode,
};
use crate::local::{FrameMemory, FrameReader, PackCache};
use crate::path_limit::MAX_PATH;
use crate::progress::Silent;
use crate::remote::{DynRemote, FileRemote};
use crate::stack::{Stack, StackWalk, compare_stacks, squash_layers};

const DEPTH: usize = 20_000;

/// Nested directories, owned by `uid`.
fn nested(uid: u32) -> Arc<Layer> {
    let meta = Meta {
        mode: mode::DIRECTORY | 0o755,
        uid,
        ..Meta::default()
    };
    let mut builder = LayerBuilder::new(&meta, []).unwrap();
    let mut inode = ROOT;
    for _ in 0..DEPTH {
        let kind = NewKind::Directory { opaque: false };
        let entry = NewEntry {
            name: b"d",
            link: EntryTarget::New(NewInode { meta: &meta, kind }),
        };
        inode = builder.fill(inode, &[entry]).unwrap()[0];
    }
    open(builder.finish().unwrap())
}

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    thread.spawn(work).unwrap().join().unwrap();
}

#[test]
fn deep_trees_are_walked_as_far_as_paths_go() {
    on_a_small_stack(|| {
        let stack = Stack::new(vec![nested(0)]).unwrap();
        let mut walk = StackWalk::new(&stack);
        let longest = walk.by_ref().map(|entry| entry.unwrap().path.len()).max();
        assert_eq!(longest, Some(MAX_PATH));
        assert_eq!(walk.left_out(), 1);
    });
}

#[test]
fn deep_trees_are_squashed_and_comparing_them_fails() {
    on_a_small_stack(|| {
        let (before, after) = (nested(0), nested(1));
        let remote: DynRemote = Arc::new(FileRemote::new("/nowhere"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let stacks = [&before, &after].map(|layer| Stack::new(vec![layer.clone()]).unwrap());
        let compared = runtime.block_on(compare_stacks(&remote, &stacks[0], &stacks[1]));
        let error = compared.unwrap_err();
        assert!(matches!(error, Error::PathTooLong { .. }), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
        let cache = Arc::new(PackCache::new("/nowhere", 0));
        let reader = FrameReader::new(remote, cache, FrameMemory::default());
        let written = archive::write_archive(
            &stacks[0],
            &reader,
            runtime.handle(),
            &mut std::io::sink(),
            &WriteOptions::default(),
            &Silent,
        );
        let error = written.unwrap_err();
        assert!(matches!(error, Error::PathTooLong { .. }), "{error}");
        squash_layers(&[before, after], true).unwrap();
    });
}

/// A listing must not resolve the whole path from the root each time.
#[test]
fn every_directory_of_a_deep_stack_can_be_listed() {
    let other = {
        let meta = Meta {
            mode: mode::DIRECTORY | 0o755,
            ..Meta::default()
        };
        open(LayerBuilder::new(&meta, []).unwrap().finish().unwrap())
    };
    let stack = Stack::new(vec![other, nested(0)]).unwrap();
    let mut directory = crate::stack::Ino::ROOT;
    let mut depth = 0;
    loop {
        let mut next = None;
        let list = stack.list(directory, 0, |_, _, ino| {
            next = Some(ino);
            Ok(true)
        });
        list.unwrap();
        match next {
            Some(ino) => directory = ino,
            None => break,
        }
        depth += 1;
    }
    assert_eq!(depth, DEPTH);
}
