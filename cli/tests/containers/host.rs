//! Caches that are mounted on the host and shown in containers.

use std::fs;

use cachefs_tests::engines::{BUSYBOX, Docker, Engine, Podman};
use cachefs_tests::harness::Cachefs;

use crate::support::{NONE, assert_holds, machine, restored, saved, share, volume};

fn a_volume(engine: &impl Engine, machine: &Cachefs) {
    let cache = restored(machine, "m2");
    let script = "cat /root/.m2/pom /root/.m2/org/deep; echo new > /root/.m2/new; rm /root/.m2/pom";
    let ran = engine.shell(volume(&cache, "/root/.m2"), BUSYBOX, script);
    assert_eq!(ran.run().success().stdout(), "saveddeep");
    // Any user of the container may read.
    let args = volume(&cache, "/m2");
    let args = args.iter().map(String::as_str).chain(["--user", "1000"]);
    let other = engine.shell(args, BUSYBOX, "cat /m2/org/deep").run();
    assert_eq!(other.success().stdout(), "deep");
    saved(machine, "m2-v2", &cache);
    assert_holds(machine, "m2-v2", "new", "new\n");
    assert!(!cache.join("pom").exists());
}

fn after_the_start(engine: &impl Engine, machine: &Cachefs) {
    let shared = machine.work().join("shared");
    fs::create_dir(&shared).unwrap();
    let doctor = || machine.command(["doctor"]).arg(&shared).run();
    let args = volume(&shared, "/caches:rslave");
    let unprepared = engine.start(&args, BUSYBOX);
    let private = doctor();
    share(&shared);
    doctor().stdout_has("reaches running containers");
    let container = engine.start(&args, BUSYBOX).unwrap();
    restored(machine, "shared/m2");
    let read = container.exec("cat /caches/m2/pom; echo new > /caches/m2/new");
    assert_eq!(read.success().stdout(), "saved");
    assert_eq!(fs::read_to_string(shared.join("m2/new")).unwrap(), "new\n");
    // On some machines, all mounts are shared. On others, if the directory was not prepared,
    // `doctor` must have warned.
    if private.stdout().contains("has private propagation") {
        private.stdout_has("mount --make-rshared");
        match unprepared {
            // With podman, the container starts and sees nothing.
            Ok(unprepared) => drop(unprepared.exec("cat /caches/m2/pom").expect_code(1)),
            Err(error) => assert!(error.to_string().contains("not a shared"), "{error}"),
        }
    }
    let umount = machine.command(["umount"]).arg(shared.join("m2"));
    umount.run().success();
    container.exec("cat /caches/m2/pom").expect_code(1);
}

#[test]
fn podman_takes_a_mount_of_the_host_as_a_volume() {
    if let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) {
        a_volume(&podman, &machine);
    }
}

#[test]
fn docker_takes_a_mount_of_the_host_as_a_volume() {
    if let (Some(machine), Some(docker)) = (machine(), Docker::start_daemon().unwrap()) {
        a_volume(&docker, &machine);
    }
}

#[test]
fn a_container_of_podman_sees_what_is_mounted_after_its_start() {
    if let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) {
        after_the_start(&podman, &machine);
    }
}

#[test]
fn a_container_of_docker_sees_what_is_mounted_after_its_start() {
    if let (Some(machine), Some(docker)) = (machine(), Docker::start_daemon().unwrap()) {
        after_the_start(&docker, &machine);
    }
}

#[test]
fn containers_at_the_same_time_share_a_mount() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let cache = restored(&machine, "m2");
    let containers = [(); 2].map(|()| podman.start(volume(&cache, "/m2"), BUSYBOX).unwrap());
    containers[0].exec("echo here > /m2/mine").success();
    containers[1]
        .exec("cat /m2/mine")
        .success()
        .stdout_has("here");
    drop(containers);
    let gone = podman.shell(NONE, BUSYBOX, "ls /m2").run();
    assert!(!gone.status.success());
}
