//! The FUSE mount: its options, its table entry, and the death of its server.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachefs::sys::MountError;
use cachefs::sys::fuse_mount::{FuseMountOptions, mount_fuse};
use cachefs::sys::mount_liveness::{MountHealth, mount_health};
use cachefs::sys::mountinfo::MountTable;

use crate::guard::{MountDir, permitted};
use crate::tinyfs::Behaviour;

const LIMIT: Duration = Duration::from_millis(500);

#[test]
fn a_view_is_served_and_found_in_the_table() {
    let temp = MountDir::new();
    let Some(view) = temp.view("a view\nof, all: things", Behaviour::default()) else {
        return;
    };
    assert_eq!(fs::read(view.join("file")).unwrap(), b"from the view");
    assert!(
        fs::write(view.join("new"), b"").is_err(),
        "the view is read-only"
    );
    let table = MountTable::read().unwrap();
    let entry = table.topmost_at(&view).unwrap();
    assert!(entry.is_cachefs_view() && entry.read_only);
    assert_eq!(entry.source, "cachefs");
    assert!(table.ours().any(|ours| ours.mount_point == view));
    assert!(matches!(
        mount_health(&view, LIMIT).unwrap(),
        MountHealth::Alive
    ));
}

#[test]
fn a_dead_server_is_told_from_a_hung_one() {
    let temp = MountDir::new();
    let hang = Arc::new(AtomicBool::new(false));
    let behaviour = Behaviour {
        hang: Arc::clone(&hang),
        ..Behaviour::default()
    };
    let Some(view) = temp.view("hung", behaviour) else {
        return;
    };
    assert!(matches!(
        mount_health(&view, LIMIT).unwrap(),
        MountHealth::Alive
    ));
    hang.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    assert!(matches!(
        mount_health(&view, LIMIT).unwrap(),
        MountHealth::Hung
    ));
    // Without the limit, the check would wait for a server that hangs.
    assert!(asked.elapsed() < LIMIT * 60);
    hang.store(false, Ordering::Relaxed);

    let dead = temp.dir("dead");
    drop(mount_fuse(&dead, &FuseMountOptions::default()).unwrap());
    assert!(matches!(
        mount_health(&dead, LIMIT).unwrap(),
        MountHealth::Dead(_)
    ));
    // The path of a dead mount must still resolve, because we look it up in the mount table.
    assert_eq!(dead.canonicalize().unwrap(), dead);
    assert!(mount_health(&temp.path().join("nowhere"), LIMIT).is_err());
}

#[test]
fn a_server_that_has_not_begun_counts_as_hung() {
    let temp = MountDir::new();
    let path = temp.dir("view");
    let Some(_device) = permitted(mount_fuse(&path, &FuseMountOptions::default())) else {
        return;
    };
    assert!(matches!(
        mount_health(&path, LIMIT).unwrap(),
        MountHealth::Hung
    ));
    assert_eq!(path.canonicalize().unwrap(), path);
}

#[test]
fn a_bad_mount_point_is_named() {
    let temp = MountDir::new();
    let file = temp.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [Path::new("/nowhere/at/all"), &file] {
        match mount_fuse(path, &FuseMountOptions::default()) {
            Err(MountError::Directory { path: named, .. }) => assert_eq!(named, path),
            Err(error) if error.is_environment() => cachefs_skip::skip("mount", error),
            other => panic!("{other:?}"),
        }
    }
}
