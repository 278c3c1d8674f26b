//! Reading archives: as common tools write them, and malicious ones.

use std::collections::BTreeMap;

use super::read::ReadArchive;
use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::hint::Hint;
use crate::id::ChunkId;
use crate::index::Indexed;
use crate::layer::mode;
use crate::pack::{FinishedPack, PackRef, Trailer};
use crate::progress::Silent;
use crate::save::target::Target;
use crate::save::{FileContent, NodeKind, Packed};

/// A target that knows no chunks and accepts all packs.
struct Nowhere;

impl Target for Nowhere {
    fn lookup(&self, chunks: &[ChunkId]) -> Result<Vec<Option<Indexed>>> {
        Ok(vec![None; chunks.len()])
    }
    fn learn(&self, _: &[PackRef]) -> Result<()> {
        Ok(())
    }
    fn trailer(&self, _: &PackRef) -> Result<Trailer> {
        Err(Error::Cancelled)
    }
    fn put_pack(&self, _: FinishedPack) -> Result<()> {
        Ok(())
    }
    fn confirm(&self, _: &[PackRef]) -> Result<Vec<PackRef>> {
        Ok(Vec::new())
    }
}

fn read_as(names: Names, limit: u64, bytes: &[u8]) -> Result<ReadArchive> {
    let options = ReadOptions { names, limit };
    read_archive(bytes, &options, &Nowhere, Packed::default(), &Silent)
}

fn read_all(bytes: &[u8]) -> Result<ReadArchive> {
    read_as(Names::all(), 1 << 30, bytes)
}

/// An archive written member by member, without any checks.
#[derive(Default)]
struct Maker(Vec<u8>);

impl Maker {
    fn member(&mut self, flag: u8, name: &str, target: &str, data: &[u8]) -> &mut Self {
        self.sized(flag, name, target, data.len() as u64, data)
    }

    fn sized(&mut self, flag: u8, name: &str, target: &str, size: u64, data: &[u8]) -> &mut Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(flag));
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(0o644);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(1_700_000_000);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn records(&mut self, records: &[(&str, &str)]) -> &mut Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            pax::push_record(&mut bytes, key.as_bytes(), value.as_bytes());
        }
        self.member(b'x', "PaxHeaders/x", "", &bytes)
    }

    fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

/// The tree's paths with their kinds; for files, also the size and number of pieces.
fn shape(archive: &ReadArchive) -> BTreeMap<String, String> {
    let tree = &archive.tree;
    let what = |node: usize| match &tree.nodes[node].kind {
        _ if tree.nodes[node].link.is_some() => {
            format!(
                "link to {}",
                tree.os_path(tree.nodes[node].link.unwrap_or(0)).display()
            )
        }
        NodeKind::Directory { .. } => "directory".to_owned(),
        NodeKind::File {
            size,
            content: FileContent::Read(pieces),
        } => format!("file {size} {}", pieces.len()),
        NodeKind::Symlink(target) => format!("symlink {}", String::from_utf8_lossy(target)),
        other => format!("{other:?}"),
    };
    (1..tree.nodes.len())
        .map(|node| (tree.os_path(node).display().to_string(), what(node)))
        .collect()
}

fn is(archive: &ReadArchive, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(path, what)| (path.to_string(), what.to_string()))
        .collect();
    assert_eq!(shape(archive), expected);
}

#[test]
fn later_members_replace_earlier_ones() {
    let bytes = Maker::default()
        .member(b'0', "a/f", "", b"one")
        .member(b'1', "a/same", "a/f", b"")
        .member(b'0', "a/f", "", b"three")
        .member(b'2', "a/l", "f", b"")
        .member(b'5', "a/l", "", b"")
        .member(b'0', "b/empty", "", b"")
        .member(b'0', "old-directory/", "", b"")
        .end();
    let archive = read_all(&bytes).unwrap();
    is(
        &archive,
        &[
            ("a", "directory"),
            ("a/f", "file 5 1"),
            ("a/l", "directory"),
            ("a/same", "file 3 1"),
            ("b", "directory"),
            ("b/empty", "file 0 0"),
            ("old-directory", "directory"),
        ],
    );
    let root = &archive.tree.nodes[0];
    assert_eq!(archive.tree.children(0).len(), 3);
    assert_eq!(root.meta.mode, mode::DIRECTORY | 0o755);
}

