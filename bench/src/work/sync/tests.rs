use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;

/// A source with entries of each kind, and an empty target.
fn trees() -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs::create_dir_all(source.join("dir/below")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(source.join("dir/file"), "content").unwrap();
    fs::write(source.join("dir/below/large"), vec![7; 3 * 128 * 1024]).unwrap();
    fs::write(source.join("tool"), "#!").unwrap();
    fs::set_permissions(source.join("tool"), Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(source.join("tool"), source.join("dir/tool")).unwrap();
    symlink("dir/none", source.join("link")).unwrap();
    fs::set_permissions(source.join("empty"), Permissions::from_mode(0o1700)).unwrap();
    set_times(&source.join("dir/file"), 5);
    set_times(&source.join("dir"), 6);
    temp
}

fn set_times(path: &Path, nanoseconds: u64) {
    let time = UNIX_EPOCH + Duration::new(1_000_000_000, 0) + Duration::from_nanos(nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn run(temp: &TempDir) -> SyncChanges {
    sync_directory(&temp.path().join("source"), &temp.path().join("target")).unwrap()
}

fn nanoseconds(path: &Path) -> (i64, i64) {
    let stat = fs::symlink_metadata(path).unwrap();
    (stat.mtime(), stat.mtime_nsec())
}

#[test]
fn a_copy_has_everything_and_a_second_sync_nothing_to_do() {
    let temp = trees();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    let changes = run(&temp);
    assert_eq!(changes.created, 8);
    assert_eq!(fs::read(target.join("dir/file")).unwrap(), b"content");
    assert_eq!(
        fs::read_link(target.join("link")).unwrap(),
        Path::new("dir/none")
    );
    for path in ["dir", "dir/file", "dir/below", "tool", "link", "empty"] {
        let stats = [&source, &target].map(|root| fs::symlink_metadata(root.join(path)).unwrap());
        assert_eq!(stats[0].mode(), stats[1].mode(), "{path}");
        assert_eq!(
            nanoseconds(&source.join(path)),
            nanoseconds(&target.join(path)),
            "{path}"
        );
    }
    let linked = ["tool", "dir/tool"].map(|name| fs::metadata(target.join(name)).unwrap().ino());
    assert_eq!(linked[0], linked[1]);
    assert!(run(&temp).is_empty());
}

#[test]
fn only_what_differs_is_touched() {
    let temp = trees();
    run(&temp);
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    // New times with the same content: skipped.
    set_times(&source.join("dir/below/large"), 77);
    // New content with the same size: rewritten.
    fs::write(source.join("dir/file"), "CONTENT").unwrap();
    set_times(&source.join("dir/file"), 123_456_789);
    let before = ["dir/below/large", "dir/file", "dir/below"]
        .map(|path| fs::metadata(target.join(path)).unwrap());
    let changes = run(&temp);
    let wanted = SyncChanges {
        rewritten: 1,
        ..SyncChanges::default()
    };
    assert_eq!(changes, wanted);
    let after = ["dir/below/large", "dir/file", "dir/below"]
        .map(|path| fs::metadata(target.join(path)).unwrap());
    for at in [0, 2] {
        let stamps = [&before, &after].map(|stats| (stats[at].ctime(), stats[at].ctime_nsec()));
        assert_eq!(stamps[0], stamps[1]);
    }
    assert_ne!(before[1].ino(), after[1].ino());
    assert_eq!(
        nanoseconds(&target.join("dir/file")),
        (1_000_000_000, 123_456_789)
    );
    assert_eq!(
        nanoseconds(&target.join("dir")),
        nanoseconds(&source.join("dir"))
    );
}

#[test]
fn kinds_change_and_what_is_gone_is_removed() {
    let temp = trees();
    run(&temp);
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs::remove_dir_all(source.join("dir")).unwrap();
    fs::write(source.join("dir"), "now a file").unwrap();
    fs::remove_file(source.join("link")).unwrap();
    fs::create_dir(source.join("link")).unwrap();
    fs::remove_dir(source.join("empty")).unwrap();
    symlink("tool", source.join("empty")).unwrap();
    fs::remove_file(source.join("tool")).unwrap();
    let changes = run(&temp);
    assert_eq!((changes.removed, changes.created), (4, 3));
    assert_eq!(fs::read(target.join("dir")).unwrap(), b"now a file");
    assert!(fs::symlink_metadata(target.join("link")).unwrap().is_dir());
    assert_eq!(
        fs::read_link(target.join("empty")).unwrap(),
        Path::new("tool")
    );
    assert!(!target.join("tool").exists());
    assert!(run(&temp).is_empty());
}

#[test]
fn modes_and_link_targets_are_corrected_in_place() {
    let temp = trees();
    run(&temp);
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs::set_permissions(source.join("dir/file"), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(source.join("link")).unwrap();
    symlink("elsewhere", source.join("link")).unwrap();
    let inode = fs::metadata(target.join("dir/file")).unwrap().ino();
    let changes = run(&temp);
    assert_eq!((changes.attributes, changes.rewritten), (1, 1));
    let stat = fs::metadata(target.join("dir/file")).unwrap();
    assert_eq!((stat.ino(), stat.mode() & 0o7777), (inode, 0o600));
    assert_eq!(
        fs::read_link(target.join("link")).unwrap(),
        Path::new("elsewhere")
    );
}
