//! Unmounting busy mounts, and reporting the processes that hold them.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cachefs::sys::mount_users::HeldBy;
use cachefs::sys::mountinfo::MountTable;
use cachefs::sys::overlay::OverlayLower;
use cachefs::sys::unmount::{UnmountError, UnmountOptions, unmount_top};

use crate::guard::{MountDir, down, options_here, permitted};
use crate::tinyfs::Behaviour;

/// A child process, killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn busy(result: Result<(), UnmountError>) -> Vec<(Option<u32>, HeldBy)> {
    match result {
        Err(UnmountError::Busy { holders, .. }) => holders
            .into_iter()
            .map(|holder| (holder.pid, holder.what))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_holder_is_named() {
    let temp = MountDir::new();
    let lower = temp.dir("lower");
    fs::create_dir(lower.join("inner")).unwrap();
    fs::copy("/bin/sleep", lower.join("sleeper")).unwrap();
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options_here()))
    else {
        return;
    };
    let now = UnmountOptions::default();

    let inside = Command::new("sleep")
        .arg("60")
        .current_dir(merged.join("inner"))
        .spawn();
    let inside = Running(inside.unwrap());
    let runs = Running(
        Command::new(merged.join("sleeper"))
            .arg("60")
            .spawn()
            .unwrap(),
    );
    let open = File::create(merged.join("log")).unwrap();
    let writes = Running(
        Command::new("sleep")
            .arg("60")
            .stdout(open)
            .spawn()
            .unwrap(),
    );
    rustix::mount::mount_bind(&lower, merged.join("inner")).unwrap();

    let holders = busy(unmount_top(&merged, now));
    let mine = std::process::id();
    for expected in [
        (None, HeldBy::Mount(merged.join("inner"))),
        (
            Some(inside.0.id()),
            HeldBy::WorkingDirectory(merged.join("inner")),
        ),
        (
            Some(runs.0.id()),
            HeldBy::Executable(merged.join("sleeper")),
        ),
        (Some(writes.0.id()), HeldBy::OpenFile(merged.join("log"))),
    ] {
        assert!(
            holders.contains(&expected),
            "{expected:?} is not in {holders:?}"
        );
    }
    assert!(
        !holders.iter().any(|holder| holder.0 == Some(mine)),
        "{holders:?}"
    );
    let text = unmount_top(&merged, now).unwrap_err().to_string();
    assert!(
        text.contains("sleep (") && text.contains("working directory"),
        "{text}"
    );

    rustix::mount::unmount(merged.join("inner"), rustix::mount::UnmountFlags::empty()).unwrap();
    drop((inside, runs, writes));
    down(&merged);
}

#[test]
fn patience_waits_for_a_straggler() {
    let temp = MountDir::new();
    let Some(view) = temp.view("view", Behaviour::default()) else {
        return;
    };
    let file = File::open(view.join("file")).unwrap();
    let holders = busy(unmount_top(&view, UnmountOptions::default()));
    assert_eq!(
        holders,
        [(
            Some(std::process::id()),
            HeldBy::OpenFile(view.join("file"))
        )]
    );
    let straggler = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        drop(file);
    });
    let patient = UnmountOptions {
        patience: Duration::from_secs(120),
        ..Default::default()
    };
    let begun = Instant::now();
    unmount_top(&view, patient).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    straggler.join().unwrap();
}

#[test]
fn a_busy_mount_is_detached_lazily_and_a_missing_one_is_said() {
    let temp = MountDir::new();
    let Some(view) = temp.view("view", Behaviour::default()) else {
        return;
    };
    let file = File::open(view.join("file")).unwrap();
    unmount_top(
        &view,
        UnmountOptions {
            lazy: true,
            ..Default::default()
        },
    )
    .unwrap();
    assert!(MountTable::read().unwrap().topmost_at(&view).is_none());
    assert_eq!(std::io::read_to_string(&file).unwrap(), "from the view");
    let again = unmount_top(&view, UnmountOptions::default());
    assert!(matches!(again, Err(UnmountError::NotMounted(path)) if path == view));
    let nowhere = unmount_top(&temp.path().join("no/where"), UnmountOptions::default());
    assert!(matches!(nowhere, Err(UnmountError::Io { .. })));
}

#[test]
fn a_stack_is_taken_down_from_the_top() {
    let temp = MountDir::new();
    let lower = temp.dir("lower");
    let Some(merged) = temp.view("merged", Behaviour::default()) else {
        return;
    };
    let lowers = [OverlayLower::Dir(&lower), OverlayLower::Target];
    let Some(_) = permitted(temp.overlay(&lowers, &options_here())) else {
        return;
    };
    let kinds = || -> Vec<String> {
        let table = MountTable::read().unwrap();
        let stack = table.stack_at(&merged);
        stack
            .iter()
            .map(|entry| entry.fs_type.to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(kinds(), ["overlay", "fuse.cachefs"]);
    down(&merged);
    assert_eq!(kinds(), ["fuse.cachefs"]);
    down(&merged);
    assert!(kinds().is_empty());
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    use cachefs::sys::fuse_mount::{FuseMountOptions, mount_fuse};
    let temp = MountDir::new();
    let path = temp.dir("view");
    let Some(device) = permitted(mount_fuse(&path, &FuseMountOptions::default())) else {
        return;
    };
    drop(device);
    let inside = Command::new("true")
        .current_dir(&path)
        .stdin(Stdio::null())
        .status();
    assert!(inside.is_err(), "the mount is dead");
    down(&path);
}
