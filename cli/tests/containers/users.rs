//! Ordinary users: user namespaces and rootless podman.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cachefs_tests::engines::{BUSYBOX, Engine, Podman, User};

use crate::support::{KEY, fill, install, login, machine};

/// A user's script starts by saving a cache.
const SAVE: &str = "mkdir -p m2/org && printf saved > m2/pom && printf deep > m2/org/deep && \
     cachefs save --strict-errors --key m2-v1 --path m2 >&2";

#[test]
fn a_user_mounts_in_a_namespace_and_owns_what_is_there() {
    let (Some(machine), Some(user)) = (machine(), User::new().unwrap()) else {
        return;
    };
    install(&machine, &user);
    login(&user, SAVE).run().success();
    let inside = "set -e; cachefs restore --strict-errors --mode mount --key m2-v1 --path r >&2; \
         stat -c '%u:%g' r r/pom r/org; cat r/pom; printf changed > r/pom; rm r/org/deep; \
         printf new > r/org/new; cachefs save --strict-errors --key m2-v2 --path r >&2; \
         cachefs stats >&2; cachefs umount r >&2; cachefs daemon stop >&2";
    let ran = login(&user, &format!("unshare -Urm sh -c {inside:?}")).run();
    assert_eq!(ran.success().stdout(), "0:0\n0:0\n0:0\nsaved");
    // Outside of a namespace, the cache is copied and the user owns everything.
    let outside = login(
        &user,
        "cachefs restore --key m2-v2 --path c --fail-on-cache-miss",
    );
    outside.run().success().stderr_has("unshare -Urm");
    let copy = user.home().join("c");
    assert_eq!(fs::read_to_string(copy.join("pom")).unwrap(), "changed");
    assert_eq!(fs::read_to_string(copy.join("org/new")).unwrap(), "new");
    assert!(!copy.join("org/deep").exists());
    // The layers keep the original owner, whoever was root of the namespace.
    let exported = login(&user, "cachefs export --key m2-v2 --output - | tar -tvn").run();
    let listed = exported.success().stdout();
    let theirs = format!("{0}/{0}", user.id());
    assert!(listed.lines().count() >= 4, "{listed}");
    assert!(
        listed.lines().all(|line| line.contains(&theirs)),
        "{listed}"
    );
}

#[test]
fn rootless_podman_shows_a_mount_made_where_its_containers_begin() {
    let (Some(machine), Some(user)) = (machine(), User::new().unwrap()) else {
        return;
    };
    install(&machine, &user);
    let Some(podman) = Podman::of_user(&user).unwrap() else {
        return;
    };
    login(&user, SAVE).run().success();
    let job = format!(
        "set -e; PATH=$HOME:$PATH; \
         cachefs restore --strict-errors --mode mount --key {KEY} --path r --owner 0 >&2; \
         podman run --rm -v $HOME/r:/m2 {BUSYBOX} \
         sh -c 'cat /m2/pom; printf new > /m2/new; stat -c %u /m2/pom /m2/new'; \
         cachefs save --strict-errors --key m2-v2 --path r >&2; \
         cachefs umount r >&2; cachefs daemon stop >&2"
    );
    let ran = podman
        .as_owner("podman")
        .args(["unshare", "sh", "-c", &job]);
    assert_eq!(ran.run().success().stdout(), "saved0\n0\n");
    let copy = login(
        &user,
        "cachefs restore --key m2-v2 --path c --mode copy && cat c/new",
    )
    .run();
    assert_eq!(copy.success().stdout(), "new");
    assert_eq!(
        fs::metadata(user.home().join("c/new")).unwrap().uid(),
        user.id()
    );
}

#[test]
fn a_user_attaches_a_cache_to_a_container_of_rootless_podman() {
    let (Some(machine), Some(user)) = (machine(), User::new().unwrap()) else {
        return;
    };
    let binary = install(&machine, &user);
    let Some(podman) = Podman::of_user(&user).unwrap() else {
        return;
    };
    login(&user, SAVE).run().success();
    let container = podman.start(["--name", "web"], BUSYBOX).unwrap();
    let attach = ["attach", "web", "/m2", "--key", KEY, "--owner", "0"];
    let denied = podman.as_owner(binary.to_str().unwrap()).args(attach);
    denied
        .run()
        .expect_code(1)
        .stderr_has("podman unshare cachefs attach");
    let unshare = |args: &[&str]| {
        let unshare = podman.as_owner("podman").arg("unshare");
        unshare.arg(&binary).args(args).run().success()
    };
    unshare(&attach);
    let read = container.exec("cat /m2/pom; printf new > /m2/new; stat -c %u /m2/new");
    assert_eq!(read.success().stdout(), "saved0\n");
    unshare(&["detach", "web", "/m2"]);
    container.exec("cat /m2/pom").expect_code(1);
    unshare(&["umount", "--all"]);
    unshare(&["daemon", "stop"]);
}

#[test]
fn doctor_finds_a_pause_process_that_is_older_than_a_mount() {
    let (Some(machine), Some(user)) = (machine(), User::new().unwrap()) else {
        return;
    };
    let binary = install(&machine, &user);
    let Some(podman) = Podman::of_user(&user).unwrap() else {
        return;
    };
    // The images are imported, so the pause process runs. Now root mounts a cache for the user.
    fill(&user.home().join("filled"));
    let store = user.home().join("roots-store");
    let as_root = |args: &[&str]| {
        let command = user.as_root(&binary).args(args).env("HOME", "/root");
        command.env("CACHEFS_STORE", &store).run().success()
    };
    as_root(&["save", "--strict-errors", "--key", KEY, "--path", "filled"]);
    as_root(&[
        "restore",
        "--strict-errors",
        "--key",
        KEY,
        "--path",
        "r",
        "--mode",
        "mount",
    ]);
    let mount = format!("{}:/m2", user.home().join("r").display());
    let seen = || {
        podman
            .shell(["-v", &mount], BUSYBOX, "ls /m2")
            .run()
            .success()
            .stdout()
    };
    let doctor = || {
        podman
            .as_owner(binary.to_str().unwrap())
            .arg("doctor")
            .run()
    };
    assert_eq!(
        seen(),
        "",
        "the trap is gone: what the documentation says of it, too"
    );
    let told = doctor().stdout_has("see empty directories instead of these caches");
    told.stdout_has("podman system migrate").stdout_has("/r");
    podman
        .as_owner("podman")
        .args(["system", "migrate"])
        .run()
        .success();
    assert_eq!(seen(), "org\npom\n");
    assert!(!doctor().stdout().contains("see empty directories"));
    as_root(&["umount", "--lazy", "r"]);
}
