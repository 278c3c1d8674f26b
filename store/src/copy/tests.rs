//! Copies of layers that no honest builder would create: they must never touch anything outside of
//! the target.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CopyOptions, CopyReport, copy_out};
use crate::error::Result;
use crate::layer::testing::rewrite_layer;
use crate::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewFilePiece, NewInode, NewKind, ROOT,
    Xattrs, mode,
};
use crate::local::{FrameMemory, FrameReader, PackCache};
use crate::progress::Silent;
use crate::remote::{RemoteSpec, RetryPolicy, open_remote};
use crate::stack::Stack;

/// Index of the name table.
const NAMES: usize = 2;

fn meta(mode_bits: u32) -> Meta {
    Meta {
        mode: mode_bits,
        ..Meta::default()
    }
}

fn opened(builder: LayerBuilder) -> Layer {
    let built = builder.finish().unwrap();
    Layer::open(built.id, built.bytes).unwrap()
}

/// A directory `d1` with a file `f1`, a symbolic link `l1` to `target`, and a hard link `h1`.
fn layer(target: &Path) -> Layer {
    let (directory, file, link) = (
        meta(mode::DIRECTORY | 0o755),
        meta(mode::FILE | 0o644),
        meta(mode::SYMLINK | 0o777),
    );
    let new = |meta, kind| EntryTarget::New(NewInode { meta, kind });
    let empty = NewKind::File {
        size: 0,
        content: &[],
    };
    let mut builder = LayerBuilder::new(&directory, []).unwrap();
    let text = target.to_str().unwrap().as_bytes();
    let entries = [
        NewEntry {
            name: b"d1",
            link: new(&directory, NewKind::Directory { opaque: false }),
        },
        NewEntry {
            name: b"h1",
            link: new(&file, empty.clone()),
        },
        NewEntry {
            name: b"h2",
            link: EntryTarget::SameAs(1),
        },
        NewEntry {
            name: b"l1",
            link: new(&link, NewKind::Symlink(text)),
        },
    ];
    let inodes = builder.fill(ROOT, &entries).unwrap();
    let inside = [NewEntry {
        name: b"f1",
        link: new(&file, empty),
    }];
    builder.fill(inodes[0], &inside).unwrap();
    opened(builder)
}

/// The layer with other names of the same length.
fn renamed(layer: &Layer, names: &[(&[u8; 2], &[u8; 2])]) -> Arc<Layer> {
    let built = rewrite_layer(layer, |tables| {
        for (from, to) in names {
            let table = &mut tables[NAMES];
            let at = table.windows(2).position(|name| name == *from).unwrap();
            table[at..at + 2].copy_from_slice(*to);
        }
    });
    Arc::new(Layer::open(built.id, built.bytes).unwrap())
}

/// Everything below a directory, with kinds, sizes, modes and times.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        }
        let times = (metadata.mtime(), metadata.mtime_nsec());
        found.insert(path, (metadata.mode(), metadata.size(), times.0, times.1));
    }
    found
}

