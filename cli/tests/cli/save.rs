//! Saves store exactly the changes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use cachefs_tests::tree::{CompareOptions, assert_same};
use serde_json::Value;

use crate::support::{
    Commands, clean, machine, objects, packs, remote_dir, sample, sample_dir, strict_json,
};

fn counts(saved: &Value) -> [u64; 3] {
    ["added", "modified", "removed"].map(|name| saved[name].as_u64().unwrap())
}

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn nothing_changed_means_nothing_saved() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let before = objects(&remote_dir(&machine));
    assert_eq!(machine.saved("v1", &dir)["result"], "unchanged");
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let output = machine.save("v1", &mount).run().success();
    assert!(output.stderr().contains("nothing to save"), "{output}");
    assert_eq!(objects(&remote_dir(&machine)), before);
}

#[test]
fn files_copied_up_without_a_change_are_dropped() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let before = objects(&remote_dir(&machine));
    // Opening a file for writing is enough to copy it up.
    let large = mount.join("lib/large");
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&large)
        .unwrap();
    // Rewriting the same bytes also copies it up, even if the time is restored.
    let medium = mount.join("lib/medium");
    let time = fs::metadata(&medium).unwrap().modified().unwrap();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&medium)
        .unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    file.rewind().unwrap();
    file.write_all(&bytes).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    assert_eq!(machine.saved("v1", &mount)["result"], "unchanged");
    assert_eq!(objects(&remote_dir(&machine)), before);
}

#[test]
fn a_touched_file_costs_metadata_only() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let before = packs(&remote_dir(&machine));
    let large = File::options()
        .write(true)
        .open(mount.join("lib/large"))
        .unwrap();
    large
        .set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5))
        .unwrap();
    drop(large);
    let saved = machine.saved("v1", &mount);
    assert_eq!(counts(&saved), [0, 1, 0], "{saved}");
    assert_eq!(number(&saved, "new_raw_bytes"), 0, "{saved}");
    assert!(number(&saved, "new_bytes") < 5000, "{saved}");
    assert_eq!(packs(&remote_dir(&machine)), before);
}

#[test]
fn the_time_of_a_directory_alone_makes_no_layer() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let (mount, other) = (machine.dir("mount"), machine.dir("other"));
    machine.restored("v1", &mount);
    for dir in [mount.clone(), mount.join("lib")] {
        fs::write(dir.join("temporary"), "").unwrap();
        fs::remove_file(dir.join("temporary")).unwrap();
    }
    let saved = machine.saved("v2", &mount);
    assert_eq!(counts(&saved), [0, 0, 0], "{saved}");
    assert_eq!(saved["layers"], 1, "{saved}");
    machine.restored("v2", &other);
    let options = CompareOptions {
        ignore_dir_mtimes: true,
        ..CompareOptions::default()
    };
    assert_same(&mount, &other, &options);
}

#[test]
fn removed_renamed_and_replaced_entries() {
    let Some(machine) = machine() else { return };
    let plain = sample_dir(&machine);
    machine.saved("v1", &plain);
    let other = machine.second_machine().unwrap();
    let mount = other.dir("mount");
    other.restored("v1", &mount);
    for root in [&plain, &mount] {
        fs::remove_file(root.join("settings.xml")).unwrap();
        fs::remove_dir_all(root.join("docs")).unwrap();
        fs::rename(root.join("lib"), root.join("lib-renamed")).unwrap();
        fs::write(root.join("lib"), "a file where a directory was").unwrap();
        fs::rename(root.join("lib-renamed/inner"), root.join("inner")).unwrap();
        fs::write(root.join("inner/more"), "more").unwrap();
    }
    let saved = other.saved("v2", &mount);
    // The moved directories hold 2.3 MB, but only a few dozen bytes and the layer are new.
    assert!(number(&saved, "new_raw_bytes") < 100, "{saved}");
    assert!(number(&saved, "new_bytes") < 5000, "{saved}");
    let third = machine.second_machine().unwrap();
    let (mount, copy) = (third.dir("mount"), third.dir("copy"));
    third.restored("v2", &mount);
    let copied = strict_json(third.restore("v2", &copy))
        .arg("--mode")
        .arg("copy");
    clean(copied.run().success());
    for root in [&mount, &copy] {
        let options = CompareOptions {
            // We changed the two trees separately, a moment apart.
            ignore_dir_mtimes: true,
            ignore: vec!["lib".into(), "inner/more".into()],
            ..CompareOptions::default()
        };
        assert_same(&plain, root, &options);
        assert_eq!(
            fs::read(root.join("lib")).unwrap(),
            b"a file where a directory was"
        );
        assert_eq!(fs::read(root.join("inner/more")).unwrap(), b"more");
    }
}

