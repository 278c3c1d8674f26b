//! Shared helpers: a machine with a saved cache, and checks of the changes that containers made.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_tests::engines::{HOST_VOLUMES, User};
use cachefs_tests::harness::{Cachefs, Invocation};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

/// No arguments for an engine.
pub(crate) const NONE: [&str; 0] = [];

/// Arguments that allow a container to mount.
pub(crate) const MAY_MOUNT: [&str; 4] = ["--device", "/dev/fuse", "--cap-add", "SYS_ADMIN"];

/// The key that [`machine`] saved.
pub(crate) const KEY: &str = "m2-v1";

/// A machine that can mount and has saved a small cache as [`KEY`]: `pom` with `saved`, and
/// `org/deep` with `deep`.
pub(crate) fn machine() -> Option<Cachefs> {
    let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        cachefs_skip::skip("mount", "mounting needs root and /dev/fuse");
        return None;
    }
    let machine = Cachefs::new().unwrap();
    let filled = machine.work().join("filled");
    fill(&filled);
    let save = machine.command(["save", "--strict-errors", "--key", KEY, "--path"]);
    save.arg(&filled).run().success();
    Some(machine)
}

/// Writes the files of [`KEY`].
pub(crate) fn fill(dir: &Path) {
    fs::create_dir_all(dir.join("org")).unwrap();
    fs::write(dir.join("pom"), "saved").unwrap();
    fs::write(dir.join("org/deep"), "deep").unwrap();
}

/// Restores [`KEY`] as a mount at a directory of the machine.
#[track_caller]
pub(crate) fn restored(machine: &Cachefs, name: &str) -> PathBuf {
    let path = machine.work().join(name);
    let restore = machine.command([
        "restore",
        "--strict-errors",
        "--mode",
        "mount",
        "--key",
        KEY,
    ]);
    let told = restore.arg("--path").arg(&path).run().success();
    told.stderr_has("mounted at");
    path
}

/// Saves a directory of the machine.
#[track_caller]
pub(crate) fn saved(machine: &Cachefs, key: &str, path: &Path) {
    let save = machine.command(["save", "--strict-errors", "--key", key, "--path"]);
    save.arg(path).run().success();
}

/// Asserts that a key holds a file with this text.
#[track_caller]
pub(crate) fn assert_holds(machine: &Cachefs, key: &str, file: &str, text: &str) {
    let path = machine.work().join(format!("look-{key}"));
    let restore = machine.command(["restore", "--mode", "copy", "--fail-on-cache-miss", "--key"]);
    restore.arg(key).arg("--path").arg(&path).run().success();
    assert_eq!(fs::read_to_string(path.join(file)).unwrap(), text);
}

/// Makes a directory shared, as documented, so that later mounts propagate to running containers.
pub(crate) fn share(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    mount_bind(dir, dir).unwrap();
    let recursively = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change(dir, recursively).unwrap();
}

/// Arguments that show a directory in a container.
pub(crate) fn volume(from: &Path, to: &str) -> [String; 2] {
    ["-v".to_owned(), format!("{}:{to}", from.display())]
}

/// Arguments that show a directory in a container at the same path.
pub(crate) fn same(path: &Path) -> [String; 2] {
    volume(path, &path.display().to_string())
}

/// Arguments of a container with the programs of this machine, its remote, and the binary at
/// `/cachefs`.
pub(crate) fn with_cachefs(machine: &Cachefs) -> Vec<String> {
    let remote = machine.remote().strip_prefix("file://").unwrap();
    let binary = format!("{}:/cachefs:ro", machine.binary().display());
    let mut args: Vec<String> = HOST_VOLUMES.map(str::to_owned).into();
    args.extend(["-v".to_owned(), binary]);
    args.extend(same(Path::new(remote)));
    args.extend([
        "-e".to_owned(),
        format!("CACHEFS_REMOTE={}", machine.remote()),
    ]);
    args
}

/// Copies the binary to a place where a user can run it.
pub(crate) fn install(machine: &Cachefs, user: &User) -> PathBuf {
    let place = user.home().join("cachefs");
    fs::write(&place, "").unwrap();
    let mount = user.as_root("mount").arg("--bind").arg(machine.binary());
    mount.arg(&place).run().success();
    place
}

/// A shell of the user, with the binary in its `PATH` as `cachefs`.
pub(crate) fn login(user: &User, script: &str) -> Invocation {
    let script = format!("PATH=$HOME:$PATH; {script}");
    user.command("sh").args(["-c", &script])
}
