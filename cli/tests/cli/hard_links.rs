//! Saves keep the hard links that a mount shows, even if names were moved or removed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cachefs_tests::harness::Cachefs;

use crate::programs::entries;
use crate::support::{Commands, can_mount, clean, machine, strict_json};

/// A named change to a mount.
type Change = (&'static str, fn(&Path));

/// The files that a mount shows: all paths of each file, and its content.
pub(crate) fn files(root: &Path) -> Vec<(Vec<PathBuf>, Vec<u8>)> {
    let mut found: BTreeMap<(u64, u64), Vec<PathBuf>> = BTreeMap::new();
    for (path, metadata) in entries(root) {
        if !metadata.is_dir() {
            let inode = (metadata.dev(), metadata.ino());
            found.entry(inode).or_default().push(path);
        }
    }
    let content = |path: &Path| match fs::read_link(root.join(path)) {
        Ok(target) => target.into_os_string().into_encoded_bytes(),
        Err(_) => fs::read(root.join(path)).unwrap(),
    };
    let mut files: Vec<_> = found
        .into_values()
        .map(|paths| (paths.clone(), content(&paths[0])))
        .collect();
    files.sort();
    files
}

/// Changes that move, remove or replace some names of a file.
fn changes() -> Vec<Change> {
    vec![
        ("a directory is renamed", |root| {
            fs::rename(root.join("app"), root.join("app-2")).unwrap();
        }),
        ("two directories are renamed, one into a new one", |root| {
            fs::create_dir(root.join("deep")).unwrap();
            fs::rename(root.join("app"), root.join("deep/app")).unwrap();
            fs::rename(root.join("store"), root.join("store-2")).unwrap();
        }),
        ("a directory is renamed there and back", |root| {
            fs::rename(root.join("app"), root.join("away")).unwrap();
            fs::rename(root.join("away"), root.join("app")).unwrap();
        }),
        ("a directory is renamed and names in it change", |root| {
            fs::rename(root.join("app"), root.join("app-2")).unwrap();
            fs::remove_file(root.join("app-2/1")).unwrap();
            fs::write(root.join("app-2/2"), "written").unwrap();
            fs::rename(root.join("app-2/3"), root.join("3")).unwrap();
        }),
        ("a name is removed", |root| {
            fs::remove_file(root.join("store/1")).unwrap();
        }),
        ("all names but one are removed", |root| {
            fs::remove_file(root.join("store/1")).unwrap();
            fs::remove_dir_all(root.join("app")).unwrap();
        }),
        ("a name becomes a file of its own", |root| {
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(root.join("store/1"), private).unwrap();
            fs::remove_file(root.join("store/2")).unwrap();
            fs::write(root.join("store/2"), "another").unwrap();
        }),
        (
            "a name is replaced by a directory, a directory by a name",
            |root| {
                fs::remove_file(root.join("store/1")).unwrap();
                fs::create_dir(root.join("store/1")).unwrap();
                fs::remove_dir_all(root.join("app")).unwrap();
                fs::hard_link(root.join("other/2"), root.join("app")).unwrap();
            },
        ),
        ("a directory is made anew", |root| {
            fs::rename(root.join("app"), root.join("app-2")).unwrap();
            fs::create_dir(root.join("app")).unwrap();
            fs::hard_link(root.join("store/3"), root.join("app/new")).unwrap();
        }),
        ("links of symbolic links move", |root| {
            fs::rename(root.join("other"), root.join("other-2")).unwrap();
            fs::remove_file(root.join("store/symbolic")).unwrap();
        }),
    ]
}

#[test]
fn hard_links_are_saved_as_a_mount_shows_them_and_counted() {
    let Some(machine) = machine() else { return };
    let plain = machine.dir("plain");
    for name in ["store", "app", "other"] {
        fs::create_dir(plain.join(name)).unwrap();
    }
    for name in ["1", "2", "3", "symbolic"] {
        let first = plain.join("store").join(name);
        match name {
            "symbolic" => symlink("target", &first).unwrap(),
            _ => fs::write(&first, format!("content {name}")).unwrap(),
        }
        for directory in ["app", "other"] {
            fs::hard_link(&first, plain.join(directory).join(name)).unwrap();
        }
    }
    machine.saved("v1", &plain);
    for (number, (what, change)) in changes().into_iter().enumerate() {
        let mount = machine.dir("mount");
        machine.restored("v1", &mount);
        change(&mount);
        let shown = files(&mount);
        let key = format!("changed-{number}");
        machine.saved(&key, &mount);
        machine.umount(&mount);
        machine.restored(&key, &mount);
        assert_eq!(files(&mount), shown, "{what}");
        let found = entries(&mount);
        for (paths, _) in &shown {
            let links = found[&paths[0]].nlink();
            assert_eq!(links, paths.len() as u64, "{what}: {paths:?}");
        }
        machine.umount(&mount);
        let copy = machine.dir(&format!("copy-{number}"));
        let restore = strict_json(machine.restore(&key, &copy)).arg("--mode");
        clean(restore.arg("copy").run().success());
        assert_eq!(files(&copy), shown, "{what}, copied");
    }
}

/// Saving a directory that was never restored diffs it against the key, and removes nothing.
#[test]
fn a_name_that_only_the_key_has_is_counted_alone() {
    let machine = Cachefs::new().unwrap();
    let plain = machine.dir("plain");
    fs::write(plain.join("a"), "first").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(plain.join("a"), plain.join(name)).unwrap();
    }
    machine.saved("v1", &plain);
    fs::remove_file(plain.join("c")).unwrap();
    let unchanged = machine.saved("v1", &plain);
    assert_eq!(unchanged["layers"], 1, "{unchanged}");
    fs::write(plain.join("a"), "second, by both names").unwrap();
    machine.saved("v1", &plain);
    let copy = machine.dir("copy");
    let restore = strict_json(machine.restore("v1", &copy)).arg("--mode");
    clean(restore.arg("copy").run().success());
    let shown: Vec<(Vec<PathBuf>, Vec<u8>)> = vec![
        (
            vec!["a".into(), "b".into()],
            b"second, by both names".into(),
        ),
        (vec!["c".into()], b"first".into()),
    ];
    assert_eq!(files(&copy), shown);
    if can_mount() {
        let mount = machine.dir("mount");
        machine.restored("v1", &mount);
        let links = ["a", "b", "c"].map(|name| fs::metadata(mount.join(name)).unwrap().nlink());
        assert_eq!(links, [2, 2, 1]);
        machine.umount(&mount);
    }
}
