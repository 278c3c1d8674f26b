//! Failures around the cache: the operations that fail, and those that must continue.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::{Fault, Rule, S3Server};
use cachefs_tests::tree::{CompareOptions, assert_same};
use rustix::mount::{MountFlags, mount_bind, mount_remount};

use crate::support::{Commands, clean, machine, machine_on, sample_dir, strict_json};

const EIO: i32 = 5;

/// A clock that is set by writing to a file; from Debian's package `libfaketime`.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn a_black_hole_holds_up_nobody_else() {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&first);
    first.saved("v1", &dir);
    let machine = first
        .second_machine()
        .unwrap()
        .with_env("CACHEFS_TIMEOUT", "10s");
    // Frames that we read from one remote serve all remotes, so the second one has different files.
    let (local, other) = (
        format!("file://{}", machine.dir("remote").display()),
        machine.dir("other"),
    );
    for number in 0..40_u8 {
        fs::write(other.join(number.to_string()), vec![number; 50_000]).unwrap();
    }
    let save = machine.save("v1", &other).args(["--remote", &local]);
    save.run().success();
    let (hung, well) = (machine.dir("hung"), machine.dir("well"));
    let lazy = |path: &Path| machine.restore("v1", path).args(["--prefetch", "none"]);
    lazy(&hung).run().success();
    lazy(&well).args(["--remote", &local]).run().success();
    // Cache one file locally before the outage.
    let here = fs::read(hung.join("settings.xml")).unwrap();

    server.faults().inject(Rule::new(Fault::Hang));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..16)
            .map(|number| {
                let path = hung.join(format!("docs/{number}"));
                scope.spawn(move || fs::read(path).map(drop))
            })
            .collect();
        // While the readers wait, the same tree, its local files, the other mount and the daemon
        // still work.
        assert_eq!(fs::read_dir(hung.join("docs")).unwrap().count(), 40);
        assert_eq!(fs::read(hung.join("settings.xml")).unwrap(), here);
        assert_same(&other, &well, &CompareOptions::default());
        assert_eq!(
            machine.stats()["daemon"]["views"].as_array().unwrap().len(),
            2
        );
        // We served all of this before the first reader timed out.
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        for waiting in waiting {
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
        }
    });
    let log = machine.daemon_log();
    let line = log
        .lines()
        .find(|line| line.contains("EIO"))
        .expect("a line in the log");
    assert!(
        line.contains(&format!("a read from s3://{}", cachefs_tests::s3::BUCKET)),
        "{line}"
    );
    assert!(line.contains("packs/"), "{line}");

    server.faults().clear();
    // Requests in flight when the outage ended still wait for their own deadlines.
    crate::support::wait_for("the recovery", Duration::from_secs(20), || {
        let files = ["docs/3", "lib/large", "lib/medium", "lib/inner/small"];
        files.iter().all(|file| fs::read(hung.join(file)).is_ok())
    });
    assert_same(&dir, &hung, &CompareOptions::default());
    machine.umount(&hung);
    machine.umount(&well);
}

/// Makes a directory read-only; the sandbox removes the mount.
fn read_only(dir: &Path) {
    mount_bind(dir, dir).unwrap();
    mount_remount(dir, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
}

fn saved_machine() -> Option<Cachefs> {
    let machine = machine()?;
    machine.saved("v1", &sample_dir(&machine));
    Some(machine)
}

#[test]
fn a_store_that_cannot_be_written_to_is_named() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let reader = machine.second_machine().unwrap();
    reader.run(["stats"]).success();
    read_only(&reader.store());
    let dir = reader.dir("dir");
    let store = reader.store().display().to_string();
    for mode in ["auto", "mount"] {
        let restore = reader.restore("v1", &dir).args(["--mode", mode]);
        let soft = clean(restore.run()).success().stderr_has("Read-only");
        let soft = soft.stderr_has(&store);
        drop(soft.stderr_has("choose a place that can be written to"));
        assert!(fs::read_dir(&dir).unwrap().next().is_none(), "{mode}");
    }
    // Copy mode works, because it needs no store.
    let copy = reader.restore("v1", &dir).args(["--mode", "copy"]);
    let copy = clean(copy.arg("--strict-errors").run())
        .success()
        .stderr_has("cannot record the restore of");
    drop(copy.stderr_has("Read-only"));
    assert_same(
        &machine.work().join("sample"),
        &dir,
        &CompareOptions::default(),
    );
    reader.run(["list"]).success().stdout_has("v1");
}

