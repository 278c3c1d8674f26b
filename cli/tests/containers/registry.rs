//! Real clients of `cachefs serve`.

use std::fs;

use cachefs_tests::engines::{BUSYBOX, Buildah, Docker, Engine as _, Podman};
use cachefs_tests::harness::{Cachefs, RegistryServer};

/// A server on one machine, and one on a second machine with the same remote.
fn servers() -> (RegistryServer, RegistryServer) {
    let machine = Cachefs::new().unwrap();
    let other = machine.second_machine().unwrap();
    (
        RegistryServer::start(&machine).unwrap(),
        RegistryServer::start(&other).unwrap(),
    )
}

#[test]
fn buildah_takes_steps_of_another_machine_from_the_cache() {
    let (Some(buildah), Some(fresh)) = (Buildah::new().unwrap(), Buildah::new().unwrap()) else {
        return;
    };
    let (one, two) = servers();
    let base = format!("localhost:{}/base:1", one.port());
    let push = ["push", "--tls-verify=false", BUSYBOX];
    let push = buildah.command(push).arg(format!("docker://{base}"));
    push.run().success();
    let context = tempfile::tempdir().unwrap();
    let instructions = format!("FROM {base}\nRUN echo one > /one\nRUN cat /one > /two\n");
    fs::write(context.path().join("Containerfile"), instructions).unwrap();
    let build = |buildah: &Buildah, server: &RegistryServer| {
        let cache = format!("localhost:{}/app/cache", server.port());
        let build = ["bud", "--network", "none", "--layers", "--tls-verify=false"];
        let build = buildah.command(build);
        let build = build.args(["--cache-to", &cache, "--cache-from", &cache]);
        build.arg(context.path()).run().success()
    };
    let cold = build(&buildah, &one);
    assert!(
        !cold.stderr().contains("Cache pulled from remote"),
        "{cold}"
    );
    // Another machine without the image, and a server with an empty store.
    let warm = build(&fresh, &two);
    let shown = format!("{}{}", warm.stdout(), warm.stderr());
    assert!(shown.contains("Cache pulled from remote"), "{warm}");
}

#[test]
fn docker_pushes_and_another_docker_pulls() {
    let Some(docker) = Docker::start_daemon().unwrap() else {
        return;
    };
    let (one, two) = servers();
    let name = |server: &RegistryServer| format!("localhost:{}/team/app:1", server.port());
    docker
        .command(["tag", BUSYBOX, &name(&one)])
        .run()
        .success();
    docker.command(["push", &name(&one)]).run().success();
    let id = |docker: &Docker, image: &str| {
        let inspected = docker
            .command(["inspect", "--format", "{{.Id}}", image])
            .run();
        inspected.success().stdout()
    };
    let pushed = id(&docker, BUSYBOX);
    drop(docker);
    let fresh = Docker::start_daemon().unwrap().unwrap();
    fresh.command(["pull", &name(&two)]).run().success();
    assert_eq!(id(&fresh, &name(&two)), pushed);
    let none: [&str; 0] = [];
    let ran = fresh.shell(none, &name(&two), "echo pulled").run();
    assert_eq!(ran.success().stdout(), "pulled\n");
}

#[test]
fn podman_pushes_zstd_layers_and_another_podman_runs_them() {
    let (Some(podman), Some(fresh)) = (Podman::of_root().unwrap(), Podman::of_root().unwrap())
    else {
        return;
    };
    let (one, two) = servers();
    let name = |server: &RegistryServer| format!("localhost:{}/app:1", server.port());
    let push = [
        "push",
        "--tls-verify=false",
        "--compression-format",
        "zstd:chunked",
    ];
    let push = podman.command(push);
    push.args([BUSYBOX, &name(&one)]).run().success();
    let pull = fresh.command(["pull", "--tls-verify=false", &name(&two)]);
    pull.run().success();
    let none: [&str; 0] = [];
    let ran = fresh.shell(none, &name(&two), "echo pulled").run();
    assert_eq!(ran.success().stdout(), "pulled\n");
}
