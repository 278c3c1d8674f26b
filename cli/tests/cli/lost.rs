//! Packs deleted by something other than cachefs, for example a lifecycle rule of the bucket.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::S3Server;
use cachefs_tests::tree::{CompareOptions, assert_same};
use serde_json::Value;

use crate::support::{
    Commands, clean, kill_daemon, machine, machine_on, objects, remote_dir, sample_dir, strict_json,
};

const EIO: i32 = 5;

/// Every pack below a directory of objects.
fn packs(root: &Path) -> Vec<PathBuf> {
    let packs: Vec<PathBuf> = objects(root)
        .into_keys()
        .filter(|name| name.split('/').any(|part| part == "packs"))
        .map(|name| root.join(name))
        .collect();
    assert!(!packs.is_empty());
    packs
}

/// Deletes every pack below a directory of objects.
fn delete_packs(root: &Path) {
    for pack in packs(root) {
        fs::remove_file(pack).unwrap();
    }
}

/// Every command that looks up `k` without restoring it must also report a miss.
#[track_caller]
fn nobody_finds_it(machine: &Cachefs) {
    const WHY: &str = "the remote no longer has";
    let missed = machine.run(["lookup", "k"]).expect_code(3);
    assert!(missed.stderr().contains(WHY), "{missed}");
    let missed = machine.run(["lookup", "k", "--format", "json"]);
    let missed = missed.expect_code(3).json();
    assert_eq!(missed["match"], "miss", "{missed}");
    assert!(missed["why"].as_str().unwrap().contains(WHY), "{missed}");
    let explained = machine.run(["explain", "--key", "k", "--format", "json"]);
    let explained = explained.success().json();
    assert_eq!(explained["match"], "miss", "{explained}");
    assert!(
        explained["lost"].as_str().unwrap().contains(WHY),
        "{explained}"
    );
    let explained = machine.run(["explain", "--key", "k"]).success();
    assert!(explained.stdout().contains(WHY), "{explained}");
    let looked = machine
        .restore("k", &machine.work().join("lost-nowhere"))
        .arg("--lookup-only");
    let looked = looked.run().success();
    assert!(looked.stderr().contains(WHY), "{looked}");
}

/// Asserts that a restore of `k` is a miss because its data is lost.
#[track_caller]
fn is_lost(machine: &Cachefs, mode: &str) {
    let target = machine.dir(&format!("lost-{mode}"));
    let restore = |machine: &Cachefs| machine.restore("k", &target).args(["--mode", mode]);
    let missed = clean(strict_json(restore(machine)).run().success());
    assert_eq!(missed.json()["match"], "miss", "{missed}");
    let told = clean(restore(machine).run().success());
    assert!(told.stderr().contains("the remote no longer has"), "{told}");
    let holds: Vec<_> = fs::read_dir(&target).into_iter().flatten().collect();
    assert!(holds.is_empty(), "{holds:?}");
}

fn same(a: &Path, b: &Path) {
    let options = CompareOptions {
        ignore_dir_mtimes: true,
        ..CompareOptions::default()
    };
    assert_same(a, b, &options);
}

#[test]
fn a_key_whose_packs_are_gone_is_a_miss_and_the_next_save_replaces_it() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    delete_packs(&remote_dir(&machine));
    let other = machine.second_machine().unwrap();
    is_lost(&other, "mount");
    is_lost(&other, "copy");
    nobody_finds_it(&other);
    nobody_finds_it(&machine);

    // The original machine and a fresh one both store it completely.
    for saver in [&machine, &other] {
        delete_all(&remote_dir(&machine), "packs");
        nobody_finds_it(&machine);
        clean(strict_json(saver.save("k", &dir)).run().success());
        machine.run(["lookup", "k"]).success();
        let reader = machine.second_machine().unwrap();
        let mount = reader.dir("again");
        reader.restored("k", &mount);
        same(&dir, &mount);
        reader.umount(&mount);
    }
}

