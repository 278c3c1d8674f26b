//! Local faults: permissions, formats, and damage in the store directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cachefs_tests::harness::{Cachefs, Invocation};
use cachefs_tests::s3::S3Server;
use cachefs_tests::tree::{CompareOptions, assert_same};

use super::{refused, refused_softly};
use crate::support::{
    Commands, clean, kill_daemon, machine, machine_on, objects, remote_dir, sample_dir,
};

/// Runs the command as root without the capability to bypass file permissions.
fn without_override(machine: &Cachefs, subcommand: &str, key: &str, path: &Path) -> Invocation {
    let caps = "-dac_override,-dac_read_search";
    let command = Invocation::new("setpriv", ["--bounding-set", caps, "--inh-caps", caps])
        .arg(machine.binary())
        .arg(subcommand)
        .arg("--key")
        .arg(key)
        .arg("--path")
        .arg(path)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CACHEFS_STORE", machine.store());
    command.env("CACHEFS_REMOTE", machine.remote())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_may_not_be_read_or_written() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let save = without_override(&machine, "save", "k", &dir);
    set_mode(&dir.join("lib/medium"), 0);
    refused_softly(
        "save with an unreadable file",
        &save,
        1,
        "lib/medium: Permission denied",
    );
    set_mode(&dir.join("lib/medium"), 0o644);
    set_mode(&dir.join("docs"), 0);
    refused_softly(
        "save with an unreadable directory",
        &save,
        1,
        "docs: Permission denied",
    );
    set_mode(&dir.join("docs"), 0o755);
    set_mode(&dir, 0);
    refused_softly(
        "save of an unreadable directory",
        &save,
        1,
        "Permission denied",
    );
    set_mode(&dir, 0o755);
    machine.run(["lookup", "k"]).expect_code(3);

    machine.saved("v1", &dir);
    let closed = machine.dir("closed");
    set_mode(&closed, 0o500);
    let restore = without_override(&machine, "restore", "v1", &closed.join("new"));
    refused_softly(
        "restore where nothing may be made",
        &restore,
        1,
        "Permission denied",
    );
    let store = machine.dir("store-of-others");
    set_mode(&store, 0o500);
    let restore = without_override(&machine, "restore", "v1", &machine.dir("mount"));
    let restore = restore.env("CACHEFS_STORE", store.join("store"));
    refused_softly(
        "a store that may not be made",
        &restore,
        1,
        "Permission denied",
    );
    let remote = remote_dir(&machine);
    set_mode(&remote.join("refs"), 0o500);
    set_mode(&remote.join("refs/default"), 0o500);
    let save = without_override(&machine, "save", "another", &dir);
    refused_softly(
        "a remote that may not be written",
        &save,
        4,
        "access denied",
    );
    set_mode(&remote.join("refs"), 0o755);
    set_mode(&remote.join("refs/default"), 0o755);
    machine.run(["lookup", "another"]).expect_code(3);
}

#[test]
fn a_store_of_a_newer_format() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    machine.run(["daemon", "stop"]).success();
    let format = machine.store().join("format");
    fs::write(&format, "99\n").unwrap();
    let before = objects(&machine.store());
    for command in [
        machine.save("v2", &dir),
        machine.restore("v1", &machine.dir("mount")),
    ] {
        refused(
            "a store of a newer format",
            command.run(),
            2,
            "has format 99",
        );
    }
    assert_eq!(objects(&machine.store()), before);
    fs::write(&format, "what\n").unwrap();
    let save = machine.save("v2", &dir).run();
    refused(
        "a store whose format is damaged",
        save,
        2,
        "is not a valid store directory format",
    );
}

/// Overwrites every file below a directory.
fn ruin(dir: &Path) {
    let names = objects(dir);
    assert!(!names.is_empty(), "nothing in {dir:?}");
    for name in names.keys() {
        fs::write(dir.join(name), b"this is not what was here").unwrap();
    }
}

#[test]
fn a_damaged_index_is_rebuilt_and_nothing_is_lost() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    machine.run(["daemon", "stop"]).success();
    ruin(&machine.store().join("index/domains"));
    fs::write(dir.join("more"), vec![5; 40_000]).unwrap();
    let saved = machine.saved("v1", &dir);
    assert_eq!(saved["added"], 1, "{saved}");
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
    assert!(
        machine.daemon_log().contains("index"),
        "{}",
        machine.daemon_log()
    );
}

#[test]
fn damage_in_the_local_cache_is_fetched_again() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let reader = machine.second_machine().unwrap();
    let mount = reader.dir("mount");
    reader.restored("v1", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
    reader.umount(&mount);
    reader.stop();
    ruin(&reader.store().join("remotes"));
    reader.restored("v1", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
}

#[test]
fn a_stale_socket_and_lock_are_no_obstacle() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    kill_daemon(&machine);
    assert!(machine.store().join("daemon.sock").exists());
    machine.restored("v1", &machine.dir("mount"));
    // A torn record counts as missing.
    let other = machine.dir("other");
    machine.restored("v1", &other);
    machine.umount(&other);
    for folder in fs::read_dir(machine.store().join("mounts")).unwrap() {
        fs::write(folder.unwrap().path().join("record.json"), "{\"path\":").unwrap();
    }
    let output = clean(machine.run(["stats"]).success());
    assert!(!output.stdout().contains("path  "), "{output}");
}
