//! Directories in which other programs write while they are saved.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cachefs_store::layer::Layer;
use cachefs_store::save::{
    Baseline, Everything, Exclude, Guard, Mark, MissingEntries, Packed, PlainFiles, Reading,
    Scanned, Silent, Skipped, build_layer, diff_tree, pack_changing_files, scan_settled, scan_tree,
};
use cachefs_store::secrets::Scanner;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::sync::Arc;

use super::workbench::{Workbench, stack};

fn scanned(directory: &Path) -> Scanned {
    let root = File::open(directory).unwrap();
    scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent).unwrap()
}

/// Saves a directory that was scanned before.
fn save(bench: &Workbench, directory: &Path, mut scanned: Scanned) -> (Arc<Layer>, Vec<Skipped>) {
    let root = File::open(directory).unwrap();
    let base = stack(&[]);
    let guard = Guard {
        scanner: &Scanner::off(),
        root: directory,
        below: &base,
    };
    let (packed, skipped) = pack_changing_files(
        root.as_fd(),
        &mut scanned.tree,
        &PlainFiles,
        &bench.target,
        Packed::default(),
        &guard,
        &Silent,
    )
    .unwrap();
    let baseline = Baseline::new(&base, &bench.target).unwrap();
    let delta = diff_tree(
        &scanned.tree,
        &baseline,
        &packed,
        true,
        MissingEntries::Record,
    )
    .unwrap();
    let built = build_layer(&scanned.tree, &delta, &packed, &baseline).unwrap();
    (bench.put_layer(&built), skipped)
}

/// The changes of a mount, without its whiteouts.
struct ChangedFiles;

impl Reading for ChangedFiles {
    fn mark(&self, _: BorrowedFd<'_>, _: &CStr, _: &rustix::fs::Stat) -> std::io::Result<Mark> {
        Ok(Mark::Plain)
    }

    fn keep_xattr(&self, name: &[u8]) -> bool {
        PlainFiles.keep_xattr(name)
    }

    fn has_lower_layers(&self) -> bool {
        true
    }
}

#[test]
fn files_that_vanished_from_a_mount_hide_those_of_the_layer_below() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    fs::create_dir(source.join("d")).unwrap();
    for name in ["d/gone", "stays"] {
        fs::write(source.join(name), "before").unwrap();
    }
    let base = bench.save(&source, &stack(&[])).layer;
    let below = stack(&[&base]);
    fs::write(source.join("d/gone"), "changed").unwrap();
    fs::write(source.join("new"), "new").unwrap();
    let root = File::open(&source).unwrap();
    let mut scanned = scan_tree(root.as_fd(), &ChangedFiles, &Everything, &Silent).unwrap();
    fs::remove_file(source.join("d/gone")).unwrap();
    fs::remove_file(source.join("new")).unwrap();

    let guard = Guard {
        scanner: &Scanner::off(),
        root: &source,
        below: &below,
    };
    let (packed, skipped) = pack_changing_files(
        root.as_fd(),
        &mut scanned.tree,
        &ChangedFiles,
        &bench.target,
        Packed::default(),
        &guard,
        &Silent,
    )
    .unwrap();
    assert_eq!(skipped.len(), 2);
    let baseline = Baseline::new(&below, &bench.target).unwrap();
    let delta = diff_tree(
        &scanned.tree,
        &baseline,
        &packed,
        false,
        MissingEntries::Record,
    )
    .unwrap();
    let built = build_layer(&scanned.tree, &delta, &packed, &baseline).unwrap();
    let layer = bench.put_layer(&built);
    let (copied, _) = bench.copy(&stack(&[&base, &layer]), "copied");
    assert_eq!(fs::read(copied.join("stays")).unwrap(), b"before");
    assert!(!copied.join("d/gone").exists() && !copied.join("new").exists());
}

/// Moves `two/moved` to `one/moved` when it first comes to `one/trigger`.
struct Mover<'a>(&'a Path, AtomicBool);

impl Reading for Mover<'_> {
    fn mark(&self, _: BorrowedFd<'_>, name: &CStr, _: &rustix::fs::Stat) -> std::io::Result<Mark> {
        if name == c"trigger" && !self.1.swap(true, Ordering::Relaxed) {
            fs::rename(self.0.join("two/moved"), self.0.join("one/moved"))?;
        }
        Ok(Mark::Plain)
    }

    fn keep_xattr(&self, _: &[u8]) -> bool {
        true
    }
}

