//! Restores as plain directories: over existing files, and into directories that are partly
//! read-only.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use cachefs_tests::harness::{Cachefs, Invocation};

use crate::support::{Commands, clean, machine, remote_dir, strict_json};

fn copy(machine: &Cachefs, key: &str, path: &Path) -> Invocation {
    machine.restore(key, path).args(["--mode", "copy"])
}

/// Saves a directory with these files under a key.
fn saved(machine: &Cachefs, key: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = machine.dir(&format!("source-{key}"));
    for (name, text) in files {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }
    machine.saved(key, &dir);
    dir
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Lists the files that a key holds.
fn held(machine: &Cachefs, key: &str) -> Vec<String> {
    let dir = machine.dir(&format!("held-{key}"));
    copy(&machine.second_machine().unwrap(), key, &dir)
        .run()
        .success();
    files(&dir)
}

#[test]
fn what_another_key_left_unchanged_goes_and_is_not_saved() {
    let Some(machine) = machine() else { return };
    saved(
        &machine,
        "a",
        &[("only-a", "a"), ("changed", "a"), ("sub/a", "a")],
    );
    saved(&machine, "b", &[("only-b", "b"), ("sub/b", "b")]);
    let path = machine.dir("path");
    strict_json(copy(&machine, "a", &path)).run().success();
    fs::write(path.join("changed"), "by the user").unwrap();
    fs::write(path.join("own"), "of the user").unwrap();
    let over = copy(&machine, "b", &path).run().success();
    assert!(
        over.stderr()
            .contains("removed 3 unchanged entries of key a"),
        "{over}"
    );
    assert_eq!(files(&path), ["changed", "only-b", "own", "sub"]);
    assert_eq!(files(&path.join("sub")), ["b"]);
    machine.saved("b2", &path);
    assert_eq!(held(&machine, "b2"), ["changed", "only-b", "own", "sub"]);

    // A miss removes the restored files again, as it does for a mount.
    copy(&machine, "no-such-key", &path).run().success();
    assert_eq!(files(&path), ["changed", "own"]);
}

#[test]
fn entries_that_a_newer_save_of_the_key_lacks_go_with_the_next_copy() {
    let Some(machine) = machine() else { return };
    saved(&machine, "k", &[("old", "1"), ("stays", "1")]);
    let path = machine.dir("path");
    copy(&machine, "k", &path).run().success();
    let other = machine.second_machine().unwrap();
    let newer = machine.dir("newer");
    fs::write(newer.join("stays"), "2").unwrap();
    strict_json(other.save("k", &newer))
        .arg("--override")
        .run()
        .success();
    copy(&machine, "k", &path).run().success();
    assert_eq!(files(&path), ["stays"]);
    assert_eq!(fs::read_to_string(path.join("stays")).unwrap(), "2");
}

#[test]
fn a_copy_that_could_not_write_everything_is_no_hit_and_is_never_saved() {
    let Some(machine) = machine() else { return };
    saved(&machine, "k", &[("a", "new"), ("b", "new")]);
    let path = machine.dir("path");
    fs::write(path.join("a"), "immutable").unwrap();
    let immutable = |flag: &str| {
        Command::new("chattr")
            .arg(flag)
            .arg(path.join("a"))
            .status()
    };
    if !immutable("+i").is_ok_and(|status| status.success()) {
        cachefs_skip::skip("immutable-files", "this filesystem has none");
        return;
    }
    let outputs = machine.work().join("outputs");
    let soft = copy(&machine, "k", &path)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_OUTPUT", &outputs)
        .run();
    let strict = copy(&machine, "k", &path).arg("--strict-errors").run();
    let save = strict_json(machine.save("k2", &path)).run();
    let again = copy(&machine, "k", &path).run();
    immutable("-i").unwrap();

    let soft = clean(soft).success();
    assert!(
        soft.stderr()
            .contains("1 of 2 entries of key k could not be copied"),
        "{soft}"
    );
    assert!(soft.stderr().contains("CACHE NOT USED"), "{soft}");
    assert!(!soft.stderr().contains("hit"), "{soft}");
    let told = fs::read_to_string(&outputs).unwrap_or_default();
    assert!(!told.contains("true"), "{told}");
    drop(clean(strict).expect_code(1));
    let save = clean(save).expect_code(1);
    assert!(save.stderr().contains("nothing was saved"), "{save}");
    machine.run(["lookup", "k2"]).expect_code(3);

    // Saving is still refused after a successful copy: the directory may contain files from before
    // it.
    drop(clean(again).success());
    let again = copy(&machine, "k", &path).run().success();
    assert_eq!(
        fs::read_to_string(path.join("a")).unwrap(),
        "new",
        "{again}"
    );
    strict_json(machine.save("k2", &path)).run().expect_code(1);
    // A directory that the build recreated belongs to the build.
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("built"), "by the build").unwrap();
    machine.saved("k2", &path);
    assert_eq!(held(&machine, "k2"), ["built"]);
}

