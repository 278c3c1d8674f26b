//! A restored tree equals the saved one, down to the last attribute, on mounts and in copies.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::S3Server;
use cachefs_tests::tree::arbitrary::{TreeOptions, trees};
use cachefs_tests::tree::mutate::mutations;
use cachefs_tests::tree::{
    CompareOptions, Content, Entry, Kind, Meta, Owner, Time, TreeMutation, TreeSpec, acl,
    assert_same,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Commands, clean, machine, machine_on, strict_json, trusting};

/// Offset of the data behind the hole in the largest file; needs more than 32 bits.
const FAR: u64 = (4 << 30) + 12_345;

/// Every kind of entry and attribute that filesystems support and caches tend to lose.
pub(crate) fn nasty() -> TreeSpec {
    let mut spec = TreeSpec::default();
    let at = |sec, nsec| Meta {
        mtime: Time { sec, nsec },
        ..Meta::default()
    };
    let file = |len, seed| Kind::File(Content::new(len, seed));
    spec.add("setuid", file(900, 1), Meta::mode(0o4755))
        .add("setgid", file(901, 2), Meta::mode(0o2755))
        .add("sticky", Kind::Dir, Meta::mode(0o1777))
        .add("unreadable", file(10, 3), Meta::mode(0o000))
        .add("before-1970", file(5, 4), at(-86_400 * 365, 999_999_999))
        .add("first-nanosecond", file(5, 5), at(0, 1))
        .add("after-2038", file(5, 6), at(1 << 32, 5))
        .file("empty", 0, 0)
        .dir("empty-dir")
        .symlink("dangling", "nowhere/at/all")
        .symlink("absolute", "/etc/hostname")
        .symlink("loop-a", "loop-b")
        .symlink("loop-b", "loop-a")
        .symlink("long-link", "x/".repeat(2000))
        .symlink(
            OsStr::from_bytes(b"link-\xff"),
            OsStr::from_bytes(b"\xfe\n"),
        );
    spec.add(
        "foreign",
        file(77, 7),
        Meta {
            owner: Some(Owner {
                uid: 12_345,
                gid: 54_321,
            }),
            mode: 0o640,
            ..Meta::default()
        },
    );
    let attributes = [
        ("user.cache", b"value\0with zero".to_vec()),
        ("user.empty", Vec::new()),
        ("user.large", vec![7; 2000]),
        (acl::ACCESS, acl::readable_by(1234)),
    ];
    let attributes: BTreeMap<_, _> = attributes.map(|(name, value)| (name.into(), value)).into();
    let with_attributes = |mode, more: &[&str]| Meta {
        xattrs: attributes
            .clone()
            .into_iter()
            .chain(
                more.iter()
                    .map(|name| ((*name).into(), acl::readable_by(4321))),
            )
            .collect(),
        ..Meta::mode(mode)
    };
    spec.add("attributes", file(50, 8), with_attributes(0o644, &[]))
        .add(
            "attributes-dir",
            Kind::Dir,
            with_attributes(0o755, &[acl::DEFAULT]),
        )
        .file("linked", 200_000, 9)
        .dir("links")
        .add(
            "links/one",
            Kind::Hardlink("linked".into()),
            Meta::default(),
        )
        .add(
            "links/two",
            Kind::Hardlink("linked".into()),
            Meta::default(),
        )
        .file("line\nbreak", 3, 10)
        .file(OsStr::from_bytes(b"not-utf8-\xff\xfe"), 4, 11)
        .file("n".repeat(255), 5, 12)
        .file(" -rf \\ \"quoted\" * ", 6, 13)
        .add("fifo", Kind::Fifo, Meta::mode(0o622))
        .add("tty", Kind::CharDevice(5, 1), Meta::mode(0o600))
        .add("disk", Kind::BlockDevice(259, 70_000), Meta::mode(0o660));
    let mut deep = PathBuf::new();
    for _ in 0..60 {
        deep.push("a-directory-of-a-deep-path-that-goes-on");
        spec.dir(deep.clone());
    }
    spec.file(deep.join("bottom"), 1000, 14);
    let mut sparse = Content::new(3 << 20, 15);
    sparse.holes = vec![4096..1 << 20, (1 << 20) + 65_536..3 << 20];
    spec.add("sparse", Kind::File(sparse), Meta::default());
    let hole = Content {
        holes: std::iter::once(0..1 << 20).collect(),
        ..Content::new(1 << 20, 0)
    };
    spec.add("only-hole", Kind::File(hole), Meta::default());
    let mut far = Content::new(FAR + 100_000, 16);
    far.holes = std::iter::once(8192..FAR).collect();
    spec.add("sparse-4g", Kind::File(far), Meta::default());
    spec
}