fn copied(layers: Vec<Arc<Layer>>, target: &Path, withheld: bool) -> Result<CopyReport> {
    let store = tempfile::tempdir().unwrap();
    let spec = RemoteSpec {
        url: format!("file://{}", store.path().display()),
        ..RemoteSpec::default()
    };
    let remote = open_remote(&spec, RetryPolicy::default()).unwrap().remote;
    let cache = Arc::new(PackCache::new(store.path(), 1 << 20));
    let reader = FrameReader::new(remote, cache, FrameMemory::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut stack = Stack::new(layers)?;
    if withheld {
        stack = stack.without_privileges();
    }
    let options = CopyOptions::default();
    copy_out(&stack, &reader, runtime.handle(), target, &options, &Silent)
}

/// A sandbox with a directory that must not change, and a target directory.
struct Place {
    sandbox: tempfile::TempDir,
    outside: PathBuf,
    target: PathBuf,
}

impl Place {
    fn new() -> Self {
        let sandbox = tempfile::tempdir().unwrap();
        let (outside, target) = (sandbox.path().join("outside"), sandbox.path().join("in/to"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(&target).unwrap();
        fs::write(outside.join("f1"), "precious").unwrap();
        fs::write(outside.join("h1"), "precious").unwrap();
        Self {
            sandbox,
            outside,
            target,
        }
    }

    /// Copies, and asserts that only the target changed.
    #[track_caller]
    fn copy(&self, layers: Vec<Arc<Layer>>) -> Result<CopyReport> {
        let before = snapshot(&self.outside);
        let outcome = copied(layers, &self.target, false);
        assert_eq!(snapshot(&self.outside), before);
        let beside = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!(beside(self.sandbox.path()), 2);
        assert_eq!(beside(&self.sandbox.path().join("in")), 1);
        outcome
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let place = Place::new();
    let honest = layer(&place.outside);
    for from in [b"d1", b"h1", b"l1", b"f1"] {
        for to in [b"..", b"/x", b"x/", b"x\0", b"\0\0"] {
            let hostile = renamed(&honest, &[(from, to)]);
            assert!(place.copy(vec![hostile]).is_err(), "{from:?} as {to:?}");
        }
    }
}

#[test]
fn a_name_that_is_a_directory_and_a_link_leads_nowhere() {
    let place = Place::new();
    let honest = layer(&place.outside);
    // In both orders, and with the link's target claiming the entries of the directory.
    for names in [
        &[(b"l1", b"d1")][..],
        &[(b"d1", b"l1")],
        &[(b"h2", b"l1"), (b"d1", b"l1")],
    ] {
        // The copy may reject some of the entries.
        let _ = place.copy(vec![renamed(&honest, names)]);
    }
    // Over an earlier copy, and in a stack.
    let both = vec![renamed(&honest, &[(b"l1", b"d1")]), Arc::new(honest)];
    let _ = place.copy(both);
}

#[test]
fn links_that_are_in_the_way_are_replaced_and_not_followed() {
    let place = Place::new();
    symlink(&place.outside, place.target.join("d1")).unwrap();
    symlink(place.outside.join("h1"), place.target.join("h1")).unwrap();
    symlink(place.outside.join("f1"), place.target.join("h2")).unwrap();
    let report = place.copy(vec![Arc::new(layer(&place.outside))]).unwrap();
    assert_eq!(report.issues, []);
    assert!(!place.target.join("d1").is_symlink() && place.target.join("d1/f1").exists());
    let inode = |name: &str| fs::metadata(place.target.join(name)).unwrap().ino();
    assert_eq!(inode("h1"), inode("h2"));
}

#[test]
fn what_lends_rights_is_left_out_unless_asked_for() {
    if !rustix::process::geteuid().is_root() {
        cachefs_skip::skip("root", "only root makes device nodes");
        return;
    }
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let xattrs = vec![
        (b"security.capability".to_vec(), capability),
        (b"trusted.mine".to_vec(), b"1".to_vec()),
        (b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec()),
        (b"user.mine".to_vec(), b"1".to_vec()),
    ];
    let capable = Meta {
        xattrs: Xattrs::new(xattrs).unwrap(),
        ..meta(mode::FILE | 0o755)
    };
    let (root, shared) = (
        meta(mode::DIRECTORY | 0o755),
        meta(mode::DIRECTORY | 0o2775),
    );
    let (setuid, disk, tty, fifo) = (
        meta(mode::FILE | 0o6755),
        meta(mode::BLOCK | 0o666),
        meta(mode::CHARACTER | 0o666),
        meta(mode::FIFO | 0o622),
    );
    let empty = NewKind::File {
        size: 0,
        content: &[],
    };
    let kinds = [
        (&b"capable"[..], &capable, empty.clone()),
        (
            b"disk",
            &disk,
            NewKind::Special(rustix::fs::makedev(259, 0)),
        ),
        (b"fifo", &fifo, NewKind::Special(0)),
        (b"setuid", &setuid, empty),
        (b"shared", &shared, NewKind::Directory { opaque: false }),
        (b"tty", &tty, NewKind::Special(rustix::fs::makedev(5, 1))),
    ];
    let entries = kinds.map(|(name, meta, kind)| NewEntry {
        name,
        link: EntryTarget::New(NewInode { meta, kind }),
    });
    let mut builder = LayerBuilder::new(&root, []).unwrap();
    builder.fill(ROOT, &entries).unwrap();
    let layer = Arc::new(opened(builder));
    let sandbox = tempfile::tempdir().unwrap();
    let (without, with) = (sandbox.path().join("a"), sandbox.path().join("b"));
    for (target, withheld) in [(&without, true), (&with, false)] {
        // An empty lower layer makes it a merged directory, which has a different listing path.
        let below = LayerBuilder::new(&root, []).unwrap();
        for layers in [
            vec![layer.clone()],
            vec![Arc::new(opened(below)), layer.clone()],
        ] {
            copied(layers, target, withheld).unwrap();
        }
    }
    let names = |root: &Path| {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&without), ["capable", "fifo", "setuid", "shared"]);
    assert_eq!(names(&with).len(), 6);
    let bits = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(bits(without.join("setuid")), 0o755);
    assert_eq!(bits(with.join("setuid")), 0o6755);
    assert_eq!(bits(without.join("shared")), 0o2775);
    let attributes = |path: PathBuf| {
        let mut list = vec![0; 4096];
        let length = rustix::fs::listxattr(path, &mut list[..]).unwrap();
        list.truncate(length);
        String::from_utf8(list).unwrap()
    };
    let (few, most) = (
        attributes(without.join("capable")),
        attributes(with.join("capable")),
    );
    assert!(
        !few.contains("security") && !few.contains("trusted"),
        "{few}"
    );
    assert!(most.contains("security.capability") && most.contains("trusted.mine"));
    assert!(!most.contains("overlay"), "{most}");
}

/// A file of `size` bytes that is one hole.
fn hole(size: u64) -> Arc<Layer> {
    let file = meta(mode::FILE | 0o644);
    let content = [NewFilePiece::Hole(size)];
    let mut builder = LayerBuilder::new(&meta(mode::DIRECTORY | 0o755), []).unwrap();
    let entries = [NewEntry {
        name: b"hole",
        link: EntryTarget::New(NewInode {
            meta: &file,
            kind: NewKind::File {
                size,
                content: &content,
            },
        }),
    }];
    builder.fill(ROOT, &entries).unwrap();
    Arc::new(opened(builder))
}

#[test]
fn a_long_hole_takes_no_time_and_no_room() {
    const SIZE: u64 = 1 << 40;
    let dir = tempfile::tempdir().unwrap();
    let plan = super::plan::CopyPlan::new(&Stack::new(vec![hole(SIZE)]).unwrap(), &Silent).unwrap();
    assert_eq!((plan.parts.len(), plan.bytes), (1, 0));
    let report = copied(vec![hole(SIZE)], dir.path(), false).unwrap();
    assert!(report.issues.is_empty(), "{:?}", report.issues);
    let metadata = fs::metadata(dir.path().join("hole")).unwrap();
    assert_eq!(metadata.size(), SIZE);
    assert!(metadata.blocks() < 100);
}

/// No filesystem supports a file of this size: we report it, and copy the rest.
#[test]
fn a_file_that_is_too_long_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let report = copied(vec![hole(u64::MAX / 2 + 10)], dir.path(), false).unwrap();
    assert_eq!(report.issues.len(), 1);
    assert!(!dir.path().join("hole").exists());
}

#[test]
fn a_cache_without_room_for_it_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::new(vec![hole(5)]).unwrap();
    let mut plan = super::plan::CopyPlan::new(&stack, &Silent).unwrap();
    let root = fs::File::open(dir.path()).unwrap().into();
    super::free_space::check_room(&plan, &root, dir.path(), 0).unwrap();
    plan.bytes = 1 << 62;
    let error = super::free_space::check_room(&plan, &root, dir.path(), 0).unwrap_err();
    // Space of an earlier version counts as free before we remove it.
    super::free_space::check_room(&plan, &root, dir.path(), u64::MAX).unwrap();
    assert_eq!(error.kind(), crate::ErrorKind::Local);
}

#[test]
fn directories_deeper_than_paths_go_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let directory = meta(mode::DIRECTORY | 0o755);
    let mut builder = LayerBuilder::new(&directory, []).unwrap();
    let mut inode = ROOT;
    for _ in 0..300 {
        let kind = NewKind::Directory { opaque: false };
        let entry = NewEntry {
            name: &[b'n'; 200],
            link: EntryTarget::New(NewInode {
                meta: &directory,
                kind,
            }),
        };
        inode = builder.fill(inode, &[entry]).unwrap()[0];
    }
    let report = copied(vec![Arc::new(opened(builder))], dir.path(), false).unwrap();
    assert_eq!(report.issues.len(), 1);
    assert_eq!(
        report.entries,
        (crate::path_limit::MAX_PATH as u64 + 1) / 201
    );
}
