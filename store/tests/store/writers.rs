//! Directories in which other programs write during a save.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachefs_store::Error;
use cachefs_store::layer::Layer;
use cachefs_store::progress::{Progress, Silent};
use cachefs_store::save::SaveRequest;
use cachefs_store::save::exclude::Exclude;
use cachefs_store::save::reading::{Mark, PlainFiles, Reading};
use cachefs_store::save::source::{PathSource, RestoredFrom};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::workbench::{Saved, Workbench, info, open_source, request, stack};

/// Changes the directory after the scan, before any file is read.
struct AfterScan<'a>(Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>);

impl Progress for AfterScan<'_> {
    fn total(&self, _: u64, _: u64) {
        if let Some(change) = self.0.lock().take() {
            change();
        }
    }
    fn done(&self, _: u64, _: u64) {}
    fn transferred(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// Saves a directory that `change` modifies between the scan and the reading of files.
fn save(bench: &Workbench, directory: &Path, change: impl FnOnce() + Send) -> Saved {
    let change = AfterScan(Mutex::new(Some(Box::new(change))));
    bench.save_source(request("busy"), open_source(directory), &change)
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
    fs::write(source.join("d/gone"), "changed").unwrap();
    fs::write(source.join("new"), "new").unwrap();

    let restored = RestoredFrom {
        privileged: true,
        ..RestoredFrom::default()
    };
    let root = File::open(&source).unwrap();
    let upper = PathSource::upper(root, &source, &source, Box::new(ChangedFiles));
    let upper = upper.restored_from(vec![info(&base)], restored);
    let remove = AfterScan(Mutex::new(Some(Box::new(|| {
        fs::remove_file(source.join("d/gone")).unwrap();
        fs::remove_file(source.join("new")).unwrap();
    }))));
    let saved = bench.save_source(request("mount"), upper, &remove);
    assert_eq!(saved.skipped.len(), 2);
    let (copied, _) = bench.copy(&stack(&[&base, &saved.layer]), "copied");
    assert_eq!(fs::read(copied.join("stays")).unwrap(), b"before");
    assert!(!copied.join("d/gone").exists() && !copied.join("new").exists());
}

/// Moves `two/moved` to `one/moved` when the scan reaches `one/trigger`.
struct Mover(PathBuf, AtomicBool);

impl Reading for Mover {
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
    let mover = Mover(source.clone(), AtomicBool::new(false));
    let root = File::open(&source).unwrap();
    let upper = PathSource::upper(root, &source, &source, Box::new(mover));
    let saved = bench.save_source(request("mount"), upper, &Silent);
    let copied = copied(&bench, &saved.layer);
    for name in ["one/moved", "one/trigger", "two"] {
        assert!(copied.join(name).exists(), "{name}");
    }
    assert!(!copied.join("two/moved").exists());
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
    let saved = save(&bench, &source, || {
        let grown = File::options().append(true).open(source.join("grown"));
        grown.unwrap().write_all(b"more").unwrap();
        fs::write(source.join("shrunk"), "x").unwrap();
        fs::write(source.join("new"), "replacement").unwrap();
        fs::rename(source.join("new"), source.join("replaced")).unwrap();
    });
    assert!(saved.skipped.is_empty(), "{:?}", saved.skipped);
    let copied = copied(&bench, &saved.layer);
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
    let mut saved = save(&bench, &source, || {
        fs::remove_dir_all(source.join("gone")).unwrap();
        fs::remove_file(source.join("b")).unwrap();
        fs::remove_file(source.join("now-a-directory")).unwrap();
        fs::create_dir(source.join("now-a-directory")).unwrap();
    });
    saved.skipped.sort_unstable();
    let gone = ["b", "gone/a", "now-a-directory"].map(PathBuf::from);
    assert_eq!(saved.skipped, gone);
    let copied = copied(&bench, &saved.layer);
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
    let saved = save(&bench, &source, || {
        fs::write(source.join("new"), "of a alone").unwrap();
        fs::rename(source.join("new"), source.join("a")).unwrap();
    });
    assert!(saved.skipped.is_empty(), "{:?}", saved.skipped);
    let copied = copied(&bench, &saved.layer);
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
    let saved = std::thread::scope(|scope| {
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
            save(&bench, &source, || {})
        }));
        stop.store(true, Ordering::Relaxed);
        saved
    })
    .unwrap();
    assert!(saved.skipped.is_empty(), "{:?}", saved.skipped);
    let copied = copied(&bench, &saved.layer);
    let (log, restored) = (fs::read(&path).unwrap(), fs::read(copied.join("log")));
    assert!(log.starts_with(&restored.unwrap()));
    assert_eq!(fs::read(copied.join("quiet")).unwrap(), b"quiet");
}

