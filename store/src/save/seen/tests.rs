//! A save does not read unchanged files that an earlier save has read.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Seen;
use crate::frame::{ChunkLocation, Codec, FrameLocation};
use crate::id::{ChunkId, DomainId, FrameHash, PackId};
use crate::pack::PackRef;
use crate::progress::Silent;
use crate::save::exclude::Everything;
use crate::save::reading::PlainFiles;
use crate::save::scan::scan_tree;
use crate::save::{FileContent, FileTree, NodeKind, Packed};
use crate::secrets::{Scanner, SecretFinding, SecretHandling, SecretKind, SecretPolicy, Variable};

const CONTENT: &[u8] = b"content";

fn scanned(directory: &Path) -> FileTree {
    let root = File::open(directory).unwrap();
    scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent)
        .unwrap()
        .tree
}

/// A scanner that finds tokens by their format, but no named values.
fn scanner() -> Scanner {
    Scanner::new(SecretPolicy::Skip, Vec::new(), &[]).unwrap()
}

/// The content of every file in these tests.
fn pieces() -> Vec<(Option<ChunkId>, u64)> {
    vec![(Some(ChunkId::of(CONTENT)), 7), (None, 5)]
}

fn packed() -> Packed {
    let pack = PackRef {
        id: PackId::random(),
        length: 900,
        trailer: 500,
        hash: None,
    };
    let frame = FrameLocation {
        pack: pack.id,
        offset: 8,
        stored: 100,
        raw: 300,
        codec: Codec::Zstd,
        hash: FrameHash([7; 32]),
    };
    let location = ChunkLocation {
        frame,
        offset: 20,
        length: 7,
    };
    let mut packed = Packed::default();
    packed.chunks.insert(ChunkId::of(CONTENT), location);
    packed.new_packs.push(pack);
    packed
}

fn contents(tree: &FileTree) -> Vec<&FileContent> {
    tree.nodes
        .iter()
        .filter_map(|node| match &node.kind {
            NodeKind::File { content, .. } => Some(content),
            _ => None,
        })
        .collect()
}

/// Writes the list for a directory in which every file was read.
fn write(list: &Path, domain: &DomainId, directory: &Path, packed: &Packed, at: SystemTime) {
    let mut tree = scanned(directory);
    for node in &mut tree.nodes {
        if let NodeKind::File { content, .. } = &mut node.kind {
            *content = FileContent::Read(pieces());
        }
    }
    Seen::write(list, domain, &tree, packed, at, &scanner()).unwrap();
}

#[test]
fn only_what_did_not_change_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (files, list, domain) = (
        dir.path().join("files"),
        dir.path().join("list"),
        DomainId(PackId::random().0),
    );
    fs::create_dir(&files).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(files.join(name), CONTENT).unwrap();
    }
    let packed = packed();
    let later = SystemTime::now() + Duration::from_secs(10);
    write(&list, &domain, &files, &packed, later);

    // The same size and mtime, which anyone can set, but another ctime.
    let before = fs::metadata(files.join("b")).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(files.join("b"), b"CONTENT").unwrap();
    let b = File::options().write(true).open(files.join("b")).unwrap();
    b.set_modified(before).unwrap();
    // A different file under an old name.
    fs::rename(files.join("c"), files.join("d")).unwrap();
    fs::write(files.join("c"), CONTENT).unwrap();

    let seen = Seen::read(&list, &domain).unwrap();
    let mut tree = scanned(&files);
    let known = seen.apply(&mut tree, &files);
    let read = FileContent::Read(pieces());
    let unread = FileContent::Unread;
    assert_eq!(contents(&tree)[..3], [&read, &unread, &unread]);
    assert_eq!(known.chunks, packed.chunks);
    let packs: Vec<_> = known.known_packs.values().copied().collect();
    assert_eq!(packs, packed.new_packs);
}

