//! Unsaved changes of earlier jobs: later jobs neither see nor save them, and we keep them for a
//! while.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cachefs_tests::harness::Cachefs;
use serde_json::Value;

use crate::support::{Commands, clean, kill_daemon, machine, remote_dir, strict_json};

/// A machine with a key `k`: six files, four of them below `lib`.
fn saved_machine() -> Option<Cachefs> {
    let machine = machine()?;
    let dir = machine.dir("src");
    fs::create_dir(dir.join("lib")).unwrap();
    for name in ["a", "b", "lib/1", "lib/2", "lib/3", "lib/4"] {
        fs::write(dir.join(name), "good").unwrap();
    }
    machine.saved("k", &dir);
    Some(machine)
}

/// Simulates `git clean -ffdx` on a mount, followed by a job that dies at once.
fn git_clean(mount: &Path) {
    fs::remove_dir_all(mount.join("lib")).unwrap();
    fs::remove_file(mount.join("b")).unwrap();
    fs::write(mount.join("half"), "half").unwrap();
}

fn is_clean(mount: &Path) -> bool {
    fs::read(mount.join("b")).is_ok_and(|bytes| bytes == b"good")
        && mount.join("lib/4").exists()
        && !mount.join("half").exists()
}

fn set_aside(restored: &Value) -> PathBuf {
    restored["unsaved_moved_to"].as_str().unwrap().into()
}

#[test]
fn the_same_key_begins_with_the_cache_as_it_was_saved() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    let first = machine.restored("k", &mount);
    assert_eq!(first["unsaved_changes"], 0, "{first}");
    git_clean(&mount);
    let used = |machine: &Cachefs| {
        let used = machine.command(["explain", "--format", "json"]).arg(&mount);
        used.run().success().json()["unsaved_changes"].clone()
    };
    assert_eq!(used(&machine), 3);
    let again = machine.restored("k", &mount);
    assert_eq!(again["result"], "mounted", "{again}");
    assert_eq!(again["unsaved_changes"], 3, "{again}");
    assert!(is_clean(&mount));
    let aside = set_aside(&again);
    assert_eq!(fs::read(aside.join("half")).unwrap(), b"half");
    assert_eq!(used(&machine), 0);
    let explained = machine
        .run(["explain", "--format", "json"])
        .success()
        .json();
    let explained = &explained["caches"][0];
    assert_eq!(explained["unsaved_changes"], 3, "{explained}");
    assert_eq!(
        Path::new(explained["unsaved_moved_to"].as_str().unwrap()),
        aside
    );

    // In the text output, and in every command that reports on the store.
    fs::write(mount.join("a"), "poison").unwrap();
    let told = clean(machine.restore("k", &mount).run().success());
    told.stderr_has("note: 1 unsaved change of an earlier restore of key k");
    machine
        .run(["stats"])
        .success()
        .stdout_has("unsaved  changes of 2 earlier restores");
    assert_eq!(machine.stats()["unsaved"]["directories"], 2);
    machine
        .run(["doctor"])
        .success()
        .stdout_has("changes of 2 earlier restores");

    // We set aside neither an unchanged mount nor one whose changes were saved.
    assert_eq!(machine.restored("k", &mount)["result"], "already_mounted");
    fs::write(mount.join("new"), "new").unwrap();
    machine.saved("other", &mount);
    let same = machine.restored("k", &mount);
    assert_eq!(same["result"], "already_mounted", "{same}");
    assert_eq!(same["unsaved_changes"], 0, "{same}");
}

#[test]
fn changes_stay_if_that_is_asked_for_or_the_path_is_in_use() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    git_clean(&mount);
    let kept = |restored: Value| {
        assert_eq!(restored["result"], "already_mounted", "{restored}");
        assert_eq!(restored["unsaved_changes"], 3, "{restored}");
        assert!(restored["unsaved_moved_to"].is_null(), "{restored}");
        let note = restored["notes"][0].as_str().unwrap();
        assert!(note.contains("3 unsaved changes"), "{note}");
        assert!(mount.join("half").exists());
    };
    let keep = strict_json(machine.restore("k", &mount)).arg("--keep-changes");
    kept(clean(keep.run().success()).json());
    let keep = strict_json(machine.restore("k", &mount)).env("CACHEFS_KEEP_CHANGES", "1");
    kept(clean(keep.run().success()).json());

    let open = File::open(mount.join("a")).unwrap();
    kept(machine.restored("k", &mount));
    drop(open);
    assert_eq!(machine.restored("k", &mount)["unsaved_changes"], 3);
    assert!(is_clean(&mount));
}

