//! Caches that are shown with another owner, and saves from them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use cachefs_tests::harness::{Cachefs, Invocation};
use cachefs_tests::tree::arbitrary::{TreeOptions, trees};
use cachefs_tests::tree::{CompareOptions, assert_same, compare};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::support::{Commands, clean, machine, strict_json};

/// A user that exists on no machine, so that it owns nothing by chance.
const OWNER: (u32, u32) = (17_171, 18_181);
/// The same as a command-line argument.
const OWNER_TEXT: &str = "17171:18181";

/// The ways to show a cache, as options of `restore`.
const WAYS: [&[&str]; 3] = [
    &["--mode", "mount"],
    &["--mode", "mount", "--lower", "fuse"],
    &["--mode", "copy"],
];

fn shown(machine: &Cachefs, key: &str, path: &Path, options: &[&str]) -> Value {
    let restore = machine.restore(key, path).args(["--owner", OWNER_TEXT]);
    clean(strict_json(restore.args(options)).run().success()).json()
}

/// Runs a command as the owner, with no supplementary groups.
fn as_owner(script: &str, dir: &Path) -> Invocation {
    let (uid, gid) = (OWNER.0.to_string(), OWNER.1.to_string());
    Invocation::new(
        "setpriv",
        ["--reuid", &uid, "--regid", &gid, "--clear-groups"],
    )
    .args(["sh", "-euc", script])
    .env("PATH", "/usr/bin:/bin")
    .cwd(dir)
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = path.symlink_metadata().unwrap();
    (metadata.uid(), metadata.gid())
}

/// Lists a directory and everything below it.
fn everything(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found
}

/// Directories and files of several owners: 0 for the root of the cache, and 5:6, 33:33 and 7:8
/// below it.
fn mixed(machine: &Cachefs) -> PathBuf {
    let dir = machine.dir("mixed");
    for name in ["lib", "web/inner"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    for (name, uid, gid) in [
        ("lib/a", 0, 0),
        ("web/page", 33, 33),
        ("web/inner/part", 33, 0),
        ("tool", 7, 8),
    ] {
        fs::write(dir.join(name), name).unwrap();
        chown(dir.join(name), Some(uid), Some(gid)).unwrap();
    }
    chown(dir.join("web"), Some(33), Some(33)).unwrap();
    // We set the mode after the owner, because chown clears set-user-ID.
    fs::set_permissions(dir.join("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::hard_link(dir.join("web/page"), dir.join("web/same")).unwrap();
    std::os::unix::fs::symlink("lib/a", dir.join("link")).unwrap();
    lchown(dir.join("link"), Some(5), Some(6)).unwrap();
    dir
}

#[test]
fn everything_belongs_to_the_owner_and_nothing_has_changed() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &mixed(&machine));
    let plain = machine.dir("plain");
    machine.restored("v1", &plain);
    let mode = |path: &Path| fs::metadata(path.join("tool")).unwrap().mode() & 0o7777;
    for (number, way) in WAYS.iter().enumerate() {
        let path = machine.dir(&format!("shown-{number}"));
        shown(&machine, "v1", &path, way);
        for path in everything(&path) {
            assert_eq!(owner(&path), OWNER, "{path:?} {way:?}");
        }
        if way.contains(&"copy") {
            // Set-user-ID would grant the new owner's rights instead of the original owner's.
            assert_eq!(mode(&path), 0o755);
            continue;
        }
        assert_eq!(mode(&path), mode(&plain), "{way:?}");
        assert_eq!(machine.saved("v1", &path)["result"], "unchanged", "{way:?}");
    }
}

#[test]
fn what_the_owner_does_is_saved_as_if_those_it_was_saved_from_had_done_it() {
    let Some(machine) = machine() else { return };
    let dir = mixed(&machine);
    machine.saved("v1", &dir);
    for (number, way) in WAYS[..2].iter().enumerate() {
        let path = machine.dir(&format!("shown-{number}"));
        shown(&machine, "v1", &path, way);
        let script = "echo more >> web/page; echo new > web/new; mkdir -p fresh/deep; \
             echo x > fresh/deep/file; chmod 640 lib/a; mv web/inner web/moved; rm link; \
             ln -s elsewhere link; ln web/new web/again";
        as_owner(script, &path).run().success();
        // A file that the job gave to a third user on purpose.
        fs::write(path.join("given"), "x").unwrap();
        chown(path.join("given"), Some(99), Some(OWNER.1)).unwrap();
        let key = format!("v2-{number}");
        machine.saved(&key, &path);

        let later = machine.second_machine().unwrap();
        let target = later.dir("later");
        later.restored(&key, &target);
        for (name, expected) in [
            ("", (0, 0)),
            ("lib/a", (0, 0)),
            ("web", (33, 33)),
            ("web/page", (33, 33)),
            ("web/new", (0, 0)),
            ("web/again", (0, 0)),
            ("web/moved", (0, 0)),
            ("web/moved/part", (33, 0)),
            ("fresh/deep/file", (0, 0)),
            ("link", (5, 6)),
            ("tool", (7, 8)),
            ("given", (99, 0)),
        ] {
            assert_eq!(owner(&target.join(name)), expected, "{name:?} {way:?}");
        }
        assert!(
            fs::read_to_string(target.join("web/page"))
                .unwrap()
                .ends_with("more\n")
        );
    }
}

#[test]
fn any_tree_is_shown_whole_and_comes_back_as_it_was() {
    let Some(first) = machine() else { return };
    let first = first.with_env("CACHEFS_ALLOW_EMPTY", "true");
    let config = Config {
        cases: 12,
        ..Config::default()
    };
    let options = TreeOptions {
        // Sockets are not saved.
        special: false,
        ..TreeOptions::default()
    };
    let trees_so_far = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&trees(options), |tree| {
        let number = trees_so_far.get();
        trees_so_far.set(number + 1);
        let dir = first.dir(&format!("tree-{number}"));
        tree.build(&dir).unwrap();
        let key = format!("tree-{number}");
        first.saved(&key, &dir);
        let plain = first.dir(&format!("plain-{number}"));
        first.restored(&key, &plain);
        for way in &WAYS[..2] {
            let path = first.dir(&format!("shown-{number}"));
            shown(&first, &key, &path, way);
            let differences = compare(&plain, &path, &CompareOptions::default()).unwrap();
            let others: Vec<_> = differences
                .iter()
                .filter(|found| !found.what.starts_with("uid") && !found.what.starts_with("gid"))
                .collect();
            prop_assert!(others.is_empty(), "{others:?}");
            for path in everything(&path) {
                prop_assert_eq!(owner(&path), OWNER);
            }
            let saved = first.saved(&key, &path);
            prop_assert_eq!(&saved["result"], "unchanged");
            // Change something, so that the save builds a layer from the copied-up files.
            fs::write(path.join("added by a job"), "x").unwrap();
            let changed = format!("{key}-changed");
            first.saved(&changed, &path);
            first.umount(&path);
            let target = first.dir(&format!("later-{number}"));
            first.restored(&changed, &target);
            let options = CompareOptions {
                ignore: vec!["added by a job".into()],
                ignore_dir_mtimes: true,
                ..CompareOptions::default()
            };
            assert_same(&plain, &target, &options);
            first.umount(&target);
        }
        first.umount(&plain);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn the_owner_outlives_the_daemon() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &mixed(&machine));
    let path = machine.dir("shown");
    shown(
        &machine,
        "v1",
        &path,
        &["--mode", "mount", "--lower", "fuse"],
    );
    as_owner("echo x > web/new", &path).run().success();
    machine.run(["daemon", "stop", "--force"]).success();
    // The repaired mount has the changes.
    shown(
        &machine,
        "v1",
        &path,
        &["--mode", "mount", "--lower", "fuse"],
    );
    for path in everything(&path) {
        assert_eq!(owner(&path), OWNER, "{path:?}");
    }
    assert_eq!(fs::read_to_string(path.join("web/new")).unwrap(), "x\n");
}

#[test]
fn the_owner_can_be_a_setting_or_a_variable() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &mixed(&machine));
    let path = machine.dir("shown");
    let file = "owner = 5\n[cache.one]\nkey = \"v1\"\npath = \"shown\"\nowner = \"17171:18181\"\n";
    fs::write(machine.work().join("cachefs.toml"), file).unwrap();
    machine.run(["restore", "--strict-errors"]).success();
    assert_eq!(owner(&path.join("tool")), OWNER);
    machine.umount(&path);

    let restore = machine.restore("v1", &path).env("CACHEFS_OWNER", "1:2");
    restore.run().success();
    assert_eq!(owner(&path.join("tool")), (1, 2));
    // A different owner needs a different mount.
    let other = shown(&machine, "v1", &path, &["--mode", "mount"]);
    assert_eq!(other["result"], "mounted", "{other}");
    assert_eq!(owner(&path.join("tool")), OWNER);
    let same = shown(&machine, "v1", &path, &["--mode", "mount"]);
    assert_eq!(same["result"], "already_mounted", "{same}");

    let wrong = machine.restore("v1", &path).args(["--owner", "root"]);
    wrong
        .run()
        .expect_code(2)
        .stderr_has("in numbers, such as 1000:1000");
}