#[test]
fn a_target_that_cannot_be_written_to_can_be_mounted_over() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let target = machine.dir("target");
    read_only(&target);
    let copy = machine.restore("v1", &target).args(["--mode", "copy"]);
    drop(clean(copy.run()).success().stderr_has("Read-only"));
    machine.restored("v1", &target);
    fs::write(target.join("new"), "new").unwrap();
    assert!(target.join("lib/large").exists());
    machine.umount(&target);
    assert!(fs::read_dir(&target).unwrap().next().is_none());
}

/// A machine whose clock is read from the file.
fn with_clock(machine: &Cachefs, file: &Path) -> Option<Cachefs> {
    if !Path::new(FAKETIME).exists() {
        cachefs_skip::skip("faketime", "libfaketime is not installed");
        return None;
    }
    let machine = machine.second_machine().unwrap();
    Some(
        machine
            .with_env("LD_PRELOAD", FAKETIME)
            .with_env("FAKETIME_TIMESTAMP_FILE", file)
            .with_env("FAKETIME_NO_CACHE", "1")
            .with_env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    )
}

#[test]
fn clocks_that_jump() {
    let Some(first) = machine() else { return };
    let dir = sample_dir(&first);
    let clock = first.work().join("clock");
    let set = |offset: &str| fs::write(&clock, format!("{offset}\n")).unwrap();
    set("+0d");
    let Some(machine) = with_clock(&first, &clock) else {
        return;
    };
    let save = strict_json(machine.save("m2-1", &dir)).args(["--ttl", "14d"]);
    clean(save.run().success());
    let mount = machine.dir("mount");
    machine.restored("m2-1", &mount);
    let daemon = machine.daemon();

    // Move the clock in both directions under a running mount and daemon.
    for offset in ["+10d", "-400d", "+0d"] {
        println!("{offset}");
        set(offset);
        let stats = machine.stats();
        assert!(
            stats["daemon"]["uptime_seconds"].as_u64().unwrap() < 600,
            "{stats}"
        );
        assert_eq!(fs::read(mount.join("docs/3")).unwrap().len(), 10_150);
        fs::write(mount.join("written"), offset).unwrap();
        let key = format!("m2-{offset}");
        machine.saved(&key, &mount);
        let other = machine.dir("other");
        machine.restored(&key, &other);
        assert_eq!(fs::read_to_string(other.join("written")).unwrap(), offset);
        machine.umount(&other);
    }
    // A save from a machine with a fast clock does not stay the newest for its prefix: we use the
    // remote's time.
    let newest = machine.restore("m2-none", &machine.dir("newest"));
    let newest = strict_json(newest.args(["--restore-key", "m2-"]))
        .run()
        .success();
    assert_eq!(newest.json()["matched_key"], "m2-+0d", "{newest}");
    machine.umount(&machine.dir("newest"));

    // A key expires with the clock, and reappears when the clock goes back.
    set("+15d");
    let late = strict_json(machine.restore("m2-1", &machine.dir("late")));
    assert_eq!(late.run().success().json()["result"], "miss");
    set("+0d");
    machine.restored("m2-1", &machine.dir("late"));
    machine.umount(&machine.dir("late"));

    // `gc` with a clock in the past condemns nothing in use and removes nothing. With a clock in
    // the future, it drops expired keys but respects the grace period of mounted layers.
    for offset in ["-400d", "+15d", "+0d"] {
        set(offset);
        clean(machine.run(["gc"]).success());
        assert_eq!(fs::read(mount.join("docs/5")).unwrap().len(), 10_250);
    }
    machine.run(["check", "--read-data"]).success();
    assert_eq!(machine.daemon(), daemon);
    machine.umount(&mount);
    let log = machine.daemon_log();
    assert!(!log.contains("panicked"), "{log}");
}
