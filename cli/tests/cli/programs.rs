//! Programs see the same inode numbers, link counts and attributes on a mount as in the saved
//! directory, and work the same.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cachefs_tests::harness::Cachefs;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::hard_links::files;
use crate::support::{Commands, clean, machine, strict_json};

/// Both kinds of mount.
const LOWERS: [&str; 2] = ["auto", "fuse"];

fn mounted(machine: &Cachefs, lower: &str, key: &str) -> PathBuf {
    let mount = machine.dir("mount");
    let restore = strict_json(machine.restore(key, &mount)).arg("--lower");
    clean(
        restore
            .arg(lower)
            .arg("--mode")
            .arg("mount")
            .run()
            .success(),
    );
    mount
}

/// Every entry below a directory, ordered by path.
pub(crate) fn entries(root: &Path) -> BTreeMap<PathBuf, fs::Metadata> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            assert!(entry.ino() < 1 << 32, "{entry:?}");
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            let path = entry.path().strip_prefix(root).unwrap().to_owned();
            found.insert(path, metadata);
        }
    }
    found
}

/// Runs a program, which must succeed; skips with `None` if it is not installed.
fn output_of(program: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            cachefs_skip::skip(program, error);
            return None;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A package in which each file has a second name, as pnpm and uv link files from a store.
fn package(machine: &Cachefs) -> PathBuf {
    let plain = machine.dir("plain");
    for name in ["store", "package"] {
        fs::create_dir(plain.join(name)).unwrap();
    }
    for number in 1..=4 {
        let name = format!("file-{number}");
        fs::write(plain.join("store").join(&name), format!("content {number}")).unwrap();
        fs::hard_link(
            plain.join("store").join(&name),
            plain.join("package").join(&name),
        )
        .unwrap();
    }
    let manifest = r#"{"name":"package","version":"1.0.0"}"#;
    fs::write(plain.join("package/package.json"), manifest).unwrap();
    plain
}

/// Saves a package as two layers; the inodes of the second one are numbered separately.
fn saved_package(machine: &Cachefs) -> PathBuf {
    let plain = package(machine);
    machine.saved("v1", &plain);
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    for root in [&plain, &mount] {
        fs::create_dir(root.join("second")).unwrap();
        fs::write(root.join("second/file"), "of the second layer").unwrap();
        fs::hard_link(root.join("second/file"), root.join("second/link")).unwrap();
    }
    machine.saved("v2", &mount);
    machine.umount(&mount);
    plain
}

#[test]
fn inode_numbers_fit_into_32_bits_and_stay() {
    let Some(machine) = machine() else { return };
    let plain = saved_package(&machine);
    for lower in LOWERS {
        let mount = mounted(&machine, lower, "v2");
        let shown = entries(&mount);
        assert!(shown.keys().eq(entries(&plain).keys()), "{lower}");
        let mut names: HashMap<(u64, u64), Vec<&Path>> = HashMap::new();
        for (path, metadata) in &shown {
            assert!(metadata.ino() < 1 << 32, "{lower}: {path:?}");
            let inode = (metadata.dev(), metadata.ino());
            names.entry(inode).or_default().push(path);
        }
        for (path, metadata) in shown.iter().filter(|(_, metadata)| metadata.is_file()) {
            let names = &names[&(metadata.dev(), metadata.ino())];
            assert_eq!(names.len() as u64, metadata.nlink(), "{lower}: {path:?}");
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_linked = name.starts_with("file") || name == "link";
            assert_eq!(
                names.len(),
                if is_linked { 2 } else { 1 },
                "{lower}: {path:?}"
            );
        }
        // A file with one name keeps its number after a write; all files keep theirs across
        // remounts.
        let file = Path::new("package/package.json");
        fs::write(mount.join(file), "{}").unwrap();
        assert_eq!(
            fs::metadata(mount.join(file)).unwrap().ino(),
            shown[file].ino()
        );
        machine.umount(&mount);
        let mount = mounted(&machine, lower, "v2");
        for (path, metadata) in entries(&mount).iter().filter(|(_, it)| !it.is_dir()) {
            assert_eq!(metadata.ino(), shown[path].ino(), "{lower}: {path:?}");
        }
        machine.umount(&mount);
    }
}

/// For example vendor SDKs, old cross compilers and wine.
#[test]
fn programs_of_32_bits_without_large_file_support_work() {
    let Some(machine) = machine() else { return };
    let source = machine.work().join("look.c");
    fs::write(
        &source,
        r#"
        #include <dirent.h>
        #include <errno.h>
        #include <stdio.h>
        #include <sys/stat.h>
        int main(int count, char **paths) {
            for (int i = 1; i < count; i++) {
                struct stat found;
                if (stat(paths[i], &found)) { perror(paths[i]); return 1; }
                if (!S_ISDIR(found.st_mode)) continue;
                DIR *directory = opendir(paths[i]);
                if (!directory) { perror(paths[i]); return 1; }
                errno = 0;
                while (readdir(directory)) {}
                if (errno) { perror("readdir"); return 1; }
            }
            return 0;
        }"#,
    )
    .unwrap();
    let compiled = Command::new("gcc")
        .args(["-m32", "-o", "look", "look.c"])
        .current_dir(machine.work())
        .output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        return cachefs_skip::skip("gcc-multilib", "no 32-bit compiler is installed");
    }
    saved_package(&machine);
    for lower in LOWERS {
        let mount = mounted(&machine, lower, "v2");
        fs::create_dir(mount.join("new")).unwrap();
        fs::write(mount.join("store/file-1"), "written").unwrap();
        let found = entries(&mount);
        let paths: Vec<_> = found.keys().map(|path| path.to_str().unwrap()).collect();
        let program = machine.work().join("look");
        output_of(program.to_str().unwrap(), &paths, &mount);
        machine.umount(&mount);
    }
}

