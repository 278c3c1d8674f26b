//! Set-user-ID bits, capabilities and device nodes are left out unless requested.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use cachefs_tests::harness::Cachefs;
use cachefs_tests::tree::{Content, Kind, Meta, TreeSpec, xattr};
use serde_json::Value;

use crate::support::{Commands, clean, machine, strict_json};

const ALLOW: &str = "--allow-privileged";

/// `cap_net_raw=ep` in the kernel's binary format.
fn capability() -> Vec<u8> {
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A tree with one of each kind.
fn privileged() -> TreeSpec {
    let file = |seed| Kind::File(Content::new(5000, seed));
    let attributes = [
        ("security.capability", capability()),
        ("trusted.mine", b"1".to_vec()),
        ("user.mine", b"1".to_vec()),
    ];
    let capable = Meta {
        xattrs: attributes.map(|(name, value)| (name.into(), value)).into(),
        ..Meta::mode(0o755)
    };
    let mut spec = TreeSpec::default();
    spec.dir("bin")
        .add("bin/su", file(1), Meta::mode(0o4755))
        .add("bin/wall", file(2), Meta::mode(0o2755))
        .add("bin/ping", file(3), capable)
        .dir("dev")
        .add("dev/disk", Kind::BlockDevice(259, 0), Meta::mode(0o666))
        .add("dev/mem", Kind::CharDevice(1, 1), Meta::mode(0o666))
        .add("group", Kind::Dir, Meta::mode(0o2775))
        .add("fifo", Kind::Fifo, Meta::mode(0o622))
        .file("plain", 100, 4);
    spec
}

fn saved_machine() -> Option<Cachefs> {
    let machine = machine()?;
    let dir = machine.dir("privileged");
    privileged().build(&dir).unwrap();
    machine.saved("v1", &dir);
    Some(machine)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn attributes(path: &Path) -> Vec<String> {
    let all: BTreeMap<_, _> = xattr::all(path).unwrap();
    all.into_keys()
        .map(|name| name.into_string().unwrap())
        .collect()
}

#[track_caller]
fn assert_harmless(root: &Path) {
    assert_eq!(mode(&root.join("bin/su")), 0o755);
    assert_eq!(mode(&root.join("bin/wall")), 0o755);
    assert_eq!(attributes(&root.join("bin/ping")), ["user.mine"]);
    assert_eq!(fs::read_dir(root.join("dev")).unwrap().count(), 0);
    for name in ["dev/disk", "dev/mem"] {
        let error = fs::symlink_metadata(root.join(name)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{name}");
    }
    // Harmless modes are unchanged.
    assert_eq!(mode(&root.join("group")), 0o2775);
    assert_eq!(mode(&root.join("fifo")), 0o622);
    assert_eq!(fs::read(root.join("bin/su")).unwrap().len(), 5000);
}

#[track_caller]
fn assert_whole(root: &Path) {
    assert_eq!(mode(&root.join("bin/su")), 0o4755);
    assert_eq!(mode(&root.join("bin/wall")), 0o2755);
    let names = attributes(&root.join("bin/ping"));
    assert_eq!(names, ["security.capability", "trusted.mine", "user.mine"]);
    let disk = fs::symlink_metadata(root.join("dev/disk")).unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), rustix::fs::makedev(259, 0));
    assert!(root.join("dev/mem").exists());
}

/// Restores with one of the supported modes.
fn restore(machine: &Cachefs, key: &str, path: &Path, way: &str, more: &[&str]) -> Value {
    let (mode, lower) = match way {
        "copy" => ("copy", "auto"),
        "image" => ("mount", "auto"),
        _ => ("mount", "fuse"),
    };
    let restore = strict_json(machine.restore(key, path));
    let restore = restore.args(["--mode", mode, "--lower", lower]).args(more);
    clean(restore.run().success()).json()
}

#[test]
fn nothing_that_lends_rights_is_shown_unless_asked_for() {
    let Some(machine) = saved_machine() else {
        return;
    };
    for way in ["image", "fuse", "copy"] {
        println!("{way}");
        let second = machine.second_machine().unwrap();
        let (without, with) = (second.dir("without"), second.dir("with"));
        restore(&second, "v1", &without, way, &[]);
        assert_harmless(&without);
        restore(&second, "v1", &with, way, &[ALLOW]);
        assert_whole(&with);
        if way != "copy" {
            second.umount(&with);
            second.umount(&without);
        }
    }
}

#[test]
fn saving_what_was_not_shown_takes_nothing_away() {
    let Some(machine) = saved_machine() else {
        return;
    };
    for way in ["image", "fuse", "copy"] {
        println!("{way}");
        let second = machine.second_machine().unwrap();
        let dir = second.dir("dir");
        restore(&second, "v1", &dir, way, &[]);
        let unchanged = second.saved("v1", &dir);
        assert_eq!(unchanged["result"], "unchanged", "{unchanged}");
        // Add a file next to them, and change a file that was shown without its bits.
        fs::write(dir.join("dev/new"), "new").unwrap();
        fs::write(dir.join("bin/wall"), "changed").unwrap();
        let key = format!("v2-{way}");
        second.saved(&key, &dir);
        if way != "copy" {
            second.umount(&dir);
        }
        let third = machine.second_machine().unwrap();
        let whole = third.dir("whole");
        restore(&third, &key, &whole, way, &[ALLOW]);
        assert_eq!(mode(&whole.join("bin/su")), 0o4755);
        assert!(whole.join("dev/disk").exists() && whole.join("dev/new").exists());
        // A file that the job wrote keeps the mode that the job saw.
        assert_eq!(mode(&whole.join("bin/wall")), 0o755);
        if way != "copy" {
            third.umount(&whole);
        }
    }
}

#[test]
fn a_mount_is_made_anew_when_more_is_asked_for() {
    let Some(machine) = saved_machine() else {
        return;
    };
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    assert_harmless(&mount);
    let again = restore(&machine, "v1", &mount, "image", &[ALLOW]);
    assert_eq!(again["result"], "mounted", "{again}");
    assert_whole(&mount);
}

#[test]
fn an_archive_has_what_a_restore_shows() {
    let Some(machine) = saved_machine() else {
        return;
    };
    for (name, more) in [("without.tar", &[][..]), ("with.tar", &[ALLOW])] {
        let archive = machine.work().join(name);
        let export = machine.command(["export", "--key", "v1", "--output"]);
        export.arg(&archive).args(more).run().success();
        let dir = machine.dir(&format!("{name}.d"));
        let tar = cachefs_tests::harness::Invocation::new("/bin/tar", ["-xp", "-f"]);
        let tar = tar.arg(&archive).arg("-C").arg(&dir);
        tar.arg("--xattrs")
            .arg("--xattrs-include=*")
            .run()
            .success();
        match more.is_empty() {
            true => assert_harmless(&dir),
            false => assert_whole(&dir),
        }
    }
}