/// Removes the sockets of a tree from disk and from the spec; returns their number.
fn remove_sockets(spec: &mut TreeSpec, root: &Path) -> usize {
    let before = spec.entries.len();
    spec.entries
        .retain(|entry| !matches!(entry.kind, Kind::Socket));
    if before > spec.entries.len() {
        let kept: std::collections::HashSet<_> = spec
            .entries
            .iter()
            .map(|entry| entry.path.clone())
            .collect();
        fs::remove_dir_all(root).unwrap();
        fs::create_dir(root).unwrap();
        assert_eq!(kept.len(), spec.entries.len());
        spec.build(root).unwrap();
    }
    before - spec.entries.len()
}

/// Fills the holes of a tree's files, because we do not show a cache with holes as an image.
fn remove_holes(spec: &mut TreeSpec) {
    for entry in &mut spec.entries {
        if let Kind::File(content) = &mut entry.kind {
            content.holes.clear();
        }
    }
}

/// Saves a tree, changes it on a mount and saves it again. After every step, compares it with a
/// plain directory that got the same changes.
fn round_trip(first: &Cachefs, mut spec: TreeSpec, mutations: &[TreeMutation], ignore: &[&str]) {
    let first = &first.clone().with_env("CACHEFS_ALLOW_EMPTY", "true");
    let plain = first.dir("plain");
    spec.build(&plain).unwrap();
    let saved = first.saved("v1", &plain);
    let time = fs::metadata(&plain).unwrap().modified().unwrap();
    let sockets = remove_sockets(&mut spec, &plain);
    File::open(&plain).unwrap().set_modified(time).unwrap();
    assert_eq!(
        saved["skipped"].as_array().unwrap().len(),
        sockets,
        "{saved}"
    );

    let options = CompareOptions {
        ignore: ignore.iter().map(PathBuf::from).collect(),
        ..CompareOptions::default()
    };
    let second = first.second_machine().unwrap();
    let mount = second.dir("mount");
    second.restored("v1", &mount);
    assert_same(&plain, &mount, &options);
    for mutation in mutations {
        let there = mutation.apply(&plain).unwrap();
        assert_eq!(mutation.apply(&mount).unwrap(), there, "{mutation:?}");
    }
    assert_same(&plain, &mount, &options);
    let changed = second.saved("v2", &mount);
    assert_same(&plain, &mount, &options);
    second.umount(&mount);
    let options = CompareOptions {
        // A change that is reverted leaves only a new directory time, which does not justify a
        // layer: the key keeps pointing to the existing stack.
        ignore_dir_mtimes: ["added", "modified", "removed"]
            .iter()
            .all(|count| changed[count] == 0),
        ..options
    };

    let third = first.second_machine().unwrap();
    let (mount, copy) = (third.dir("mount"), third.dir("copy"));
    third.restored("v2", &mount);
    assert_same(&plain, &mount, &options);
    let copied = strict_json(third.restore("v2", &copy))
        .arg("--mode")
        .arg("copy");
    clean(copied.run().success());
    let options = CompareOptions {
        check_allocation: true,
        ..options
    };
    assert_same(&plain, &copy, &options);
    third.umount(&mount);
    third.run(["check", "--read-data"]).success();
}

