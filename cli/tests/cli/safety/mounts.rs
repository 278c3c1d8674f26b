//! Mounts grant no privileges, whatever a job writes to them.

use std::fs;
use std::path::Path;

use cachefs_tests::harness::Cachefs;

use crate::support::{Commands, machine, sample_dir};

/// The options of every mount below a directory, from a mount table.
fn options<'a>(table: &'a str, below: &'a Path) -> impl Iterator<Item = (&'a str, &'a str)> {
    let below = below.to_str().unwrap();
    table.lines().filter_map(move |line| {
        let fields: Vec<_> = line.split(' ').collect();
        fields[4].starts_with(below).then(|| (fields[4], fields[5]))
    })
}

#[track_caller]
fn assert_harmless(table: &str, below: &Path, count: usize) {
    let found: Vec<_> = options(table, below).collect();
    assert_eq!(found.len(), count, "{found:?}");
    for (path, options) in found {
        let has = |option| options.split(',').any(|found| found == option);
        assert!(has("nosuid") && has("nodev"), "{path} is {options}");
    }
}

fn saved_machine() -> Option<Cachefs> {
    let machine = machine()?;
    machine.saved("v1", &sample_dir(&machine));
    Some(machine)
}

#[test]
fn all_mounts_of_root_are_nosuid_and_nodev() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let image = if cachefs::sys::erofs_mount::is_likely() {
        3
    } else {
        2
    };
    for (lower, count) in [("auto", image), ("fuse", 2)] {
        let mount = machine.dir(lower);
        let restore = machine.restore("v1", &mount).arg("--allow-privileged");
        restore.args(["--lower", lower]).run().success();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_harmless(&table, machine.sandbox().path(), count);
        machine.umount(&mount);
    }
}

#[test]
fn so_are_those_of_a_user_namespace() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    let script = r#"
        "$0" "$@" || exit 7
        cat /proc/self/mountinfo
        "$0" umount --all 1>&2
        "$0" daemon stop 1>&2"#;
    let restore = machine.restore("v1", &mount).arg("--allow-privileged");
    let restore = restore.args(["--mode", "mount", "--strict-errors"]);
    let output = restore
        .under("/usr/bin/unshare", ["-Urm", "sh", "-c", script])
        .run();
    if output.code() == Some(1) && output.stderr().contains("unshare failed") {
        cachefs_skip::skip("userns", "no user namespaces here");
        return;
    }
    let output = output.success();
    assert_harmless(&output.stdout(), machine.sandbox().path(), 2);
}
