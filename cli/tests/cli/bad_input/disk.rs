//! Full disks.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::S3Server;
use cachefs_tests::tree::{CompareOptions, assert_same};
use rustix::mount::{MountFlags, mount};

use super::refused_softly;
use crate::support::{Commands, clean, machine, machine_on, sample_dir, strict_json};

/// Mounts a small filesystem in the machine's sandbox, which unmounts it.
fn small(machine: &Cachefs, name: &str, kilobytes: u32) -> PathBuf {
    let dir = machine.dir(name);
    let options = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
    mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), &*options).unwrap();
    dir
}

/// Fills a filesystem to the last byte.
fn fill(dir: &Path) -> PathBuf {
    let filler = dir.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    for length in [64 << 10, 4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![1; length]).is_ok() {}
    }
    filler
}

#[test]
fn a_full_store_from_the_start() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let disk = small(&machine, "disk", 64);
    let filler = fill(&disk);
    let reader = machine
        .second_machine()
        .unwrap()
        .with_env("CACHEFS_STORE", disk.join("store"));
    let mount = reader.dir("mount");
    refused_softly(
        "restore with a full store",
        &reader.restore("v1", &mount),
        1,
        "No space left",
    );
    refused_softly(
        "save with a full store",
        &reader.save("v2", &dir),
        1,
        "No space left",
    );
    fs::remove_file(filler).unwrap();
    let copy = strict_json(reader.restore("v1", &mount))
        .arg("--mode")
        .arg("copy");
    clean(copy.run().success());
    assert_same(&dir, &mount, &CompareOptions::default());
}

#[test]
fn a_store_that_fills_up_reads_on_from_the_remote() {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&first);
    first.saved("v1", &dir);
    let disk = small(&first, "disk", 600);
    let reader = first
        .second_machine()
        .unwrap()
        .with_env("CACHEFS_STORE", disk.join("store"));
    let mount = reader.dir("mount");
    reader.restored("v1", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
    reader.umount(&mount);
    // The harness looks for the daemon in the default store.
    reader.stop();
}

#[test]
fn a_full_upper_fails_writes_only() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let disk = small(&machine, "disk", 2000);
    let machine = machine.with_env("CACHEFS_STORE", disk.join("store"));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::write(mount.join("before"), "before").unwrap();
    let filler = fill(&disk);
    // One new file, and one cached file that the kernel would have to copy up.
    for name in ["new", "lib/medium"] {
        let error = fs::write(mount.join(name), vec![1; 4 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }
    fs::remove_file(mount.join("new")).ok();
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    fs::remove_file(filler).unwrap();
    fs::write(mount.join("after"), "after").unwrap();
    fs::remove_file(mount.join("lib/medium")).unwrap();
    let saved = machine.saved("v2", &mount);
    assert_eq!(
        (&saved["added"], &saved["removed"]),
        (&2.into(), &1.into()),
        "{saved}"
    );
    machine.umount(&mount);
    machine.stop();
}

#[test]
fn an_index_without_room_does_not_fail_a_save_silently() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let disk = small(&machine, "disk", 400);
    let saver = machine
        .second_machine()
        .unwrap()
        .with_env("CACHEFS_STORE", disk.join("store"));
    saver.run(["daemon", "start"]).success();
    let filler = fill(&disk);
    let output = clean(saver.save("v1", &dir).arg("--strict-errors").run());
    match output.code() {
        Some(0) => {
            let mount = machine.dir("mount");
            machine.restored("v1", &mount);
            assert_same(&dir, &mount, &CompareOptions::default());
        }
        _ => {
            println!(
                "| save, no room for the index | 1 | {} |",
                output.stderr().trim()
            );
            drop(output.expect_code(1).stderr_has("No space left"));
            machine.run(["lookup", "v1"]).expect_code(3);
        }
    }
    fs::remove_file(filler).unwrap();
    saver.saved("v1", &dir);
    saver.run(["daemon", "stop"]).success();
}

#[test]
fn a_full_remote() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let disk = small(&machine, "disk", 900);
    let save = machine
        .save("v1", &dir)
        .env("CACHEFS_REMOTE", format!("file://{}", disk.display()));
    refused_softly("save to a full remote", &save, 4, "no space left");
}

#[test]
fn a_full_target_of_a_copy() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let disk = small(&machine, "disk", 900);
    let copy = machine
        .restore("v1", &disk.join("copy"))
        .arg("--mode")
        .arg("copy");
    refused_softly("copy to a full disk", &copy, 1, "are free");
}