fn property(cases: u32, machine: impl Fn() -> Option<Cachefs>) {
    let config = Config {
        cases,
        // Each shrinking step is a full round trip.
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let changes = prop_oneof![
        1 => Just(Vec::new()),
        3 => prop::collection::vec(mutations(), 1..12),
    ];
    let inputs = (trees(TreeOptions::default()), changes, prop::bool::ANY);
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&inputs, |(mut spec, mutations, image)| {
        if image {
            remove_holes(&mut spec);
        }
        if !mutations.is_empty() {
            // An overlay breaks hard links at the first write; a plain directory does not.
            let is_link = |entry: &Entry| matches!(entry.kind, Kind::Hardlink(_));
            spec.entries.retain(|entry| !is_link(entry));
        }
        if let Some(machine) = machine() {
            let lower = if image { "auto" } else { "fuse" };
            let machine = machine.with_env("CACHEFS_LOWER", lower);
            round_trip(&machine, spec, &mutations, &[]);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn generated_trees_survive_a_directory_remote() {
    property(8, || machine().map(trusting));
}

#[test]
fn generated_trees_survive_s3() {
    let server = S3Server::start().unwrap();
    let next = std::cell::Cell::new(0);
    property(4, || {
        next.set(next.get() + 1);
        let url = format!("s3://{}/case-{}", cachefs_tests::s3::BUCKET, next.get());
        machine_on(&server).map(|machine| trusting(machine).with_env("CACHEFS_REMOTE", url))
    });
}

#[test]
fn a_nasty_tree_survives() {
    let Some(machine) = machine().map(trusting) else {
        return;
    };
    // Reading the whole file would take longer than the rest of the test; we compare its data
    // below.
    round_trip(&machine, nasty(), &[], &["sparse-4g"]);
    let (plain, reader) = (machine.dir("plain"), machine.second_machine().unwrap());
    let (mount, copy) = (reader.dir("mount"), reader.dir("copy"));
    reader.restored("v2", &mount);
    let copied = strict_json(reader.restore("v2", &copy))
        .arg("--mode")
        .arg("copy");
    clean(copied.run().success());
    let original = File::open(plain.join("sparse-4g")).unwrap();
    for root in [&mount, &copy] {
        let file = File::open(root.join("sparse-4g")).unwrap();
        let (was, is) = (original.metadata().unwrap(), file.metadata().unwrap());
        assert_eq!((was.len(), was.mtime_nsec()), (is.len(), is.mtime_nsec()));
        for (offset, length) in [
            (0, 20_000),
            (1 << 31, 4096),
            (FAR - 5000, 100_000),
            (FAR + 99_000, 1000),
        ] {
            let (mut here, mut there) = (vec![1; length], vec![2; length]);
            original.read_exact_at(&mut there, offset).unwrap();
            file.read_exact_at(&mut here, offset).unwrap();
            assert!(here == there, "{root:?} at {offset}");
        }
    }
    let space = |root: &Path| fs::metadata(root.join("sparse-4g")).unwrap().blocks();
    assert!(
        space(&copy) <= space(&plain) + 256,
        "{} blocks",
        space(&copy)
    );
}

#[test]
fn a_nasty_tree_survives_as_an_image() {
    let Some(machine) = machine().map(trusting) else {
        return;
    };
    if !cachefs::sys::erofs_mount::is_likely() {
        cachefs_skip::skip("image", "this kernel mounts no image from a file");
        return;
    }
    let mut spec = nasty();
    spec.entries
        .retain(|entry| entry.path != Path::new("sparse-4g"));
    remove_holes(&mut spec);
    // More names than fit into one block, around the positions of `.` and `..`, and a directory
    // whose names fill a block exactly.
    spec.dir("many").dir("full");
    let starts = ["!", "-", ".", "..", "", "~"];
    for (number, start) in (0..600).zip(starts.iter().cycle()) {
        spec.file(format!("many/{start}{number}"), number, 30);
    }
    for number in 0..15 {
        spec.file(
            format!("full/{}", format!("{number:02}").repeat(122)),
            1,
            31,
        );
    }
    let options = CompareOptions::default();
    let plain = machine.dir("plain");
    spec.build(&plain).unwrap();
    machine.saved("v1", &plain);
    for lower in ["auto", "fuse"] {
        let second = machine
            .second_machine()
            .unwrap()
            .with_env("CACHEFS_LOWER", lower);
        let mount = second.dir("mount");
        second.restored("v1", &mount);
        let mounts = second.sandbox().mounts().unwrap().len();
        assert_eq!(mounts, if lower == "auto" { 3 } else { 2 });
        assert_same(&plain, &mount, &options);
        second.umount(&mount);
        assert!(second.sandbox().mounts().unwrap().is_empty());
    }
}

#[test]
fn hard_links_parted_by_the_overlay_are_saved_as_the_mount_showed_them() {
    let Some(machine) = machine() else { return };
    let plain = machine.dir("plain");
    let mut spec = TreeSpec::default();
    spec.file("a", 5000, 1).file("x", 5000, 2);
    for (name, target) in [("b", "a"), ("c", "a"), ("y", "x"), ("z", "x")] {
        spec.add(name, Kind::Hardlink(target.into()), Meta::default());
    }
    spec.build(&plain).unwrap();
    machine.saved("v1", &plain);
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::write(mount.join("a"), "written by one name").unwrap();
    fs::rename(mount.join("x"), mount.join("w")).unwrap();
    fs::hard_link(mount.join("a"), mount.join("new-name-of-a")).unwrap();
    machine.saved("v2", &mount);
    let shown = machine.dir("shown");
    for entry in fs::read_dir(&mount).unwrap() {
        let name = entry.unwrap().file_name();
        let bytes = fs::read(mount.join(&name)).unwrap();
        fs::write(shown.join(&name), bytes).unwrap();
    }
    machine.umount(&mount);
    machine.restored("v2", &mount);
    for entry in fs::read_dir(&shown).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            fs::read(shown.join(&name)).unwrap() == fs::read(mount.join(&name)).unwrap(),
            "{name:?}"
        );
    }
    let inode = |name: &str| fs::metadata(mount.join(name)).unwrap().ino();
    assert_eq!(inode("b"), inode("c"));
    assert_eq!(inode("y"), inode("z"));
    assert_eq!(inode("a"), inode("new-name-of-a"));
    assert!(inode("a") != inode("b") && inode("w") != inode("y"));
}

#[test]
fn sockets_are_left_out_and_named() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("with-socket");
    let mut spec = TreeSpec::default();
    spec.dir("run").file("run/file", 5, 1);
    spec.add("run/agent.sock", Kind::Socket, Meta::default());
    spec.build(&dir).unwrap();
    machine
        .save("v1", &dir)
        .run()
        .success()
        .stderr_has("skipped run/agent.sock (socket)");
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    assert!(mount.join("run/file").exists() && !mount.join("run/agent.sock").exists());
}

#[test]
fn a_directory_of_a_hundred_thousand_entries() {
    const ENTRIES: usize = 100_000;
    let Some(machine) = machine() else { return };
    let plain = machine.dir("plain");
    fs::create_dir(plain.join("many")).unwrap();
    for number in 0..ENTRIES {
        let content = if number % 10 == 0 {
            number.to_string()
        } else {
            String::new()
        };
        fs::write(plain.join(format!("many/{number}")), content).unwrap();
    }
    machine.saved("v1", &plain);
    let second = machine.second_machine().unwrap();
    let mount = second.dir("mount");
    let restored = second.restored("v1", &mount);
    assert_eq!(restored["files"], ENTRIES);
    for root in [&plain, &mount] {
        fs::remove_file(root.join("many/77")).unwrap();
        fs::rename(root.join("many/500"), root.join("many/renamed")).unwrap();
        fs::write(root.join("many/0"), "changed").unwrap();
    }
    let saved = second.saved("v2", &mount);
    assert_eq!(
        (&saved["added"], &saved["modified"], &saved["removed"]),
        (&1.into(), &1.into(), &2.into())
    );
    assert!(saved["new_bytes"].as_u64().unwrap() < 20_000, "{saved}");
    second.umount(&mount);
    second.restored("v2", &mount);
    let sizes = |root: &Path| -> BTreeMap<_, _> {
        let entries = fs::read_dir(root.join("many")).unwrap().map(Result::unwrap);
        entries
            .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
            .collect()
    };
    assert!(sizes(&plain) == sizes(&mount), "the listings differ");
    assert_eq!(fs::read(mount.join("many/99990")).unwrap(), b"99990");
    assert_eq!(fs::read(mount.join("many/0")).unwrap(), b"changed");
}
