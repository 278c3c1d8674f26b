//! Mounts appear, persist, end and recover as users expect.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cachefs_tests::harness::{Cachefs, Output};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Signal, kill_process, kill_process_group};

use crate::support::{
    Commands, clean, is_gone, kill_daemon, machine, pid, sample_dir, strict_json, wait_for,
};

/// A machine with the sample saved as `v1`.
fn saved_machine() -> Option<Cachefs> {
    let machine = machine()?;
    machine.saved("v1", &sample_dir(&machine));
    Some(machine)
}

/// The state that `stats` shows for the only restored path.
fn state(machine: &Cachefs) -> String {
    machine.stats()["restored"][0]["state"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn restoring_twice_finds_the_mount() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    assert_eq!(machine.restored("v1", &mount)["result"], "mounted");
    let mounts = machine.sandbox().mounts().unwrap().len();
    let again = machine.restore("v1", &mount).run().success();
    again.stderr_has("already");
    assert_eq!(machine.restored("v1", &mount)["result"], "already_mounted");
    assert_eq!(machine.sandbox().mounts().unwrap().len(), mounts);
}

#[test]
fn another_job_at_a_mounted_path_begins_without_what_was_left_there() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let other = machine.dir("other");
    fs::write(other.join("other"), "other").unwrap();
    machine.saved("v2", &other);
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::write(mount.join("mine"), "mine").unwrap();
    let told = clean(machine.restore("v2", &mount).run()).expect_code(0);
    let told = told.stderr_has("unmounted key v1, which an earlier restore had left");
    assert!(mount.join("other").exists() && !mount.join("mine").exists());
    // Unsaved changes are kept.
    let lines = told.stderr();
    let aside = lines
        .lines()
        .find_map(|line| {
            line.strip_prefix("note: 1 unsaved change of an earlier restore of key v1")
        })
        .and_then(|line| line.split_once(" is in "));
    let aside = std::path::PathBuf::from(aside.unwrap().1);
    assert_eq!(fs::read(aside.join("mine")).unwrap(), b"mine");
    // Changes that were saved are not set aside, and neither is an unchanged mount.
    fs::write(mount.join("saved"), "saved").unwrap();
    machine.saved("v3", &mount);
    let told = machine.restore("v1", &mount).run().success();
    assert!(!told.stderr().contains("unsaved"), "{told}");
    let told = machine.restore("none", &mount).run().success();
    assert!(!told.stderr().contains("unsaved"), "{told}");
    assert!(fs::read_dir(&mount).unwrap().next().is_none());
    // The same key in another scope belongs to another job.
    machine.restored("v1", &mount);
    fs::write(mount.join("mine"), "mine").unwrap();
    let other = machine.restore("v1", &mount).arg("--scope").arg("pr/1");
    let other = other.arg("--fallback-scope").arg("default").run();
    other.success().stderr_has("1 unsaved change of an earlier");
    assert!(!mount.join("mine").exists());
}

#[test]
fn a_busy_mount_is_kept_and_its_holder_named() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let mut holder = Command::new("sleep")
        .arg("600")
        .current_dir(&mount)
        .spawn()
        .unwrap();
    let busy = clean(machine.command(["umount"]).arg(&mount).run());
    let named = busy.stderr().contains(&holder.id().to_string()) && busy.stderr().contains("sleep");
    let open = File::open(mount.join("lib/large")).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(named, "{busy}");
    assert!(mount.join("settings.xml").exists());
    busy.expect_code(1).stderr_has("hint: ");
    machine
        .command(["umount", "--lazy"])
        .arg(&mount)
        .run()
        .success();
    assert!(!mount.join("settings.xml").exists());
    // A process that had the file open can still read it.
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut &open, &mut bytes).unwrap();
    assert_eq!(bytes.len(), 2_000_000);
}

