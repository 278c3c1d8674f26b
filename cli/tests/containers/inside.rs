//! Caches that are mounted inside a container.

use std::fs;

use cachefs_tests::engines::{Docker, Engine, HOST, Podman};
use cachefs_tests::harness::Cachefs;

use crate::support::{KEY, MAY_MOUNT, assert_holds, machine, same, with_cachefs};

/// Container arguments, with additional ones.
fn with(machine: &Cachefs, more: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    let mut args = with_cachefs(machine);
    args.extend(more.into_iter().map(Into::into));
    args
}

/// Arguments of a container that may mount and shares the machine's store.
fn sharing(machine: &Cachefs) -> Vec<String> {
    let mut args = with(machine, MAY_MOUNT);
    args.extend(same(&machine.store()));
    args.push("-e".to_owned());
    args.push(format!("CACHEFS_STORE={}", machine.store().display()));
    args
}

fn restore(more: &str) -> String {
    format!("/cachefs restore --strict-errors --key {KEY} --path /root/m2 {more}")
}

fn with_the_hosts_daemon(engine: &impl Engine, machine: &Cachefs) {
    machine.run(["daemon", "start"]).success();
    let daemon = machine.daemon().unwrap();
    for key in ["one", "two"] {
        let script = format!(
            "set -e; {} >&2; cat /root/m2/pom >&2; echo {key} > /root/m2/mine; \
             /cachefs save --strict-errors --key {key} --path /root/m2 >&2; \
             /cachefs stats --format json; /cachefs umount /root/m2 >&2",
            restore("--mode mount")
        );
        let ran = engine
            .shell(sharing(machine), HOST, &script)
            .run()
            .success();
        assert_eq!(ran.json()["daemon"]["supervisor"], daemon, "{ran}");
        assert_eq!(ran.json()["restored"][0]["state"], "mounted", "{ran}");
        assert_holds(machine, key, "mine", &format!("{key}\n"));
    }
    assert_eq!(machine.daemon(), Some(daemon));
}

#[test]
fn containers_of_podman_are_served_by_the_hosts_daemon() {
    if let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) {
        with_the_hosts_daemon(&podman, &machine);
    }
}

#[test]
fn containers_of_docker_are_served_by_the_hosts_daemon() {
    if let (Some(machine), Some(docker)) = (machine(), Docker::start_daemon().unwrap()) {
        with_the_hosts_daemon(&docker, &machine);
    }
}

#[test]
fn containers_at_the_same_time_have_mounts_of_their_own() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    machine.run(["daemon", "start"]).success();
    let containers = [(); 2].map(|()| podman.start(sharing(&machine), HOST).unwrap());
    for (number, container) in containers.iter().enumerate() {
        container.exec(&restore("--mode mount")).success();
        container
            .exec(&format!("echo {number} > /root/m2/mine"))
            .success();
    }
    for (number, container) in containers.iter().enumerate() {
        let read = container.exec("cat /root/m2/mine /root/m2/pom").success();
        assert_eq!(read.stdout(), format!("{number}\nsaved"));
    }
}

#[test]
fn a_container_may_have_a_daemon_of_its_own_on_a_tmpfs_or_a_volume() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let script = format!(
        "set -e; {} >&2; cat /root/m2/pom; echo own > /root/m2/mine; \
         /cachefs save --strict-errors --key own --path /root/m2",
        restore("--mode mount")
    );
    for place in [["--tmpfs", "/var/lib/cachefs"], ["-v", "/var/lib/cachefs"]] {
        let args = with(&machine, MAY_MOUNT.into_iter().chain(place));
        let ran = podman.shell(args, HOST, &script).run().success();
        assert_eq!(ran.stdout(), "saved", "{ran}");
        assert_holds(&machine, "own", "mine", "own\n");
        machine.run(["delete", "own"]).success();
        fs::remove_dir_all(machine.work().join("look-own")).unwrap();
    }
}

#[test]
fn where_a_container_cannot_mount_it_copies_and_says_why() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let both = format!("{} && cat /root/m2/pom", restore(""));
    let copied = |args: &[&str], why: &str, hint: &str| {
        let ran = podman
            .shell(with(&machine, args.iter().copied()), HOST, &both)
            .run();
        let ran = ran.success().stderr_has(why).stderr_has(hint);
        assert_eq!(ran.stdout(), "saved");
        ran.stderr_has("note: copied, because this machine cannot mount");
        let mount = podman.shell(
            with(&machine, args.iter().copied()),
            HOST,
            &restore("--mode mount"),
        );
        mount.run().expect_code(1).stderr_has(why).stderr_has(hint);
    };
    copied(&[], "/dev/fuse does not exist", "--device /dev/fuse");
    let device = ["--device", "/dev/fuse"];
    copied(&device, "is not permitted", "--cap-add SYS_ADMIN");
    copied(
        &MAY_MOUNT,
        "is itself on an overlay",
        "on a volume or a tmpfs",
    );
    // A copy is saved like any other directory.
    let save = format!(
        "{} && echo x > /root/m2/new && /cachefs save --strict-errors --key copy --path /root/m2",
        restore("")
    );
    podman
        .shell(with_cachefs(&machine), HOST, &save)
        .run()
        .success();
    assert_holds(&machine, "copy", "new", "x\n");
}

#[test]
fn doctor_tells_what_a_container_lacks() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let doctor = podman
        .shell(with_cachefs(&machine), HOST, "/cachefs doctor")
        .run();
    let doctor = doctor.success().stdout_has("runs in a container (podman)");
    let doctor = doctor
        .stdout_has("/dev/fuse does not exist")
        .stdout_has("will copy caches");
    doctor.stdout_has("without CAP_SYS_ADMIN");
    let able = with(
        &machine,
        MAY_MOUNT.into_iter().chain(["--tmpfs", "/var/lib/cachefs"]),
    );
    let doctor = podman.shell(able, HOST, "/cachefs doctor").run().success();
    doctor.stdout_has("will mount caches here");
}
