//! Containers that have only a socket: no remote, no credentials, and not the host's store.

use std::path::{Path, PathBuf};

use cachefs_tests::engines::{Docker, Engine, HOST, HOST_VOLUMES, Podman};
use cachefs_tests::harness::Cachefs;

use crate::support::{KEY, MAY_MOUNT, machine, volume};

/// Shares scope `pr/7`, which is empty, with the fallback `default`, which has every key.
fn share(machine: &Cachefs) -> PathBuf {
    let socket = machine.work().join("share.sock");
    let share = machine.command(["daemon", "share", "--scope", "pr/7"]);
    let share = share.args(["--fallback-scope", "default"]);
    share.arg(&socket).run().success();
    socket
}

/// Arguments of a container that may mount, with the socket and the program.
fn with(machine: &Cachefs, socket: &Path) -> Vec<String> {
    let mut args: Vec<String> = HOST_VOLUMES.map(str::to_owned).into();
    args.extend(MAY_MOUNT.map(str::to_owned));
    args.extend(volume(socket, "/run/cachefs.sock"));
    args.extend(volume(machine.binary(), "/cachefs:ro"));
    let more = [
        "--tmpfs",
        "/store",
        "-e",
        "CACHEFS_STORE=/store",
        "-e",
        "CACHEFS_DAEMON=/run/cachefs.sock",
    ];
    args.extend(more.map(str::to_owned));
    args
}

fn restores_what_is_shared(engine: &impl Engine) {
    let Some(machine) = machine() else { return };
    let socket = share(&machine);
    let remote = machine.remote().strip_prefix("file://").unwrap();
    let script = format!(
        "set -e; test ! -e {remote}; test ! -e {store}
         /cachefs restore --strict-errors --mode mount --key {KEY} --path /root/m2 >&2
         cat /root/m2/pom /root/m2/org/deep; echo
         echo mine > /root/m2/pom; cat /root/m2/pom
         if /cachefs restore --key {KEY} --path /root/other --scope pr/8 >&2; then exit 9; fi
         if /cachefs save --strict-errors --key new --path /root/m2 >&2; then exit 8; fi
         /cachefs umount /root/m2 >&2",
        store = machine.store().display()
    );
    let ran = engine.shell(with(&machine, &socket), HOST, &script).run();
    let ran = ran.success().stderr_has("does not include scope pr/8");
    assert_eq!(ran.stdout(), "saveddeep\nmine\n", "{ran}");
    // Only the views were on the host, and they are gone.
    machine
        .run(["daemon", "unshare", socket.to_str().unwrap()])
        .success();
    machine.run(["lookup", "new"]).expect_code(3);
}

#[test]
fn a_container_of_podman_restores_what_is_shared() {
    if let Some(podman) = Podman::of_root().unwrap() {
        restores_what_is_shared(&podman);
    }
}

#[test]
fn a_container_of_docker_restores_what_is_shared() {
    if let Some(docker) = Docker::start_daemon().unwrap() {
        restores_what_is_shared(&docker);
    }
}