#[test]
fn the_tree_is_in_the_order_of_paths() {
    let bytes = Maker::default()
        .member(b'0', "z/1", "", b"1")
        .member(b'0', "a/2", "", b"2")
        .member(b'1', "a/0", "z/1", b"")
        .member(b'0', "m", "", b"3")
        .end();
    let archive = read_all(&bytes).unwrap();
    is(
        &archive,
        &[
            ("a", "directory"),
            ("a/0", "file 1 1"),
            ("a/2", "file 1 1"),
            ("m", "file 1 1"),
            ("z", "directory"),
            ("z/1", "link to a/0"),
        ],
    );
    let mut order = Vec::new();
    archive
        .tree
        .visit(|node| order.push(archive.tree.path(node)));
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn records_say_what_headers_cannot() {
    let long = format!("{}/{}", "d".repeat(200), "ü".repeat(100));
    let bytes = Maker::default()
        .records(&[
            ("path", &long),
            ("mtime", "-1.5"),
            ("uid", "4000000000"),
            ("SCHILY.xattr.user.a%3Db", "value"),
            ("SCHILY.xattr.trusted.overlay.opaque", "y"),
        ])
        .member(b'0', "short", "", b"data")
        .member(b'0', "next", "", b"data")
        .end();
    let archive = read_all(&bytes).unwrap();
    let find = |path: &[u8]| {
        let tree = &archive.tree;
        (0..tree.nodes.len())
            .find(|node| tree.path(*node) == path)
            .unwrap()
    };
    let meta = &archive.tree.nodes[find(long.as_bytes())].meta;
    assert_eq!((meta.mtime.seconds, meta.mtime.nanos), (-2, 500_000_000));
    assert_eq!((meta.uid, meta.gid), (4_000_000_000, 1000));
    let xattrs: Vec<_> = meta.xattrs.iter().collect();
    assert_eq!(xattrs, [(&b"user.a=b"[..], &b"value"[..])]);
    let next = &archive.tree.nodes[find(b"next")].meta;
    assert_eq!((next.mtime.seconds, next.mtime.nanos), (1_700_000_000, 0));
    assert!(next.xattrs.is_empty());
}

#[test]
fn sparse_files_have_holes_in_all_forms() {
    let mut map = b"2\n0\n3\n100000\n2\n".to_vec();
    map.resize(512, 0);
    let in_data = [&map[..], b"abcde"].concat();
    let bytes = Maker::default()
        .records(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "v1.0"),
            ("GNU.sparse.realsize", "200000"),
        ])
        .member(b'0', "GNUSparseFile.0/x", "", &in_data)
        .records(&[
            ("path", "v0.1"),
            ("GNU.sparse.size", "200000"),
            ("GNU.sparse.map", "0,3,100000,2"),
        ])
        .member(b'0', "x", "", b"abcde")
        .records(&[
            ("path", "v0.0"),
            ("GNU.sparse.size", "200000"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "100000"),
            ("GNU.sparse.numbytes", "2"),
        ])
        .member(b'0', "x", "", b"abcde")
        .end();
    let archive = read_all(&bytes).unwrap();
    for node in &archive.tree.nodes[1..] {
        let NodeKind::File {
            size: 200_000,
            content: FileContent::Read(pieces),
        } = &node.kind
        else {
            panic!("{node:?}");
        };
        let pieces: Vec<_> = pieces
            .iter()
            .map(|(id, length)| (id.is_some(), *length))
            .collect();
        assert_eq!(
            pieces,
            [(true, 3), (false, 99_997), (true, 2), (false, 99_998)]
        );
    }
    assert_eq!(archive.tree.nodes.len(), 4);
}

#[test]
fn large_files_are_cut_in_segments() {
    let data = vec![7; (crate::chunk::SEGMENT + 10) as usize];
    let bytes = Maker::default()
        .member(b'0', "small", "", b"s")
        .member(b'0', "large", "", &data)
        .member(b'0', "small too", "", b"s")
        .end();
    let archive = read_all(&bytes).unwrap();
    assert_eq!(archive.tree.files(), (3, data.len() as u64 + 2));
    for node in &archive.tree.nodes[1..] {
        if let NodeKind::File {
            size,
            content: FileContent::Read(pieces),
        } = &node.kind
        {
            assert_eq!(pieces.iter().map(|(_, length)| length).sum::<u64>(), *size);
        }
    }
}