fn delete_all(root: &Path, part: &str) {
    for name in objects(root).into_keys() {
        if name.split('/').any(|segment| segment == part) {
            fs::remove_file(root.join(name)).unwrap();
        }
    }
}

#[test]
fn a_key_whose_layers_are_gone_is_a_miss_and_the_next_save_replaces_it() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    delete_all(&remote_dir(&machine), "layers");
    is_lost(&machine, "mount");
    is_lost(&machine, "copy");
    nobody_finds_it(&machine);
    machine.saved("k", &dir);
    let mount = machine.dir("again");
    machine.restored("k", &mount);
    same(&dir, &mount);
    machine.umount(&mount);
}

/// Outside of CI, we remount a dead mount with its changes, but not if reads of it would fail.
#[test]
fn a_dead_mount_whose_packs_are_gone_is_not_mounted_again() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    fs::write(mount.join("new"), "unsaved").unwrap();
    kill_daemon(&machine);
    delete_packs(&remote_dir(&machine));
    let missed = clean(strict_json(machine.restore("k", &mount)).run().success());
    let missed = missed.json();
    assert_eq!(missed["result"], "miss", "{missed}");
    assert_eq!(missed["unsaved_changes"], 1, "{missed}");
    let kept = Path::new(missed["unsaved_moved_to"].as_str().unwrap());
    assert_eq!(fs::read(kept.join("new")).unwrap(), b"unsaved");
    assert!(fs::read_dir(&mount).unwrap().next().is_none());
    assert!(machine.sandbox().mounts().unwrap().is_empty());
}

#[test]
fn a_mount_whose_base_is_lost_is_not_saved_on_top_of_it() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    fs::write(mount.join("new"), "new").unwrap();
    delete_packs(&remote_dir(&machine));
    let save = strict_json(machine.save("k2", &mount)).run();
    let save = save.expect_code(1);
    assert!(save.stderr().contains("lost data of the cache"), "{save}");
    assert!(save.stderr().contains("hint: "), "{save}");
    machine.run(["lookup", "k2"]).expect_code(3);
    machine.umount(&mount);
}

/// We do not check every pack at every restore. But after a read met a lost pack, the next restore
/// on the machine is a miss until the pack is back.
#[test]
fn after_a_read_error_the_next_restore_from_a_bucket_is_a_miss() {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&first);
    first.saved("k", &dir);
    let machine = first.second_machine().unwrap();
    let mount = machine.dir("mount");
    let restore = || machine.restore("k", &mount).args(["--prefetch", "none"]);
    strict_json(restore()).run().success();
    let kept = machine.work().join("kept");
    fs::rename(server.bucket_dir().join("caches/packs"), &kept).unwrap();
    let error = fs::read(mount.join("lib/large")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
    machine.umount(&mount);
    is_lost(&machine, "mount");
    is_lost(&machine, "copy");

    // We cache a failure for a moment, because the kernel retries page by page.
    std::thread::sleep(std::time::Duration::from_millis(300));
    fs::remove_dir_all(server.bucket_dir().join("caches/packs")).ok();
    fs::rename(&kept, server.bucket_dir().join("caches/packs")).unwrap();
    strict_json(restore()).run().success();
    same(&dir, &mount);
    machine.umount(&mount);
}

/// Lifecycle rules delete objects by age, oldest first, with a granularity of days.
#[test]
fn an_old_cache_of_a_bucket_is_checked_before_it_is_shown() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    // We take the age of a layer from the record.
    for name in objects(&server.bucket_dir()).into_keys() {
        let path = server.bucket_dir().join(&name);
        if name.contains("/refs/") {
            let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let created = record["layers"][0]["created"].as_u64().unwrap();
            record["layers"][0]["created"] = (created - 2 * 24 * 3600 * 1_000_000).into();
            fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        }
    }
    fs::remove_dir_all(server.bucket_dir().join("caches/packs")).unwrap();
    is_lost(&machine.second_machine().unwrap(), "mount");
}