#[test]
fn a_directory_made_anew_costs_what_differs() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::remove_dir_all(mount.join("lib")).unwrap();
    let again = machine.dir("again");
    sample().build(&again).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([again.join("lib"), mount.join("lib")])
        .status();
    assert!(copied.unwrap().success());
    fs::remove_file(mount.join("lib/inner/small")).unwrap();
    fs::write(mount.join("lib/inner/other"), "other").unwrap();
    let saved = machine.saved("v2", &mount);
    assert_eq!(counts(&saved), [1, 0, 1], "{saved}");
    assert!(number(&saved, "new_raw_bytes") < 100, "{saved}");
    machine.umount(&mount);
    machine.restored("v2", &mount);
    assert!(!mount.join("lib/inner/small").exists());
    assert_eq!(fs::read(mount.join("lib/inner/other")).unwrap(), b"other");
    assert_eq!(
        fs::metadata(mount.join("lib/large")).unwrap().len(),
        2_000_000
    );
}

#[test]
fn a_later_save_of_a_mount_replaces_the_earlier_one() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    fs::write(mount.join("first"), "1").unwrap();
    assert_eq!(number(&machine.saved("v2", &mount), "layers"), 2);
    fs::write(mount.join("second"), "2").unwrap();
    fs::remove_file(mount.join("first")).unwrap();
    assert_eq!(number(&machine.saved("v2", &mount), "layers"), 2);
    machine.umount(&mount);
    machine.restored("v2", &mount);
    assert!(mount.join("second").exists() && !mount.join("first").exists());
    // The other key never had these files.
    machine.umount(&mount);
    machine.restored("v1", &mount);
    assert!(!mount.join("second").exists());
}

#[test]
fn deep_stacks_are_squashed_and_read_the_same() {
    let Some(machine) = machine() else { return };
    let plain = machine.dir("plain");
    sample().build(&plain).unwrap();
    machine.saved("v0", &plain);
    let mount = machine.dir("mount");
    let (mut squashed, mut deepest) = (0, 0);
    for round in 1..=20 {
        machine.restored(&format!("v{}", round - 1), &mount);
        for root in [&plain, &mount] {
            fs::write(root.join(format!("new-{round}")), format!("{round}")).unwrap();
            fs::remove_file(root.join(format!("docs/{round}"))).unwrap();
            fs::write(root.join("settings.xml"), format!("settings {round}")).unwrap();
        }
        let saved = machine.saved(&format!("v{round}"), &mount);
        squashed += u64::from(!saved["squashed"].is_null());
        deepest = deepest.max(number(&saved, "layers"));
        machine.umount(&mount);
    }
    assert!(
        squashed > 0 && deepest <= 17,
        "{squashed} squashes, {deepest} layers"
    );
    let reader = machine.second_machine().unwrap();
    let mount = reader.dir("mount");
    reader.restored("v20", &mount);
    let names = |root: &Path| {
        let mut names: Vec<_> = fs::read_dir(root)
            .unwrap()
            .chain(fs::read_dir(root.join("docs")).unwrap())
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&plain), names(&mount));
    assert_same(
        &plain.join("lib"),
        &mount.join("lib"),
        &CompareOptions::default(),
    );
    assert_eq!(
        fs::read(mount.join("settings.xml")).unwrap(),
        b"settings 20"
    );
    assert_eq!(fs::read(mount.join("new-1")).unwrap(), b"1");
}

