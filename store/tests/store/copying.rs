//! Copy mode in situations that generated trees do not cover.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cachefs_store::copy::{CopyOptions, CopyReport, IssueKind, copy_out};
use cachefs_store::local::{FrameMemory, FrameReader, PackCache};
use cachefs_store::progress::{Progress, Silent};
use cachefs_store::remote::{FileRemote, RemoteErrorKind};
use cachefs_store::stack::Stack;
use cachefs_store::{Error, ErrorKind};
use cachefs_tests::tree::{
    CompareOptions, Content, Kind, Meta, TreeSpec, acl, assert_same, content, xattr,
};
use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

use super::bent::{Answer, Ask, Bent};
use super::copies_cut_short::{Small, no_file_is_half_written};
use super::workbench::{Workbench, stack};

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn copy_to(
    bench: &Workbench,
    stack: &Stack,
    target: &Path,
    progress: &dyn Progress,
) -> Result<CopyReport, Error> {
    let options = CopyOptions::default();
    copy_out(
        stack,
        &bench.reader(),
        bench.runtime.handle(),
        target,
        &options,
        progress,
    )
}

/// A workbench and a stack with this tree.
pub(crate) fn saved(spec: &TreeSpec) -> (Workbench, PathBuf, Stack) {
    let bench = Workbench::new();
    let source = bench.directory("source");
    spec.build(&source).unwrap();
    let saved = bench.save(&source, &stack(&[]));
    (bench, source, stack(&[&saved.layer]))
}

#[test]
fn what_is_in_the_way_is_replaced_and_the_rest_stays() {
    let mut spec = TreeSpec::default();
    spec.dir("dir")
        .file("dir/file", 10, 1)
        .file("plain", 20, 2)
        .symlink("link", "plain");
    spec.dir("was-file")
        .file("was-file/x", 1, 3)
        .file("was-link", 5, 4)
        .file("was-empty-dir", 6, 5);
    let (bench, source, stack) = saved(&spec);
    let target = bench.directory("target");
    let outside = bench.directory("outside");
    fs::write(outside.join("file"), "outside").unwrap();
    symlink(&outside, target.join("dir")).unwrap();
    fs::write(
        target.join("plain"),
        "in the way, and longer than twenty bytes",
    )
    .unwrap();
    fs::write(target.join("was-file"), "in the way").unwrap();
    symlink(outside.join("file"), target.join("was-link")).unwrap();
    fs::create_dir(target.join("was-empty-dir")).unwrap();
    fs::create_dir(target.join("link")).unwrap();
    fs::write(target.join("stays"), "stays").unwrap();

    let report = copy_to(&bench, &stack, &target, &Silent).unwrap();
    assert!(report.issues.is_empty(), "{:?}", report.issues);
    assert_eq!(report.entries, 8);
    let options = CompareOptions {
        ignore: vec!["stays".into()],
        ..Default::default()
    };
    assert_same(&source, &target, &options);
    assert_eq!(fs::read_to_string(target.join("stays")).unwrap(), "stays");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_directory_with_entries_is_not_thrown_away_for_a_file() {
    let mut spec = TreeSpec::default();
    spec.file("a", 10, 1).file("z", 10, 1);
    spec.add("linked", Kind::Hardlink("a".into()), Meta::default());
    let (bench, _, stack) = saved(&spec);
    let target = bench.directory("target");
    fs::create_dir(target.join("a")).unwrap();
    fs::write(target.join("a/precious"), "p").unwrap();
    let report = copy_to(&bench, &stack, &target, &Silent).unwrap();
    assert!(target.join("a/precious").exists() && target.join("z").exists());
    // The first name, and the second one, which would have been a link to it.
    assert_eq!((report.entries, report.not_created), (1, 2));
    assert!(
        report
            .issues
            .iter()
            .all(|issue| issue.kind == IssueKind::NotCreated)
    );
    assert!(
        report
            .issues
            .iter()
            .any(|issue| issue.path == Path::new("a"))
    );
}

/// Existing directories may pass a group or ACLs on to new entries.
#[test]
fn nothing_is_inherited_from_the_target() {
    let mut spec = TreeSpec::default();
    spec.dir("old")
        .dir("old/new")
        .file("old/file", 10, 1)
        .file("old/new/file", 10, 2)
        .file("top", 1, 3);
    let (bench, source, stack) = saved(&spec);
    let target = bench.directory("target");
    fs::create_dir(target.join("old")).unwrap();
    for directory in [target.clone(), target.join("old")] {
        if is_root() {
            chown(&directory, None, Some(1234)).unwrap();
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2777)).unwrap();
        xattr::set(&directory, acl::DEFAULT.as_ref(), &acl::readable_by(77)).unwrap();
        xattr::set(&directory, acl::ACCESS.as_ref(), &acl::readable_by(77)).unwrap();
    }
    let report = copy_to(&bench, &stack, &target, &Silent).unwrap();
    assert!(report.issues.is_empty(), "{:?}", report.issues);
    assert_same(&source, &target, &CompareOptions::default());
}