#[test]
fn what_was_just_written_is_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (files, list, domain) = (
        dir.path().join("files"),
        dir.path().join("list"),
        DomainId(PackId::random().0),
    );
    fs::create_dir(&files).unwrap();
    fs::write(files.join("new"), CONTENT).unwrap();
    fs::write(files.join("old"), CONTENT).unwrap();
    let old = File::options().write(true).open(files.join("old")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    // Its mtime is old but its ctime is recent: another write may fall into the same clock tick.
    write(&list, &domain, &files, &packed(), SystemTime::now());
    let mut tree = scanned(&files);
    Seen::read(&list, &domain).unwrap().apply(&mut tree, &files);
    assert!(
        contents(&tree)
            .iter()
            .all(|content| **content == FileContent::Unread)
    );
}

#[test]
fn a_list_that_is_damaged_or_of_another_repository_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let (files, list, domain) = (
        dir.path().join("files"),
        dir.path().join("list"),
        DomainId(PackId::random().0),
    );
    fs::create_dir(&files).unwrap();
    fs::write(files.join("a"), CONTENT).unwrap();
    let later = SystemTime::now() + Duration::from_secs(10);
    write(&list, &domain, &files, &packed(), later);
    assert!(Seen::read(&list, &domain).is_some());
    assert!(Seen::read(&list, &DomainId(PackId::random().0)).is_none());
    let whole = fs::read(&list).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&list, &damaged).unwrap();
        assert!(Seen::read(&list, &domain).is_none(), "byte {at}");
        fs::write(&list, &whole[..at]).unwrap();
        assert!(Seen::read(&list, &domain).is_none(), "cut at {at}");
    }
    fs::remove_file(&list).unwrap();
    assert!(Seen::read(&list, &domain).is_none());
}

#[test]
fn files_are_known_to_those_who_search_for_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (files, list, domain) = (
        dir.path().join("files"),
        dir.path().join("list"),
        DomainId(PackId::random().0),
    );
    fs::create_dir(&files).unwrap();
    for name in [".npmrc", "found", "plain"] {
        fs::write(files.join(name), CONTENT).unwrap();
    }
    let later = SystemTime::now() + Duration::from_secs(10);
    let mut packed = packed();
    let tree = scanned(&files);
    let found = tree.nodes.iter().position(|node| &*node.name == b"found");
    let finding = SecretFinding {
        path: "found".into(),
        line: None,
        kind: SecretKind::NAMED,
        variable: None,
        certain: true,
        fate: SecretHandling::Allowed,
        replaces: false,
    };
    packed.findings.push((found.unwrap(), finding));
    write(&list, &domain, &files, &packed, later);

    // Every save reads files with findings and well-known credential files again.
    let seen = Seen::read(&list, &domain).unwrap();
    let mut tree = scanned(&files);
    seen.apply(&mut tree, &files);
    let (read, unread) = (FileContent::Read(pieces()), FileContent::Unread);
    assert_eq!(contents(&tree), [&unread, &unread, &read]);

    let variable = |value: &str| Variable {
        name: "TOKEN".to_owned(),
        value: value.into(),
    };
    let other = |policy, value| Scanner::new(policy, vec![variable(value)], &[]).unwrap();
    assert!(seen.is_searched_by(&scanner()));
    assert!(seen.is_searched_by(&Scanner::new(SecretPolicy::Allow, Vec::new(), &[]).unwrap()));
    assert!(seen.is_searched_by(&Scanner::off()));
    assert!(!seen.is_searched_by(&other(SecretPolicy::Skip, "a value of a secret")));

    // A list from a save without a scan is useless to a save that scans.
    Seen::write(&list, &domain, &tree, &packed, later, &Scanner::off()).unwrap();
    let seen = Seen::read(&list, &domain).unwrap();
    assert!(seen.is_searched_by(&Scanner::off()));
    assert!(!seen.is_searched_by(&scanner()));
}