#[test]
fn layers_of_several_keys_stack() {
    let Some(machine) = machine() else { return };
    let (base, branch, job) = (
        machine.dir("base"),
        machine.dir("branch"),
        machine.dir("job"),
    );
    for (dir, name) in [(&base, "base"), (&branch, "branch"), (&job, "job")] {
        fs::write(dir.join(name), name).unwrap();
        fs::write(dir.join("shared"), name).unwrap();
        machine.saved(name, dir);
    }
    let mount = machine.dir("mount");
    let restore = machine.restore("job", &mount);
    let stacked = restore
        .arg("--layer")
        .arg("base=base")
        .arg("--layer")
        .arg("branch=branch");
    let restored = strict_json(stacked.clone()).run().success().json();
    assert_eq!(number(&restored, "layers"), 3, "{restored}");
    for name in ["base", "branch", "job"] {
        assert!(mount.join(name).exists(), "{name}");
    }
    assert_eq!(fs::read(mount.join("shared")).unwrap(), b"job");
    fs::write(mount.join("on-top"), "on top").unwrap();
    let saved = machine.saved("result", &mount);
    assert_eq!(
        (number(&saved, "layers"), counts(&saved)),
        (4, [1, 0, 0]),
        "{saved}"
    );
    machine.umount(&mount);
    machine.restored("result", &mount);
    for name in ["base", "branch", "job", "on-top"] {
        assert!(mount.join(name).exists(), "{name}");
    }
}

#[test]
fn a_missing_key_over_layers_that_are_there_still_gives_the_layers() {
    let Some(machine) = machine() else { return };
    machine.saved("base", &sample_dir(&machine));
    let mount = machine.dir("mount");
    let restore = strict_json(machine.restore("none", &mount));
    let restored = restore
        .arg("--layer")
        .arg("base=base")
        .run()
        .success()
        .json();
    assert_eq!(
        (&restored["match"], &restored["result"]),
        (&"miss".into(), &"mounted".into())
    );
    assert!(mount.join("lib/large").exists());
}

#[test]
fn data_is_shared_by_all_keys() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let save_in = |scope: &str, key: &str, dir: &Path| {
        let save = machine.save(key, dir).arg("--scope").arg(scope);
        strict_json(save).run().success().json()
    };
    let first = save_in("branch/main", "one", &dir);
    let stored = packs(&remote_dir(&machine));
    let second = save_in("branch/main", "two", &dir);
    assert_eq!(number(&second, "new_raw_bytes"), 0, "{second}");
    assert!(
        number(&second, "new_bytes") * 50 < number(&first, "new_bytes"),
        "{second}"
    );
    // The same data elsewhere, under other names, in a branch that falls back to main.
    let moved = machine.dir("moved/deeper");
    fs::rename(&dir, moved.join("renamed")).unwrap();
    let third = machine
        .save("three", &moved)
        .env("CACHEFS_BRANCH", "topic")
        .env("CACHEFS_DEFAULT_BRANCH", "main");
    let third = strict_json(third).run().success().json();
    assert_eq!(third["scope"], "branch/topic");
    assert_eq!(number(&third, "new_raw_bytes"), 0, "{third}");
    assert_eq!(packs(&remote_dir(&machine)), stored);
    // A scope that does not restore from main must not trust packs that main stored.
    let other = save_in("other", "four", &moved);
    assert!(number(&other, "new_raw_bytes") > 0, "{other}");
}

#[test]
fn a_dry_run_stores_nothing() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let before = objects(&remote_dir(&machine));
    fs::write(dir.join("more"), vec![7; 50_000]).unwrap();
    let dry = strict_json(machine.save("v2", &dir))
        .arg("--dry-run")
        .run()
        .success()
        .json();
    assert_eq!(
        (&dry["result"], &dry["layers"]),
        (&"would_save".into(), &1.into()),
        "{dry}"
    );
    assert_eq!(objects(&remote_dir(&machine)), before);
}

#[test]
fn a_remote_that_was_emptied_is_filled_again() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    // The index of this machine still lists every chunk.
    let remote = remote_dir(&machine);
    fs::remove_dir_all(remote.join("packs")).unwrap();
    fs::remove_dir_all(remote.join("refs")).unwrap();
    machine.saved("v2", &dir);
    let reader = machine.second_machine().unwrap();
    let mount = reader.dir("mount");
    reader.restored("v2", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
}

#[test]
fn a_copy_is_compared_with_what_it_was_restored_from() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let copy = machine.dir("copy");
    let restore = strict_json(machine.restore("v1", &copy))
        .arg("--mode")
        .arg("copy");
    clean(restore.run().success());
    assert_eq!(machine.saved("v1", &copy)["result"], "unchanged");
    fs::remove_file(copy.join("docs/1")).unwrap();
    fs::write(copy.join("new"), "new").unwrap();
    let saved = machine.saved("v2", &copy);
    assert_eq!(counts(&saved), [1, 0, 1], "{saved}");
    let mount = machine.dir("mount");
    machine.restored("v2", &mount);
    assert_same(&copy, &mount, &CompareOptions::default());
}