#[test]
fn npm_packs_the_bytes_of_every_file() {
    let Some(machine) = machine() else { return };
    let plain = saved_package(&machine);
    for lower in LOWERS {
        let mount = mounted(&machine, lower, "v2");
        let packed = machine.dir(&format!("packed-{lower}"));
        let arguments = ["pack", "--silent", "--offline", "--pack-destination"];
        let arguments = [&arguments[..], &[packed.to_str().unwrap()]].concat();
        if output_of("npm", &arguments, &mount.join("package")).is_none() {
            return;
        }
        output_of("tar", &["-xf", "package-1.0.0.tgz"], &packed).unwrap();
        for (path, metadata) in entries(&plain.join("package")) {
            assert!(metadata.is_file());
            assert_eq!(
                fs::read_to_string(packed.join("package").join(&path)).unwrap(),
                fs::read_to_string(plain.join("package").join(&path)).unwrap(),
                "{lower}: {path:?}"
            );
        }
        machine.umount(&mount);
    }
}

/// Files and directories have different device numbers, so a tool that compares the device numbers
/// of files skips them; `docs/mounting.md` lists some. The tools here compare directories.
#[test]
fn tools_that_stay_on_one_filesystem_and_keep_links_copy_everything() {
    let Some(machine) = machine() else { return };
    let plain = saved_package(&machine);
    symlink("store", plain.join("link")).unwrap();
    machine.saved("v3", &plain);
    let groups = |root: &Path| -> Vec<(PathBuf, u64)> {
        let entries = entries(root).into_iter();
        let files = entries.map(|(path, metadata)| {
            let links = if metadata.is_dir() {
                0
            } else {
                metadata.nlink()
            };
            (path, links)
        });
        files.collect()
    };
    for lower in LOWERS {
        let mount = mounted(&machine, lower, "v3");
        // Put some files in the upper and leave some in the lower.
        fs::write(mount.join("store/new"), "new").unwrap();
        fs::hard_link(mount.join("store/new"), mount.join("package/new")).unwrap();
        let wanted = groups(&mount);
        let found = output_of("find", &[".", "-mindepth", "1", "-xdev"], &mount);
        if let Some(found) = found {
            assert_eq!(found.lines().count(), wanted.len(), "{lower}");
        }
        let copies: [(&str, &str, &[&str]); 3] = [
            ("cp", "cp", &["-ax", ".", "TARGET"]),
            ("rsync", "rsync", &["-aHx", "./", "TARGET"]),
            (
                "tar",
                "sh",
                &[
                    "-c",
                    "tar --one-file-system -cf - . | tar -xf - -C \"$1\"",
                    "sh",
                    "TARGET",
                ],
            ),
        ];
        for (name, program, arguments) in copies {
            let target = machine.dir(&format!("{name}-{lower}"));
            let arguments = arguments.iter().map(|argument| match *argument {
                "TARGET" => target.to_str().unwrap(),
                other => other,
            });
            let arguments: Vec<_> = arguments.collect();
            if output_of(program, &arguments, &mount).is_some() {
                assert_eq!(groups(&target), wanted, "{name} of {lower}");
                for (path, _) in wanted.iter().filter(|(path, _)| mount.join(path).is_file()) {
                    let (copy, shown) = (target.join(path), mount.join(path));
                    assert_eq!(
                        fs::read(copy).unwrap(),
                        fs::read(shown).unwrap(),
                        "{path:?}"
                    );
                }
            }
        }
        machine.umount(&mount);
    }
}

/// `EOPNOTSUPP` would make `getfattr` fail and `tar --xattrs` print warnings.
#[test]
fn files_without_attributes_have_none() {
    let Some(machine) = machine() else { return };
    let plain = package(&machine);
    machine.saved("v1", &plain);
    for lower in LOWERS {
        let mount = mounted(&machine, lower, "v1");
        for path in [&mount, &mount.join("store"), &mount.join("store/file-1")] {
            let mut buffer = [0_u8; 100];
            assert_eq!(
                rustix::fs::listxattr(path, &mut buffer[..]),
                Ok(0),
                "{lower}"
            );
            let value = rustix::fs::getxattr(path, "user.none", &mut buffer[..]);
            assert_eq!(value, Err(Errno::NODATA), "{lower}");
        }
        machine.umount(&mount);
    }
}

/// In an image, they extend past the first block, where the other inodes start.
#[test]
fn large_attributes_of_the_root_are_shown() {
    let Some(machine) = machine() else { return };
    let plain = package(&machine);
    // ext4 has no room for more.
    let value: Vec<u8> = (0..3500).map(|byte| byte as u8).collect();
    match rustix::fs::setxattr(&plain, "user.large", &value, XattrFlags::empty()) {
        Ok(()) => {}
        Err(error) => return cachefs_skip::skip("large-xattrs", error),
    }
    machine.saved("v1", &plain);
    for lower in LOWERS {
        let mount = mounted(&machine, lower, "v1");
        let mut buffer = [0_u8; 4096];
        let length = rustix::fs::getxattr(&mount, "user.large", &mut buffer[..]).unwrap();
        assert!(buffer[..length] == value, "{lower}");
        assert_eq!(files(&mount), files(&plain), "{lower}");
        machine.umount(&mount);
    }
}
