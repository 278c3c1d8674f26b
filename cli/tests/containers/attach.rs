//! `cachefs attach` mounts caches into running containers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use cachefs_tests::engines::{BUSYBOX, Container, Docker, Engine, Podman};
use cachefs_tests::harness::{Cachefs, Invocation};

use crate::support::{KEY, NONE, assert_holds, machine, restored, saved};

/// A machine on which `cachefs` finds containers of one engine.
struct Host<'a> {
    machine: &'a Cachefs,
    env: Vec<(&'static str, PathBuf)>,
}

impl<'a> Host<'a> {
    fn podman(machine: &'a Cachefs, podman: &Podman<'_>) -> Self {
        let env = podman
            .variables()
            .map(|(name, file)| (name, file.to_owned()));
        let mut env = Vec::from(env);
        env.push(("PATH", only(machine, "podman")));
        Self { machine, env }
    }

    fn docker(machine: &'a Cachefs, docker: &Docker) -> Self {
        let env = vec![
            ("DOCKER_HOST", docker.host().into()),
            ("PATH", only(machine, "docker")),
        ];
        Self { machine, env }
    }

    fn containerd(machine: &'a Cachefs, docker: &Docker) -> Self {
        let socket = docker.dir().join("exec/containerd/containerd.sock");
        let env = vec![
            ("CONTAINERD_ADDRESS", socket),
            ("PATH", only(machine, "ctr")),
        ];
        Self { machine, env }
    }

    fn command(&self, args: &[&str]) -> Invocation {
        let command = self.machine.command(args);
        let env = self.env.iter();
        env.fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Attaches the cache; returns its path on this machine.
    #[track_caller]
    fn attached(&self, container: &str, path: &str) -> PathBuf {
        let attach = ["attach", container, path, "--key", KEY, "--format", "json"];
        let told = self.command(&attach).run().success();
        let from = told.json()["from"].as_str().unwrap().to_owned();
        told.stderr_has("cachefs save --key").stderr_has(&from);
        from.into()
    }
}

/// A `PATH` with a single engine, so that we do not query the user's engines.
fn only(machine: &Cachefs, engine: &str) -> PathBuf {
    let dir = machine.sandbox().dir(format!("{engine}-only")).unwrap();
    for program in [engine, "runc"] {
        let places = ["/usr/local/bin", "/usr/bin", "/usr/sbin"];
        let found = places.map(|place| PathBuf::from(place).join(program));
        let found = found.into_iter().find(|path| path.exists()).unwrap();
        symlink(found, dir.join(program)).unwrap();
    }
    dir
}

fn way_in(host: &Host<'_>, container: &Container<'_>, name: &str) {
    let from = host.attached(name, "/root/.m2/repository");
    let script = "cd /root/.m2/repository; cat pom org/deep; echo new > new";
    assert_eq!(container.exec(script).success().stdout(), "saveddeep");
    // The host sees and saves changes of the container.
    saved(host.machine, "m2-v2", &from);
    assert_holds(host.machine, "m2-v2", "new", "new\n");
    let again = ["attach", name, "/root/.m2/repository", "--key", KEY];
    host.command(&again).run().success().stderr_has("already");
    let stats = host.command(&["stats", "--format", "json"]).run().success();
    assert_eq!(stats.json()["attached"][0]["path"], "/root/.m2/repository");
    let detach = host.command(&["detach", name, "/root/.m2/repository"]);
    detach.run().success().stderr_has("it is still mounted at");
    container.exec("ls /root/.m2/repository/pom").expect_code(1);
    assert!(from.join("pom").exists());
    let umount = host.machine.command(["umount"]).arg(&from);
    umount.run().success();
    assert!(!from.exists());
}

#[test]
fn a_cache_comes_into_a_container_of_podman() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let container = podman.start(["--name", "web"], BUSYBOX).unwrap();
    way_in(&Host::podman(&machine, &podman), &container, "web");
}

#[test]
fn a_cache_comes_into_a_container_of_docker_and_of_containerd() {
    let (Some(machine), Some(docker)) = (machine(), Docker::start_daemon().unwrap()) else {
        return;
    };
    let container = docker.start(["--name", "web"], BUSYBOX).unwrap();
    way_in(&Host::docker(&machine, &docker), &container, "web");
    let host = Host::containerd(&machine, &docker);
    way_in(&host, &container, container.id());
}

#[test]
fn a_container_with_users_of_its_own_and_a_process_number_will_do() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let map = ["--uidmap", "0:500000:65536", "--gidmap", "0:500000:65536"];
    let container = podman.start(map, BUSYBOX).unwrap();
    let pid = container.pid().unwrap().to_string();
    let host = Host::podman(&machine, &podman);
    // Root of the container maps to UID 500000, not to a user of this machine.
    let attach = [
        "attach", &pid, "/root/m2", "--key", KEY, "--owner", "500000",
    ];
    host.command(&attach)
        .run()
        .success()
        .stderr_has(&format!("process {pid}"));
    let read = container.exec("cat /root/m2/pom; echo x > /root/m2/new; stat -c %u /root/m2/pom");
    assert_eq!(read.success().stdout(), "saved0\n");
}