/// Every write replaces the whole content, so we can detect any mix of two writes.
#[test]
fn a_file_that_is_rewritten_in_place_is_never_saved_torn() {
    const LENGTH: usize = 3 << 20;
    let bench = Workbench::new();
    let source = bench.directory("source");
    let path = source.join("busy");
    fs::write(&path, vec![0; LENGTH]).unwrap();
    let stop = AtomicBool::new(false);
    let saved = std::thread::scope(|scope| {
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
            save(&bench, &source, || {})
        }));
        stop.store(true, Ordering::Relaxed);
        saved
    })
    .unwrap();
    let copied = copied(&bench, &saved.layer);
    match fs::read(copied.join("busy")) {
        Ok(bytes) => {
            assert_eq!(bytes.len(), LENGTH);
            // Each write goes through the file from front to back. So at any moment the front is
            // one generation, and the rest is the previous one.
            let first = bytes[0];
            let front = bytes.iter().take_while(|byte| **byte == first).count();
            let rest = bytes.get(front).copied().unwrap_or(first);
            assert!(bytes[front..].iter().all(|byte| *byte == rest));
        }
        Err(_) => assert_eq!(saved.skipped[0], Path::new("busy")),
    }
}

/// Renames a directory after its parent was listed, but before it is listed itself.
#[derive(Debug)]
struct Renaming(PathBuf);

impl Exclude for Renaming {
    fn excludes(&self, path: &Path, _: bool) -> bool {
        let (old, new) = (self.0.join("tmp"), self.0.join("a-pkg"));
        if path == Path::new("tmp") && old.exists() {
            fs::rename(old, new).unwrap();
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
    let renaming = || SaveRequest {
        exclude: Arc::new(Renaming(source.clone())),
        ..request("renamed")
    };
    let saved = bench.save_source(renaming(), open_source(&source), &Silent);
    assert_eq!(saved.skipped, [PathBuf::from("tmp")]);

    fs::rename(source.join("a-pkg"), source.join("tmp")).unwrap();
    let strict = SaveRequest {
        strict_consistency: true,
        ..renaming()
    };
    let refused = bench.try_pack(strict, open_source(&source), &Silent);
    assert!(matches!(refused, Err(Error::Changed { .. })));
    // Without concurrent renames, the save succeeds.
    let strict = SaveRequest {
        strict_consistency: true,
        ..request("renamed")
    };
    let saved = bench.save_source(strict, open_source(&source), &Silent);
    assert!(saved.skipped.is_empty(), "{:?}", saved.skipped);
}

/// Otherwise the cache would be silently incomplete.
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
    let packed = bench.try_pack(request("deep"), open_source(&source), &Silent);
    let error = packed.err().unwrap();
    assert!(error.to_string().contains("longer than 16383"), "{error}");
    remove_deep(directory, source, 70);
}

/// Removes directories that are nested too deeply for paths, which `TempDir` cannot remove.
fn remove_deep(mut directory: OwnedFd, root: PathBuf, depth: usize) {
    let name = "n".repeat(250);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    for _ in 0..depth {
        directory = rustix::fs::openat(&directory, "..", flags, Mode::empty()).unwrap();
        rustix::fs::unlinkat(&directory, &*name, AtFlags::REMOVEDIR).unwrap();
    }
    fs::remove_dir(root).unwrap();
}