#[test]
fn files_that_were_there_stay_visible_and_are_not_saved() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    fs::write(mount.join("settings.xml"), "of this machine").unwrap();
    fs::write(mount.join("credentials"), "secret").unwrap();
    machine.restored("v1", &mount);
    assert_eq!(fs::read(mount.join("credentials")).unwrap(), b"secret");
    assert!(mount.join("lib/large").exists());
    fs::write(mount.join("new"), "new").unwrap();
    let saved = machine.saved("v2", &mount);
    assert_eq!(saved["added"], 1, "{saved}");
    machine.umount(&mount);
    assert_eq!(
        fs::read(mount.join("settings.xml")).unwrap(),
        b"of this machine"
    );
    let other = machine.second_machine().unwrap();
    let there = other.dir("mount");
    other.restored("v2", &there);
    assert!(there.join("new").exists() && !there.join("credentials").exists());
}

#[test]
fn twenty_mounts_at_once() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mounts: Vec<_> = (0..20)
        .map(|number| machine.dir(&format!("mounts/{number}")))
        .collect();
    let restores: Vec<_> = mounts
        .iter()
        .map(|mount| {
            let restore = strict_json(machine.restore("v1", mount));
            restore.spawn(Stdio::null(), Stdio::null()).unwrap()
        })
        .collect();
    for mut restore in restores {
        assert!(restore.wait().unwrap().success());
    }
    for (number, mount) in mounts.iter().enumerate() {
        assert_eq!(
            fs::metadata(mount.join("lib/large")).unwrap().size(),
            2_000_000
        );
        fs::write(mount.join("number"), number.to_string()).unwrap();
    }
    let stats = machine.stats();
    assert_eq!(stats["restored"].as_array().unwrap().len(), 20);
    assert_eq!(stats["daemon"]["views"].as_array().unwrap().len(), 20);
    for (number, mount) in mounts.iter().enumerate() {
        assert_eq!(
            fs::read(mount.join("number")).unwrap(),
            number.to_string().as_bytes()
        );
    }
    machine.run(["umount", "--all"]).success();
    assert!(machine.sandbox().mounts().unwrap().is_empty());
    assert_eq!(machine.stats()["restored"].as_array().unwrap().len(), 0);
}

#[test]
fn the_daemon_outlives_the_step_that_started_it() {
    let Some(machine) = saved_machine() else {
        return;
    };
    machine.run(["daemon", "stop"]).success();
    let mount = machine.dir("mount");
    // A step as CI runners start it: in a process group that is killed at the end of the step.
    let mut step = Command::new("/bin/sh");
    step.args([
        "-c",
        "\"$0\" restore --strict-errors --key v1 --path \"$1\"; exec sleep 600",
    ])
    .arg(machine.binary())
    .arg(&mount)
    .env("CACHEFS_STORE", machine.store())
    .env("CACHEFS_REMOTE", machine.remote())
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .process_group(0);
    let mut step = step.spawn().unwrap();
    let is_mounted = || mount.join("settings.xml").exists();
    wait_for("the mount", Duration::from_secs(20), is_mounted);
    kill_process_group(pid(step.id()), Signal::HUP).unwrap();
    kill_process_group(pid(step.id()), Signal::KILL).unwrap();
    step.wait().unwrap();
    let daemon = machine.daemon().expect("the daemon lives on");
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    assert_ne!(session_of(&daemon.to_string()), session_of("self"));
}

/// Returns the session of a process, or 0 if its leader is outside this PID namespace, where
/// rustix's `getsid` panics.
fn session_of(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().nth(3).unwrap().to_owned()
}

#[test]
fn an_idle_daemon_ends_and_a_used_one_does_not() {
    let Some(machine) = machine() else { return };
    let machine = machine.with_env("CACHEFS_DAEMON_IDLE", "1");
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(machine.daemon().is_some(), "it serves a mount");
    machine.umount(&mount);
    wait_for("its end", Duration::from_secs(10), || {
        machine.daemon().is_none()
    });
    machine
        .run(["daemon", "status"])
        .expect_code(1)
        .stdout_has("not running");
    machine.restored("v1", &mount);
}

