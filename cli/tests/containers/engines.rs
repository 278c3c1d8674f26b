//! The engines themselves run commands and clean up.

use cachefs_tests::engines::{
    BUSYBOX, Buildah, Docker, Engine, HOST, HOST_VOLUMES, Podman, User, bubblewrap,
};

fn runs(engine: &impl Engine) {
    let none: [&str; 0] = [];
    let hello = engine.shell(none, BUSYBOX, "echo hello; id -u").run();
    assert_eq!(hello.success().stdout(), "hello\n0\n");
    let host = engine.shell(HOST_VOLUMES, HOST, "python3 -c 'print(6 * 7)'");
    assert_eq!(host.run().success().stdout(), "42\n");
    let container = engine.start(none, BUSYBOX).unwrap();
    assert!(container.pid().unwrap() > 1);
    container.exec("echo inside").success().stdout_has("inside");
    container.exec("exit 7").expect_code(7);
}

#[test]
fn podman_runs_containers() {
    let Some(podman) = Podman::of_root().unwrap() else {
        return;
    };
    runs(&podman);
    // Each engine has its own containers.
    let other = Podman::of_root().unwrap().unwrap();
    let listed = other.command(["ps", "--all", "--quiet"]).run();
    assert_eq!(listed.success().stdout(), "");
}

#[test]
fn rootless_podman_runs_containers() {
    let Some(user) = User::new().unwrap() else {
        return;
    };
    let Some(podman) = Podman::of_user(&user).unwrap() else {
        return;
    };
    runs(&podman);
    let none: [&str; 0] = [];
    let map = podman.shell(none, BUSYBOX, "cat /proc/self/uid_map").run();
    map.success().stdout_has(&user.id().to_string());
}

#[test]
fn docker_runs_containers_and_is_gone() {
    let Some(docker) = Docker::start_daemon().unwrap() else {
        return;
    };
    runs(&docker);
    let dir = docker.dir().to_owned();
    drop(docker);
    assert!(!dir.exists());
}

#[test]
fn buildah_builds() {
    let Some(buildah) = Buildah::new().unwrap() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("Containerfile");
    std::fs::write(&file, format!("FROM {BUSYBOX}\nRUN echo built here\n")).unwrap();
    let build = buildah.command(["bud", "--network", "none", "--file"]);
    let built = build.arg(&file).arg(dir.path()).run().success();
    built.stdout_has("built here");
}

#[test]
fn bubblewrap_has_directories_of_its_own() {
    let Some(command) = bubblewrap() else {
        return;
    };
    let ran = command.args(["--", "sh", "-c", "ls -A /root; echo done"]);
    assert_eq!(ran.run().success().stdout(), "done\n");
}

#[test]
fn a_user_has_no_privileges_and_may_make_namespaces() {
    let Some(user) = User::new().unwrap() else {
        return;
    };
    let id = user.id().to_string();
    let own = user.command("id").arg("-u").run().success();
    assert_eq!(own.stdout().trim(), id);
    user.command("sh")
        .args(["-c", "echo x > home && echo x > /etc/x"])
        .run()
        .expect_code(2);
    let root =
        user.command("unshare")
            .args(["-Urm", "sh", "-c", "id -u; cat < /dev/null > /dev/fuse"]);
    assert_eq!(root.run().success().stdout(), "0\n");
    let process = user.command("sleep").arg("100000");
    let mut sleeper = process
        .spawn(std::process::Stdio::null(), std::process::Stdio::null())
        .unwrap();
    let home = user.home();
    drop(user);
    assert!(!sleeper.wait().unwrap().success());
    assert!(!home.exists());
}