/// Go keeps modules in directories that even their owner cannot write to.
#[test]
fn the_users_own_read_only_directories_are_written_to() {
    let Some(machine) = machine() else { return };
    const USER: u32 = 17_171;
    let module = "mod@v1/sub";
    for key in ["one", "two"] {
        let dir = saved(
            &machine,
            &format!("{key}-rw"),
            &[(&format!("{module}/a.go"), key)],
        );
        for name in [module, "mod@v1"] {
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o555)).unwrap();
        }
        machine.saved(key, &dir);
    }
    let own = machine.work().join("own");
    for name in ["own/home", "own/path"] {
        fs::create_dir_all(machine.work().join(name)).unwrap();
        chown(machine.work().join(name), Some(USER), Some(USER)).unwrap();
    }
    let path = own.join("path");
    // Otherwise the binary and the sandbox belong to root.
    let binary = own.join("cachefs");
    fs::copy(machine.binary(), &binary).unwrap();
    let remote = remote_dir(&machine);
    for ancestor in own.ancestors().chain(remote.ancestors()) {
        let metadata = fs::metadata(ancestor).unwrap();
        if ancestor.starts_with(machine.sandbox().path()) {
            let mode = metadata.mode() | 0o055;
            fs::set_permissions(ancestor, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let user = USER.to_string();
    let as_user = |key: &str| {
        copy(&machine, key, &path)
            .with_program(&binary)
            .under(
                "setpriv",
                ["--reuid", &user, "--regid", &user, "--clear-groups"],
            )
            .env("CACHEFS_STORE", own.join("home/store"))
            .arg("--strict-errors")
            .run()
    };
    clean(as_user("one").success());
    // The same without a record of the restored files: the files of `one` block those of `two`.
    fs::remove_dir_all(own.join("home/store/mounts")).unwrap();
    clean(as_user("two").success());
    assert_eq!(
        fs::read_to_string(path.join(module).join("a.go")).unwrap(),
        "two"
    );
    for name in [module, "mod@v1"] {
        assert_eq!(
            fs::metadata(path.join(name)).unwrap().mode() & 0o777,
            0o555,
            "{name}"
        );
    }
}

#[test]
fn a_miss_makes_no_directory() {
    let Some(machine) = machine() else { return };
    for mode in ["mount", "copy"] {
        let path = machine.work().join("not/there").join(mode);
        let miss = machine.restore("nope", &path).args(["--mode", mode]);
        clean(miss.run().success());
        assert!(!machine.work().join("not").exists());
    }
    let exec = machine
        .command(["exec", "--key", "nope", "--path"])
        .arg(machine.work().join("not/there"))
        .args(["--", "true"]);
    let exec = clean(exec.run().success());
    assert!(exec.stderr().contains("no files"), "{exec}");
    assert!(!machine.work().join("not").exists());
    machine.run(["lookup", "nope"]).expect_code(3);
}

/// Runs `sudo cachefs restore`, then the build as the calling user.
#[test]
fn directories_on_the_way_belong_to_the_user_who_called_sudo() {
    let Some(machine) = machine() else { return };
    saved(&machine, "k", &[("a", "a")]);
    for mode in ["mount", "copy"] {
        let home = machine.dir(&format!("home-{mode}"));
        let path = home.join(".m2/repository");
        let restore = machine
            .restore("k", &path)
            .args(["--mode", mode])
            .env("SUDO_UID", "17171")
            .env("SUDO_GID", "18181");
        clean(restore.run().success());
        let made = fs::metadata(home.join(".m2")).unwrap();
        assert_eq!((made.uid(), made.gid()), (17_171, 18_181), "{mode}");
        if mode == "mount" {
            machine.umount(&path);
        }
    }
}

#[test]
fn a_directory_without_files_is_not_saved_unless_asked() {
    let Some(machine) = machine() else { return };
    let path = machine.dir("empty");
    fs::create_dir(path.join("sub")).unwrap();
    let save = clean(strict_json(machine.save("k", &path)).run().success());
    assert_eq!(save.json()["result"], "empty");
    machine.run(["lookup", "k"]).expect_code(3);
    let exec = machine
        .command(["exec", "--key", "k", "--path"])
        .arg(&path)
        .args(["--", "true"]);
    let exec = clean(exec.run().success());
    assert!(exec.stderr().contains("--allow-empty"), "{exec}");
    machine.run(["lookup", "k"]).expect_code(3);
    strict_json(machine.save("k", &path))
        .arg("--allow-empty")
        .run()
        .success();
    machine.run(["lookup", "k"]).success();

    // A mount whose files were all removed is not saved either.
    saved(&machine, "full", &[("a", "a")]);
    let mount = machine.dir("mount");
    machine.restored("full", &mount);
    fs::remove_file(mount.join("a")).unwrap();
    let save = strict_json(machine.save("full", &mount)).run().success();
    assert_eq!(save.json()["result"], "empty");
    machine.umount(&mount);
    assert_eq!(held(&machine, "full"), ["a"]);
}

/// The kernel reuses the inode number of a mount namespace that ended for the next one.
#[test]
fn a_namespace_that_has_ended_leaves_no_record_to_the_next_one() {
    let Some(machine) = machine() else { return };
    saved(&machine, "shared", &[("a", "a"), ("b", "b")]);
    let path = machine.dir("path");
    let in_namespace = |invocation: Invocation, script: &str| {
        let script = format!("mount -t tmpfs none \"$P\" && {script} && exec \"$@\"");
        invocation
            .under(
                "unshare",
                [
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    &script,
                    "sh",
                ],
            )
            .env("P", &path)
            .run()
            .success()
    };
    in_namespace(copy(&machine, "shared", &path), "true");
    let save = strict_json(machine.save("shared", &path));
    let added = in_namespace(save, "echo mine > \"$P/mine\"");
    assert_eq!(added.json()["removed"], 0, "{added}");
    assert_eq!(held(&machine, "shared"), ["a", "b", "mine"]);
}