#[test]
fn check_repair_drops_the_keys_that_cannot_be_served() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("broken", &dir);
    delete_packs(&remote_dir(&machine));
    let whole = machine.dir("whole");
    fs::write(whole.join("file"), "of its own").unwrap();
    machine.saved("whole", &whole);

    let checked = machine.run(["check"]).expect_code(5);
    let told = checked.stdout();
    assert!(told.contains("needed by broken"), "{told}");
    assert!(told.contains("check --repair"), "{told}");
    let repaired = machine.run(["check", "--repair", "--format", "json"]);
    let repaired: Value = repaired.success().json();
    assert_eq!(repaired["dropped"].as_array().unwrap().len(), 1);
    assert_eq!(repaired["dropped"][0]["key"], "broken", "{repaired}");
    machine.run(["lookup", "broken"]).expect_code(3);
    machine.run(["lookup", "whole"]).success();
    machine.run(["check"]).success();
}

#[test]
fn a_key_whose_packs_are_cut_short_is_a_miss() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    for pack in packs(&remote_dir(&machine)) {
        let file = fs::OpenOptions::new().write(true).open(pack).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
    let other = machine.second_machine().unwrap();
    is_lost(&other, "mount");
    is_lost(&other, "copy");
}

/// Saves a file of random bytes, so that no two chunks are equal.
fn save_random(machine: &Cachefs) -> PathBuf {
    let dir = machine.dir("data");
    let random: Vec<u8> = (0..100_000_u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    fs::write(dir.join("file"), random).unwrap();
    machine.saved("k", &dir);
    dir
}

/// Flips a bit in the data of every pack in a directory.
fn flip_packs(machine: &Cachefs) {
    for pack in packs(&remote_dir(machine)) {
        let mut bytes = fs::read(&pack).unwrap();
        bytes[20] ^= 1;
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, bytes).unwrap();
    }
}

/// A fresh machine restores the content of `dir` from the key.
#[track_caller]
fn is_whole_elsewhere(machine: &Cachefs, dir: &Path) {
    let other = machine.second_machine().unwrap();
    let target = other.dir("restored");
    let copy = other.restore("k", &target).args(["--mode", "copy"]);
    clean(copy.run().success());
    same(dir, &target);
}

#[test]
fn a_machine_that_knows_a_damaged_pack_stores_the_key_whole_after_a_repair() {
    let Some(machine) = machine() else { return };
    let dir = save_random(&machine);
    flip_packs(&machine);
    let repair = ["check", "--all-scopes", "--read-data", "--repair"];
    machine.run(repair).success();
    machine.saved("k", &dir);
    is_whole_elsewhere(&machine, &dir);
}

/// Without a repair, or after a repair that kept the pack because other scopes may need it.
#[test]
fn a_machine_that_read_a_damaged_pack_does_not_refer_to_it_again() {
    let Some(machine) = machine() else { return };
    let dir = save_random(&machine);
    let target = machine.dir("target");
    let copy = || machine.restore("k", &target).args(["--mode", "copy"]);
    let finders: [&dyn Fn(); 3] = [
        &|| {
            let output = clean(copy().run()).expect_code(5);
            assert!(output.stderr().contains("damaged"), "{output}");
        },
        &|| {
            machine.restored("k", &target);
            let error = fs::read(target.join("file")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
            machine.umount(&target);
        },
        &|| {
            machine.run(["check", "--read-data", "--repair"]).success();
        },
    ];
    for (number, find) in finders.into_iter().enumerate() {
        for replaces in [false, true] {
            flip_packs(&machine);
            find();
            if number < 2 {
                let missed = clean(copy().run().success());
                let why = "the remote has damaged data in";
                assert!(missed.stderr().contains(why), "{missed}");
            }
            let save = strict_json(machine.save("k", &dir));
            let save = match replaces {
                true => save.arg("--override"),
                false => save,
            };
            clean(save.run().success());
            is_whole_elsewhere(&machine, &dir);
        }
    }
}