#[test]
fn a_job_in_ci_does_not_take_over_a_dead_mount() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    let dirty = || {
        machine.restored("k", &mount);
        git_clean(&mount);
        kill_daemon(&machine);
    };
    dirty();
    let kept = machine.restored("k", &mount);
    assert_eq!(kept["result"], "remounted", "{kept}");
    assert_eq!(kept["unsaved_changes"], 3, "{kept}");
    assert!(kept["unsaved_moved_to"].is_null(), "{kept}");
    machine.umount(&mount);

    dirty();
    let next = strict_json(machine.restore("k", &mount)).env("CI", "true");
    let next = clean(next.run().success()).json();
    assert_eq!(next["result"], "mounted", "{next}");
    assert!(is_clean(&mount));
    assert!(set_aside(&next).join("half").exists());
}

#[test]
fn a_save_that_removes_most_of_a_key_warns() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    fs::remove_file(mount.join("b")).unwrap();
    let save = |key: &str| strict_json(machine.save(key, &mount));
    let small = clean(save("k").arg("--dry-run").run().success()).json();
    assert_eq!(small["notes"], Value::Array(Vec::new()), "{small}");

    git_clean_rest(&mount);
    let would = clean(save("k").arg("--dry-run").run().success()).json();
    let note = would["notes"][0].as_str().unwrap();
    assert!(note.contains("would remove 6 of the 7 entries"), "{note}");
    let told = clean(machine.save("k", &mount).run().success());
    told.stderr_has("warning: this save removed 6 of the 7 entries");

    // The same for a plain directory that was restored as a copy.
    let copy = machine.dir("copy");
    let dir = machine.work().join("src");
    machine.saved("c", &dir);
    let restore = machine.restore("c", &copy).args(["--mode", "copy"]);
    restore.run().success();
    fs::remove_dir_all(copy.join("lib")).unwrap();
    let exec = machine.command(["exec", "--key", "c", "--mode", "copy", "--path"]);
    let exec = exec
        .arg(&copy)
        .args(["--", "sh", "-c"])
        .arg("rm -r copy/lib");
    let told = clean(exec.run().success());
    told.stderr_has("warning: this save removed 5 of the 7 entries");
}

fn git_clean_rest(mount: &Path) {
    fs::remove_dir_all(mount.join("lib")).unwrap();
}

#[test]
fn unsaved_changes_go_after_a_week() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    let old = || {
        machine.restored("k", &mount);
        git_clean(&mount);
        let aside = set_aside(&machine.restored("k", &mount));
        let month_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 60 * 60);
        File::open(&aside).unwrap().set_modified(month_ago).unwrap();
        aside
    };
    let first = old();
    machine.restored("k", &mount);
    assert!(!first.exists());
    let second = old();
    machine.run(["gc", "--dry-run"]).success();
    assert!(second.exists());
    machine.run(["gc"]).success();
    assert!(!second.exists());
    // Recent changes are kept.
    git_clean(&mount);
    let today = set_aside(&machine.restored("k", &mount));
    machine.run(["gc", "--grace", "0"]).success();
    machine.restored("k", &mount);
    assert!(today.join("half").exists());
}

#[test]
fn a_mounted_path_whose_packs_are_gone_is_a_miss() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    git_clean(&mount);
    let root = remote_dir(&machine);
    for name in crate::support::objects(&root).into_keys() {
        if name.split('/').any(|part| part == "packs") {
            fs::remove_file(root.join(name)).unwrap();
        }
    }
    let missed = clean(strict_json(machine.restore("k", &mount)).run().success()).json();
    assert_eq!(missed["match"], "miss", "{missed}");
    assert!(set_aside(&missed).join("half").exists());
    assert!(fs::read_dir(&mount).unwrap().next().is_none());
}