#[test]
fn a_file_that_is_renamed_during_the_scan_is_found_where_it_went() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    for name in ["one", "two"] {
        fs::create_dir(source.join(name)).unwrap();
    }
    fs::write(source.join("one/trigger"), "").unwrap();
    fs::write(source.join("two/moved"), "").unwrap();
    let root = File::open(&source).unwrap();
    let mover = Mover(&source, AtomicBool::new(false));
    let tree = scan_settled(root.as_fd(), &mover, &Everything, &Silent)
        .unwrap()
        .tree;
    let mut paths: Vec<_> = (1..tree.nodes.len())
        .map(|node| tree.os_path(node))
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        ["one", "one/moved", "one/trigger", "two"].map(PathBuf::from)
    );
}

fn copied(bench: &Workbench, layer: &Arc<Layer>) -> PathBuf {
    let (copied, report) = bench.copy(&stack(&[layer]), "copied");
    assert!(report.issues.is_empty(), "{:?}", report.issues);
    copied
}

#[test]
fn files_that_changed_since_the_scan_are_saved_as_they_are_now() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    fs::create_dir(source.join("d")).unwrap();
    for name in ["grown", "shrunk", "replaced", "d/quiet"] {
        fs::write(source.join(name), vec![b'a'; 5000]).unwrap();
    }
    let before = scanned(&source);
    let mut grown = File::options()
        .append(true)
        .open(source.join("grown"))
        .unwrap();
    grown.write_all(b"more").unwrap();
    fs::write(source.join("shrunk"), "x").unwrap();
    fs::write(source.join("new"), "replacement").unwrap();
    fs::rename(source.join("new"), source.join("replaced")).unwrap();

    let (layer, skipped) = save(&bench, &source, before);
    assert_eq!(skipped, []);
    let copied = copied(&bench, &layer);
    for name in ["grown", "shrunk", "replaced", "d/quiet"] {
        assert_eq!(
            fs::read(copied.join(name)).unwrap(),
            fs::read(source.join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn files_that_vanished_are_left_out_and_reported() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    fs::create_dir(source.join("gone")).unwrap();
    for name in ["gone/a", "b", "stays", "now-a-directory"] {
        fs::write(source.join(name), name).unwrap();
    }
    let before = scanned(&source);
    fs::remove_dir_all(source.join("gone")).unwrap();
    fs::remove_file(source.join("b")).unwrap();
    fs::remove_file(source.join("now-a-directory")).unwrap();
    fs::create_dir(source.join("now-a-directory")).unwrap();

    let (layer, skipped) = save(&bench, &source, before);
    let mut paths: Vec<_> = skipped.into_iter().map(|skipped| skipped.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["b", "gone/a", "now-a-directory"].map(PathBuf::from));
    let copied = copied(&bench, &layer);
    assert_eq!(fs::read(copied.join("stays")).unwrap(), b"stays");
    assert!(!copied.join("b").exists() && !copied.join("gone/a").exists());
}

#[test]
fn other_names_of_a_replaced_file_keep_its_content() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    fs::write(source.join("a"), "shared").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(source.join("a"), source.join(name)).unwrap();
    }
    let before = scanned(&source);
    fs::write(source.join("new"), "of a alone").unwrap();
    fs::rename(source.join("new"), source.join("a")).unwrap();

    let (layer, skipped) = save(&bench, &source, before);
    assert_eq!(skipped, []);
    let copied = copied(&bench, &layer);
    assert_eq!(fs::read(copied.join("a")).unwrap(), b"of a alone");
    assert_eq!(fs::read(copied.join("b")).unwrap(), b"shared");
    fs::write(copied.join("b"), "written").unwrap();
    assert_eq!(fs::read(copied.join("c")).unwrap(), b"written");
}