#[test]
fn an_ordinary_users_copy_is_the_users_and_saves_nothing_of_that() {
    let Some(machine) = machine() else { return };
    let dir = mixed(&machine);
    // A copy with another owner leaves out set-user-ID files.
    fs::remove_file(dir.join("tool")).unwrap();
    machine.saved("v1", &dir);
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let remote = home.path().join("remote");
    let copied = Command::new("cp")
        .args(["-r", machine.remote().strip_prefix("file://").unwrap()])
        .arg(&remote)
        .status();
    assert!(copied.unwrap().success());
    let binary = home.path().join("cachefs");
    fs::copy(machine.binary(), &binary).unwrap();
    for path in everything(home.path()) {
        chown(path, Some(OWNER.0), Some(OWNER.1)).unwrap();
    }
    let script =
        "cachefs() { ./cachefs \"$@\" --store store --remote \"file://$PWD/remote\" --no-config \
         --strict-errors --format json; }
         cachefs restore --key v1 --path copy --mode copy >/dev/null
         cachefs save --key v1 --path copy";
    let saved = as_owner(script, home.path()).env("HOME", home.path()).run();
    let saved = saved.success().json();
    assert_eq!(saved["result"], "unchanged", "{saved}");
    for path in everything(&home.path().join("copy")) {
        assert_eq!(owner(&path), OWNER);
    }
    let script = "./cachefs restore --store store --remote \"file://$PWD/remote\" --no-config \
         --key v1 --path other --mode copy --owner 0";
    let refused = as_owner(script, home.path()).run();
    refused
        .expect_code(2)
        .stderr_has("cannot change the owner of files to 0:0");
}