#[test]
fn an_unmount_takes_a_cache_out_of_containers() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let containers = [(); 2].map(|()| podman.start(NONE, BUSYBOX).unwrap());
    let host = Host::podman(&machine, &podman);
    let cache = restored(&machine, "m2");
    for container in &containers {
        let attach = host.command(&["attach", container.id(), "/m2", "--from"]);
        attach.arg(&cache).run().success();
    }
    containers[0].exec("echo x > /m2/new").success();
    containers[1].exec("cat /m2/new").success();
    // While one container uses it, it stays mounted in all of them.
    containers[1]
        .exec("cd /m2 && sleep 1000 >/dev/null 2>&1 &")
        .success();
    let umount = || machine.command(["umount"]).arg(&cache);
    umount()
        .run()
        .expect_code(1)
        .stderr_has("in use in process");
    assert!(cache.join("pom").exists());
    containers[1].exec("cat /m2/pom").success();
    umount().arg("--lazy").run().success();
    for container in &containers {
        container.exec("cat /m2/pom").expect_code(1);
    }
    let stats = machine.run(["stats", "--format", "json"]).success();
    assert_eq!(stats.json()["attached"].as_array().unwrap().len(), 0);
}

#[test]
fn links_are_what_they_point_to() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let container = podman.start(NONE, BUSYBOX).unwrap();
    container.exec("mkdir /real && ln -s /real /link").success();
    let host = Host::podman(&machine, &podman);
    let cache = restored(&machine, "m2");
    let link = machine.sandbox().path().join("to-m2");
    symlink(&cache, &link).unwrap();
    let attach = |path: &str, from: &Path| {
        let attach = host.command(&["attach", container.id(), path, "--from"]);
        attach.arg(from).run().success()
    };
    let first = attach("/link/m2", &link);
    first.stderr_has(" at /real/m2 in ");
    for (path, from) in [("/real/m2", &cache), ("/link/../real/m2", &link)] {
        attach(path, from).stderr_has("already");
    }
    // A container has several names, and its paths must not depend on the name in the command.
    let pid = container.pid().unwrap().to_string();
    for other in [&pid, &container.id()[..12]] {
        let again = host.command(&["attach", other, "/link/m2", "--from"]);
        again.arg(&cache).run().success().stderr_has("already");
    }
    let other = host.machine.sandbox().dir("other").unwrap();
    let over = host.command(&["attach", &pid, "/real/m2", "--from"]);
    let refused = over.arg(&other).run().expect_code(2);
    refused.stderr_has("already").stderr_has("cachefs detach");
    let mounts = container.exec("grep -c ' /real/m2 ' /proc/mounts");
    assert_eq!(mounts.success().stdout(), "1\n");
    let detach = host.command(&["detach", container.id(), "/link/m2"]);
    detach.run().success();
    container.exec("ls /real/m2/pom").expect_code(1);
}

#[test]
fn a_container_that_sees_the_hosts_processes_leads_nothing_to_the_host() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let container = podman.start(["--pid=host"], BUSYBOX).unwrap();
    let victim = machine.sandbox().dir("victim").unwrap();
    let link = format!(
        "ln -s /proc/1/root{} /host; ln -s {} /plain",
        victim.display(),
        victim.display()
    );
    container.exec(&link).success();
    let host = Host::podman(&machine, &podman);
    let attach = |path: &str| {
        let attach = host.command(&["attach", container.id(), path, "--key", KEY]);
        attach.run()
    };
    let through = format!("/proc/1/root{}/deep", victim.display());
    for path in ["/host/deep", "/host", &through] {
        let refused = attach(path).expect_code(1);
        refused.stderr_has("a link of /proc").stderr_has("hint: ");
    }
    // A symlink with a text target resolves within the container's own root.
    attach("/plain/deep").success();
    container.exec("cat /plain/deep/pom").success();
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
}

#[test]
fn after_a_miss_the_container_fills_a_directory_that_can_be_saved() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let container = podman.start(NONE, BUSYBOX).unwrap();
    let host = Host::podman(&machine, &podman);
    let attach = [
        "attach",
        container.id(),
        "/m2",
        "--key",
        "new",
        "--format",
        "json",
    ];
    let told = host.command(&attach).run().success();
    assert_eq!(told.json()["restored"], false);
    container.exec("echo filled > /m2/file").success();
    let from = told.json()["from"].as_str().unwrap().to_owned();
    saved(&machine, "new", from.as_ref());
    assert_holds(&machine, "new", "file", "filled\n");
    // The attachment is forgotten when its container ends.
    drop(container);
    let stats = machine.run(["stats", "--format", "json"]).success();
    assert_eq!(stats.json()["attached"].as_array().unwrap().len(), 0);
    assert_eq!(
        fs::read_to_string(PathBuf::from(from).join("file")).unwrap(),
        "filled\n"
    );
}

#[test]
fn what_cannot_be_attached_is_told_with_what_to_do() {
    let (Some(machine), Some(podman)) = (machine(), Podman::of_root().unwrap()) else {
        return;
    };
    let host = Host::podman(&machine, &podman);
    let attach = |container: &str, path: &str, code: i32| {
        let attach = host.command(&["attach", container, path, "--key", KEY]);
        attach.run().expect_code(code).stderr_has("hint: ")
    };
    attach("none", "/m2", 2).stderr_has("podman does not know it");
    attach("4194304", "/m2", 1).stderr_has("process 4194304 does not exist");
    let container = podman.start(["--read-only"], BUSYBOX).unwrap();
    attach(container.id(), "m2", 2).stderr_has("not an absolute path");
    attach(container.id(), "/opt/m2", 1).stderr_has("create the directory in the image");
    attach(container.id(), "/bin/sh", 1).stderr_has("use a directory");
    let nothing = host.command(&["attach", container.id(), "/nothing"]);
    nothing.run().expect_code(2).stderr_has("--key");
    let nothing = host.command(&["detach", container.id(), "/nothing"]);
    nothing
        .run()
        .expect_code(2)
        .stderr_has("nothing is attached");
    // A failed attach cleans up its restore.
    let stats = machine.run(["stats", "--format", "json"]).success();
    assert_eq!(stats.json()["restored"].as_array().unwrap().len(), 0);
    container.stop();
    attach(container.id(), "/m2", 2).stderr_has("podman start");
}