#[test]
fn a_log_that_never_rests_is_saved_up_to_some_line() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    fs::write(source.join("quiet"), "quiet").unwrap();
    let path = source.join("log");
    fs::write(&path, "line 0\n").unwrap();
    let stop = AtomicBool::new(false);
    let (layer, skipped) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = File::options().append(true).open(&path).unwrap();
            for number in 1_u32.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                log.write_all(format!("line {number}\n").as_bytes())
                    .unwrap();
            }
        });
        let saved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            save(&bench, &source, scanned(&source))
        }));
        stop.store(true, Ordering::Relaxed);
        saved
    })
    .unwrap();
    assert_eq!(skipped, []);
    let copied = copied(&bench, &layer);
    let (log, saved) = (fs::read(&path).unwrap(), fs::read(copied.join("log")));
    assert!(log.starts_with(&saved.unwrap()));
    assert_eq!(fs::read(copied.join("quiet")).unwrap(), b"quiet");
}

/// Every write replaces the whole content, so any mixture of two writes is recognised.
#[test]
fn a_file_that_is_rewritten_in_place_is_never_saved_torn() {
    const LENGTH: usize = 3 << 20;
    let bench = Workbench::new();
    let source = bench.directory("source");
    let path = source.join("busy");
    fs::write(&path, vec![0; LENGTH]).unwrap();
    let stop = AtomicBool::new(false);
    let (layer, skipped) = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt as _;
            let file = File::options().write(true).open(&path).unwrap();
            for generation in (1..=255_u8).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                file.write_all_at(&vec![generation; LENGTH], 0).unwrap();
            }
        });
        let saved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            save(&bench, &source, scanned(&source))
        }));
        stop.store(true, Ordering::Relaxed);
        saved
    })
    .unwrap();
    let copied = copied(&bench, &layer);
    match fs::read(copied.join("busy")) {
        Ok(bytes) => {
            assert_eq!(bytes.len(), LENGTH);
            // One write runs over the file, so at any moment its front is one generation, and
            // what follows the one before.
            let first = bytes[0];
            let front = bytes.iter().take_while(|byte| **byte == first).count();
            let rest = bytes.get(front).copied().unwrap_or(first);
            assert!(bytes[front..].iter().all(|byte| *byte == rest));
        }
        Err(_) => assert_eq!(skipped[0].path, Path::new("busy")),
    }
}

/// Renames a directory after its parent was listed, and before it is itself.
#[derive(Debug)]
struct Renaming(PathBuf);

impl Exclude for Renaming {
    fn excludes(&self, path: &Path, _: bool) -> bool {
        if path == Path::new("tmp") {
            fs::rename(self.0.join("tmp"), self.0.join("a-pkg")).unwrap();
        }
        false
    }
}

#[test]
fn a_directory_that_is_renamed_during_the_scan_is_noted_and_refused_if_strict() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    fs::create_dir(source.join("tmp")).unwrap();
    fs::write(source.join("tmp/file"), "x").unwrap();
    fs::write(source.join("quiet"), "x").unwrap();
    let root = File::open(&source).unwrap();
    let renaming = Renaming(source.clone());
    let scanned = scan_tree(root.as_fd(), &PlainFiles, &renaming, &Silent).unwrap();
    let skipped: Vec<_> = scanned.skipped.iter().map(|it| it.path.clone()).collect();
    assert_eq!(skipped, [PathBuf::from("tmp")]);
    assert!(scanned.refuse_vanished().is_err());
    let quiet = scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent).unwrap();
    assert!(quiet.refuse_vanished().is_ok());
}

/// A cache without what lies below would be incomplete, and nobody would notice.
#[test]
fn a_directory_with_paths_that_are_too_long_is_not_saved_in_part() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    let root = File::open(&source).unwrap();
    let name = "n".repeat(250);
    let mut directory = OwnedFd::from(root.try_clone().unwrap());
    for _ in 0..70 {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        rustix::fs::mkdirat(&directory, &*name, 0o755.into()).unwrap();
        directory = rustix::fs::openat(&directory, &*name, flags, Mode::empty()).unwrap();
    }
    let error = scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent).unwrap_err();
    assert!(error.to_string().contains("longer than 16383"), "{error}");
    remove_deep(directory, source, 70);
}

/// Removes directories nested so deeply that their paths cannot be used, which `TempDir` cannot.
fn remove_deep(mut directory: OwnedFd, root: PathBuf, depth: usize) {
    let name = "n".repeat(250);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    for _ in 0..depth {
        directory = rustix::fs::openat(&directory, "..", flags, Mode::empty()).unwrap();
        rustix::fs::unlinkat(&directory, &*name, AtFlags::REMOVEDIR).unwrap();
    }
    fs::remove_dir(root).unwrap();
}