#[test]
fn the_daemon_of_a_store_that_was_removed_takes_nothing_from_the_next_one() {
    let Some(machine) = machine() else { return };
    let machine = machine.with_env("CACHEFS_DAEMON_IDLE", "2");
    machine.saved("v1", &sample_dir(&machine));
    let first = machine.daemon().unwrap();
    fs::remove_dir_all(machine.store()).unwrap();
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let second = machine.daemon().unwrap();
    assert_ne!(first, second);
    wait_for("the end of the first", Duration::from_secs(10), || {
        is_gone(first)
    });
    assert_eq!(machine.daemon(), Some(second));
    machine.run(["daemon", "status"]).success();
    fs::write(mount.join("unsaved"), "unsaved").unwrap();

    // If the socket is gone anyway, the error explains how to recover.
    fs::remove_file(machine.store().join("daemon.sock")).unwrap();
    let refused = strict_json(machine.restore("v1", &mount)).run();
    refused
        .expect_code(1)
        .stderr_has("daemon.sock is gone")
        .stderr_has(&format!("`kill {second}`"));
    let asked = |what: &str, code: i32| machine.run(["daemon", what]).expect_code(code);
    asked("status", 1).stdout_has("daemon.sock is gone");
    asked("stop", 2).stderr_has("daemon.sock is gone");
    kill_process(pid(second), Signal::TERM).unwrap();
    wait_for("the end of the second", Duration::from_secs(5), || {
        is_gone(second)
    });
    assert_eq!(machine.restored("v1", &mount)["result"], "remounted");
    assert_eq!(fs::read(mount.join("unsaved")).unwrap(), b"unsaved");
}

#[test]
fn a_killed_daemon_is_noticed_and_the_mount_repaired() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::write(mount.join("unsaved"), "unsaved").unwrap();
    fs::remove_file(mount.join("docs/7")).unwrap();
    kill_daemon(&machine);
    assert!(state(&machine).starts_with("dead"), "{}", state(&machine));
    assert!(fs::read(mount.join("lib/large")).is_err());
    // A save must not mistake the dead mount for the cache.
    let refused = clean(strict_json(machine.save("v2", &mount)).run()).expect_code(1);
    drop(refused.stderr_has("is dead").stderr_has("hint: "));
    let restored = machine.restored("v1", &mount);
    assert_eq!(restored["result"], "remounted", "{restored}");
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    assert_eq!(fs::read(mount.join("unsaved")).unwrap(), b"unsaved");
    assert!(!mount.join("docs/7").exists());
    assert_eq!(state(&machine), "mounted");
    let saved = machine.saved("v2", &mount);
    assert_eq!((&saved["added"], &saved["removed"]), (&1.into(), &1.into()));
}

#[test]
fn a_dead_mount_without_changes_is_mounted_anew() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    kill_daemon(&machine);
    let restored = machine.restored("v1", &mount);
    assert_eq!(restored["result"], "mounted", "{restored}");
    assert!(
        restored["notes"][0]
            .as_str()
            .unwrap()
            .contains("dead mount"),
        "{restored}"
    );
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    kill_daemon(&machine);
    machine.umount(&mount);
    assert!(machine.sandbox().mounts().unwrap().is_empty());
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0);
}

/// Simulates a reboot: removes the mounts and changes the boot ID in the record.
fn reboot(machine: &Cachefs) {
    kill_daemon(machine);
    for point in machine.sandbox().mounts().unwrap().iter().rev() {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    for folder in fs::read_dir(machine.store().join("mounts")).unwrap() {
        let file = folder.unwrap().path().join("record.json");
        let Ok(text) = fs::read(&file) else { continue };
        let mut record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        record["boot"] = "another boot".into();
        fs::write(&file, record.to_string()).unwrap();
    }
}

#[test]
fn unsaved_changes_from_before_a_reboot_are_set_aside() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let (mount, untouched) = (machine.dir("mount"), machine.dir("untouched"));
    machine.restored("v1", &mount);
    machine.restored("v1", &untouched);
    fs::write(mount.join("unsaved"), "unsaved").unwrap();
    reboot(&machine);
    assert_eq!(state(&machine), "not mounted here");
    let restored = machine.restored("v1", &mount);
    assert_eq!(restored["result"], "mounted", "{restored}");
    // Unsaved files may be torn after a reboot, so they do not become part of the cache.
    assert!(!mount.join("unsaved").exists());
    let aside = restored["unsaved_moved_to"].as_str().unwrap();
    assert_eq!(
        fs::read(Path::new(aside).join("unsaved")).unwrap(),
        b"unsaved"
    );
    assert_eq!(machine.restored("v1", &untouched)["result"], "mounted");
    assert_eq!(machine.saved("v1", &mount)["result"], "unchanged");
}