#[test]
fn a_file_in_parts_equals_the_whole() {
    let mut spec = TreeSpec::default();
    spec.file("dense", 70 << 20, 1);
    let holes = vec![4096..40 << 20, 50 << 20..51 << 20, 60 << 20..90 << 20];
    let sparse = Content {
        len: 90 << 20,
        seed: 2,
        holes,
    };
    spec.add("sparse", Kind::File(sparse), Meta::mode(0o4711));
    let nothing = Content {
        len: 5 << 30,
        seed: 3,
        holes: vec![std::ops::Range {
            start: 0,
            end: 5 << 30,
        }],
    };
    spec.add("nothing", Kind::File(nothing.clone()), Meta::default());
    let (bench, source, stack) = saved(&spec);
    let (copied, report) = bench.copy(&stack, "copied");
    assert_eq!(report.bytes, (70 << 20) + (90 << 20) + (5 << 30));
    let options = CompareOptions {
        check_allocation: true,
        // Otherwise we would read five gigabytes of zeros twice.
        ignore: vec!["nothing".into()],
        ..Default::default()
    };
    assert_same(&source, &copied, &options);
    let empty = fs::metadata(copied.join("nothing")).unwrap();
    assert_eq!((empty.len(), empty.blocks()), (5 << 30, 0));
}

/// Twenty directories with names of 250 bytes each: no system call accepts such a long path.
#[test]
fn paths_longer_than_the_kernel_takes_are_copied() {
    const DEPTH: usize = 20;
    let directory = |parent: &OwnedFd, name: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::empty()).unwrap()
    };
    let name = "d".repeat(250);
    let bench = Workbench::new();
    let source = bench.directory("source");
    let mut at: OwnedFd = File::open(&source).unwrap().into();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = directory(&at, &name);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = rustix::fs::openat(&at, "file", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(&file, b"deep").unwrap();
    rustix::fs::linkat(&at, "file", &at, "link", rustix::fs::AtFlags::empty()).unwrap();

    let saved = bench.save(&source, &stack(&[]));
    let (copied, report) = bench.copy(&stack(&[&saved.layer]), "copied");
    assert_eq!((report.entries, report.issues.len()), (DEPTH as u64 + 2, 0));
    let mut at: OwnedFd = File::open(&copied).unwrap().into();
    for _ in 0..DEPTH {
        at = directory(&at, &name);
    }
    let file = rustix::fs::openat(&at, "link", OFlags::RDONLY, Mode::empty()).unwrap();
    assert_eq!(std::io::read_to_string(File::from(file)).unwrap(), "deep");
    let again = bench.save(&copied, &stack(&[&saved.layer]));
    assert!(again.is_unchanged(), "{:?}", again.changes);
}

#[test]
fn what_the_filesystem_can_not_hold_is_reported() {
    if !is_root() {
        return;
    }
    let mut spec = TreeSpec::default();
    let noted = BTreeMap::from([(OsString::from("user.note"), vec![b'x'; 3000])]);
    let meta = Meta {
        xattrs: noted,
        ..Meta::default()
    };
    spec.add("noted", Kind::File(Content::new(10, 1)), meta)
        .file("plain", 10, 2);
    let (bench, source, stack) = saved(&spec);
    let path = bench.directory("ramfs");
    let mounted = Command::new("mount")
        .args(["-t", "ramfs", "none"])
        .arg(&path)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let mounted = Small(path);
    let report = copy_to(&bench, &stack, &mounted.0, &Silent).unwrap();
    if report.attributes_lost > 0 {
        assert_eq!(report.issues[0].path, Path::new("noted"));
        assert_eq!(report.issues[0].kind, IssueKind::AttributeLost);
    }
    assert_eq!(report.not_created, 0);
    assert_eq!(
        fs::read(mounted.0.join("noted")).unwrap(),
        fs::read(source.join("noted")).unwrap()
    );
}