#[test]
fn compressed_archives_are_read_to_their_end() {
    let plain = Maker::default().member(b'0', "a", "", &[1; 9999]).end();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut bytes = Vec::new();
        compress_stream(compression, &mut bytes, |out| out.write_all(&plain)).unwrap();
        let archive = read_all(&bytes).unwrap();
        assert_eq!(archive.tree.files(), (1, 9999), "{compression:?}");
        for cut in [bytes.len() / 2, 600.min(bytes.len() - 12)] {
            let error = read_all(&bytes[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{compression:?} {cut}");
        }
        if compression != Compression::None {
            // The checksum after the data.
            let last = bytes.len() - 6;
            bytes[last] ^= 1;
            assert!(read_all(&bytes).is_err(), "{compression:?}");
        }
    }
}

#[test]
fn hostile_archives_are_refused() {
    type Make<'a> = &'a mut dyn FnMut(&mut Maker);
    let refused: [(&str, Make<'_>); 11] = [
        ("no tar", &mut |maker| {
            maker.0.extend_from_slice(&[b'x'; 2048])
        }),
        ("a name that goes up", &mut |maker| {
            maker.member(b'0', "a/../../etc/passwd", "", b"");
        }),
        ("through a link", &mut |maker| {
            maker
                .member(b'2', "a", "/etc", b"")
                .member(b'0', "a/passwd", "", b"");
        }),
        ("through a hard link to a link", &mut |maker| {
            maker
                .member(b'2', "a", "/etc", b"")
                .member(b'1', "b", "a", b"")
                .member(b'0', "b/passwd", "", b"");
        }),
        ("a hard link out", &mut |maker| {
            maker.member(b'1', "a", "../../etc/passwd", b"");
        }),
        ("a hard link to what is not there", &mut |maker| {
            maker.member(b'1', "a", "b", b"");
        }),
        ("a hard link to a directory", &mut |maker| {
            maker
                .member(b'5', "d", "", b"")
                .member(b'1', "d/a", "d", b"");
        }),
        ("a file in place of a full directory", &mut |maker| {
            maker
                .member(b'0', "d/a", "", b"")
                .member(b'0', "d", "", b"");
        }),
        ("a size beyond all", &mut |maker| {
            maker
                .records(&[("size", "18446744073709551615")])
                .member(b'0', "a", "", b"");
        }),
        ("a header of gigabytes", &mut |maker| {
            maker
                .sized(b'x', "x", "", 8 << 30, b"")
                .member(b'0', "a", "", b"");
        }),
        ("a long name of gigabytes", &mut |maker| {
            maker
                .sized(b'L', "x", "", 8 << 30, b"")
                .member(b'0', "a", "", b"");
        }),
    ];
    for (what, make) in refused {
        let mut maker = Maker::default();
        make(&mut maker);
        let error = read_all(&maker.end()).unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::Integrity | ErrorKind::Usage),
            "{what}: {error}"
        );
    }
}

#[test]
fn names_that_lead_out_say_what_to_do() {
    for name in ["/root/.m2/a", "../a"] {
        let bytes = Maker::default().member(b'0', name, "", b"").end();
        let Err(Error::Archive(error)) = read_all(&bytes) else {
            panic!("{name}");
        };
        assert_eq!(error.hint(), Hint::NameArchivedDirectory, "{name}");
    }
}

#[test]
fn devices_and_what_is_no_file_are_left_out() {
    let bytes = Maker::default()
        .member(b'V', "the label", "", b"")
        .member(b'3', "null", "", b"")
        .member(b'4', "disk", "", b"")
        .member(b'Z', "what", "", b"data")
        .member(b'6', "pipe", "", b"")
        .end();
    let archive = read_all(&bytes).unwrap();
    is(&archive, &[("pipe", "Special(0)")]);
    let skipped: Vec<_> = archive.skipped.iter().map(|skipped| skipped.what).collect();
    assert_eq!(skipped, ["device", "device", "entry of an unknown type"]);
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bytes = Maker::default()
        .records(&[
            ("GNU.sparse.size", "1000000000000000"),
            ("GNU.sparse.map", "0,0"),
        ])
        .member(b'0', "hole", "", b"")
        .end();
    let error = read_as(Names::all(), 1_000_000_000, &bytes).unwrap_err();
    assert!(error.to_string().contains("more than 1 GB"), "{error}");
}

#[test]
fn only_what_is_below_the_directory_is_taken() {
    let bytes = Maker::default()
        .member(b'5', "../../root/.m2/", "", b"")
        .member(b'0', "../../root/.m2/a", "", b"a")
        .member(b'0', "node_modules/b", "", b"b")
        .end();
    let below = |path: &str| {
        let names = Names::below_path(path.as_ref(), "/builds/app".as_ref());
        read_as(names, 100, &bytes)
    };
    let archive = below("/root/.m2").unwrap();
    is(&archive, &[("a", "file 1 1")]);
    assert_eq!(archive.outside, 1);
    assert_eq!(archive.found.as_deref(), Some("../../root/.m2"));
    is(
        &below("/builds/app/node_modules").unwrap(),
        &[("b", "file 1 1")],
    );
    let Err(Error::Archive(error)) = below("/root/.npm") else {
        panic!("nothing is there");
    };
    let member = "../../root/.m2/".to_owned();
    assert_eq!(error.hint(), Hint::NameDirectoryInArchive { member });
    let archive = read_as(Names::below_first(), 100, &bytes).unwrap();
    is(&archive, &[("a", "file 1 1")]);
    assert_eq!(first_name(&bytes[..]).unwrap().unwrap(), b"../../root/.m2/");
}