#[test]
fn one_store_has_one_daemon() {
    let Some(machine) = saved_machine() else {
        return;
    };
    machine.run(["daemon", "start"]).success();
    let first = machine.daemon().unwrap();
    let second = clean(machine.run(["daemon", "run"])).expect_code(2);
    let second = second.stderr_has(&format!(
        "process {first} is the daemon of this store already"
    ));
    drop(second.stderr_has("hint: "));
    // Concurrent commands start a single daemon.
    machine.run(["daemon", "stop"]).success();
    wait_for("its end", Duration::from_secs(5), || is_gone(first));
    let starts: Vec<_> = (0..8)
        .map(|_| {
            machine
                .command(["daemon", "start"])
                .spawn(Stdio::null(), Stdio::null())
                .unwrap()
        })
        .collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    machine.run(["daemon", "status"]).success();
}

#[test]
fn a_daemon_with_mounts_is_stopped_by_force_only() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let refused = clean(machine.run(["daemon", "stop"])).expect_code(2);
    drop(refused.stderr_has("serves 1 mount").stderr_has("hint: "));
    assert!(mount.join("settings.xml").exists());
    machine.run(["daemon", "stop", "--force"]).success();
    assert!(machine.daemon().is_none());
    assert!(state(&machine).starts_with("dead"));
    machine.restored("v1", &mount);
    assert!(mount.join("settings.xml").exists());
}

/// The mounts of a machine, topmost first.
fn mountpoints(machine: &Cachefs, mount: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = table
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(1));
    points
        .map(PathBuf::from)
        .filter(|point| point == mount || point.starts_with(machine.store()))
        .collect()
}

#[test]
fn a_daemon_whose_mounts_are_gone_is_stopped_at_once() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    // Mount namespaces of other tests may hold the mount for a while.
    for _ in 0..20 {
        machine.restored("v1", &mount);
        assert!(mount.join("settings.xml").exists());
        let was_seen = is_seen_elsewhere(&machine);
        let stopped = unmount_and_stop(&machine, &mount);
        if stopped.code() == Some(0) {
            return;
        }
        println!("{stopped}");
        assert!(was_seen || is_seen_elsewhere(&machine), "{stopped}");
        machine.stop();
    }
    panic!("there was another namespace every time");
}

/// The daemon sees the end of its mounts and `daemon stop` at the same time.
fn unmount_and_stop(machine: &Cachefs, mount: &Path) -> Output {
    let worker = pid(machine.worker().unwrap());
    kill_process(worker, Signal::STOP).unwrap();
    let points = mountpoints(machine, mount);
    assert!(points.len() > 1, "{points:?}");
    for point in points {
        unmount(&point, UnmountFlags::DETACH).unwrap();
    }
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| machine.run(["daemon", "stop"]));
        std::thread::sleep(Duration::from_millis(200));
        kill_process(worker, Signal::CONT).unwrap();
        stop.join().unwrap()
    })
}

/// Whether a process in another mount namespace has mounts of a machine.
fn is_seen_elsewhere(machine: &Cachefs) -> bool {
    let store = machine.store();
    let store = store.to_str().unwrap();
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let own = namespace(Path::new("/proc/self"));
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|process| process.path())
        .filter(|process| namespace(process).is_some_and(|it| Some(it) != own))
        .filter_map(|process| fs::read_to_string(process.join("mountinfo")).ok())
        .any(|table| table.contains(store))
}

#[test]
fn another_store_does_not_touch_the_mount() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::write(mount.join("mine"), "mine").unwrap();
    let other = machine.second_machine().unwrap();
    let refused = clean(other.save("v2", &mount).run()).expect_code(2);
    drop(
        refused
            .stderr_has("is a mount of another store")
            .stderr_has("hint: "),
    );
    let refused = clean(other.command(["umount"]).arg(&mount).run()).expect_code(2);
    drop(
        refused
            .stderr_has("was not restored from this store")
            .stderr_has("hint: "),
    );
    assert_eq!(fs::read(mount.join("mine")).unwrap(), b"mine");
}