#[test]
fn without_owners_foreign_setuid_is_left_out() {
    if !is_root() {
        return;
    }
    let mut spec = TreeSpec::default();
    let owner = Some(cachefs_tests::tree::Owner {
        uid: 1000,
        gid: 1000,
    });
    let foreign = Meta {
        owner,
        ..Meta::mode(0o6755)
    };
    spec.add("foreign", Kind::File(Content::new(10, 1)), foreign);
    spec.add("own", Kind::File(Content::new(10, 2)), Meta::mode(0o6755));
    let (bench, _, stack) = saved(&spec);
    let target = bench.directory("target");
    let options = CopyOptions {
        owners: false,
        ..CopyOptions::default()
    };
    let report = copy_out(
        &stack,
        &bench.reader(),
        bench.runtime.handle(),
        &target,
        &options,
        &Silent,
    )
    .unwrap();
    let mode = |name| fs::metadata(target.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("foreign"), mode("own")), (0o755, 0o6755));
    assert_eq!(fs::metadata(target.join("foreign")).unwrap().uid(), 0);
    assert_eq!(
        (report.attributes_lost, report.issues[0].path.as_path()),
        (1, Path::new("foreign"))
    );
}

#[test]
fn special_files_are_made() {
    let mut spec = TreeSpec::default();
    spec.add("pipe", Kind::Fifo, Meta::mode(0o666));
    if is_root() {
        spec.add("null", Kind::CharDevice(1, 3), Meta::mode(0o4666));
    }
    let (bench, source, stack) = saved(&spec);
    let (copied, _) = bench.copy(&stack, "copied");
    assert_same(&source, &copied, &CompareOptions::default());
    assert!(
        fs::metadata(copied.join("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

/// From a distant remote: we fetch frames in large ranges, ahead of the writers.
#[test]
fn a_cold_copy_takes_few_requests() {
    let dir = TempDir::new().unwrap();
    let bent = Bent::new(Arc::new(FileRemote::new(dir.path().join("remote"))));
    let bench = Workbench::with_remote(dir, bent.clone());
    let source = bench.directory("source");
    let mut spec = TreeSpec::default();
    spec.file("large", 40 << 20, 1);
    for directory in 0..20 {
        spec.dir(format!("{directory}"));
        for number in 0..50 {
            spec.file(
                format!("{directory}/{number}"),
                500 * number,
                directory * 100 + number,
            );
        }
    }
    spec.build(&source).unwrap();
    let stack = stack(&[&bench.save(&source, &stack(&[])).layer]);
    bent.asked();

    let cold = |name: &str| {
        let cache = Arc::new(PackCache::new(bench.dir.path().join(name), 1 << 30));
        FrameReader::new(bench.remote.clone(), cache, FrameMemory::default())
    };
    let copy = |reader: &FrameReader, target: &Path| {
        let options = CopyOptions::default();
        copy_out(
            &stack,
            reader,
            bench.runtime.handle(),
            target,
            &options,
            &Silent,
        )
    };
    let (reader, target) = (cold("cold"), bench.directory("cold-copy"));
    copy(&reader, &target).unwrap();
    assert_same(&source, &target, &CompareOptions::default());
    let asked = bent.asked();
    assert!(asked.len() < 20, "{} requests", asked.len());
    assert_eq!(reader.stats().demand_bytes, 0);
    // Each frame is decoded once, except frames that span two tasks or parts.
    let frames = u64::from(stack.layers()[0].frame_count());
    let decoded = reader.stats().local_frames;
    assert!(
        decoded <= frames + frames / 10,
        "{decoded} for {frames} frames"
    );

    // An outage is an error even after progress, and so is damage.
    for answer in [RemoteErrorKind::Unavailable, RemoteErrorKind::Denied] {
        bent.rule(move |ask, _| match ask {
            Ask::GetRange => Answer::Failed(answer),
            _ => Answer::Honest,
        });
        let target = bench.directory(&format!("{answer:?}"));
        let error = copy(&cold(&format!("cold {answer:?}")), &target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        no_file_is_half_written(&source, &target);
    }
    bent.rule(|ask, _| match ask {
        Ask::GetRange => Answer::Flipped,
        _ => Answer::Honest,
    });
    let target = bench.directory("damaged");
    assert_eq!(
        copy(&cold("cold damaged"), &target).unwrap_err().kind(),
        ErrorKind::Integrity
    );
    no_file_is_half_written(&source, &target);
    // Cached damaged bytes are not used.
    bent.straighten();
    copy(&cold("cold damaged"), &target).unwrap();
    assert_same(&source, &target, &CompareOptions::default());
}

#[test]
fn an_empty_stack_is_an_empty_directory() {
    let bench = Workbench::new();
    let target = bench.dir.path().join("made/on/the/way");
    let report = copy_to(&bench, &stack(&[]), &target, &Silent).unwrap();
    assert_eq!(report, CopyReport::default());
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    fs::write(target.join("file"), content::bytes(1, 0, 10)).unwrap();
    let error = copy_to(&bench, &stack(&[]), &target.join("file"), &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
}
