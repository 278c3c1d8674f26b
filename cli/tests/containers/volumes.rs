//! Caches as docker and podman volumes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefs_tests::engines::{BUSYBOX, Docker, Engine, Podman};
use cachefs_tests::harness::{Cachefs, VolumePlugin};

/// A unique plugin name per test, because docker looks for all plugins in one directory.
fn name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("cachefs-test-{}-{number}", std::process::id())
}

fn socket(name: &str) -> PathBuf {
    Path::new("/run/docker/plugins")
        .join(name)
        .with_extension("sock")
}

/// A mount argument with this volume, options and path.
fn mount(driver: &str, volume: &str, options: &str) -> [String; 2] {
    let options: String = options
        .split(' ')
        .map(|option| format!(",volume-opt={option}"))
        .collect();
    let source = match volume {
        "" => String::new(),
        name => format!(",src={name}"),
    };
    [
        "--mount".to_owned(),
        format!("type=volume,volume-driver={driver}{source},dst=/root/.m2{options}"),
    ]
}

#[test]
fn docker_runs_twice_and_the_second_run_has_the_cache() {
    let Some(docker) = Docker::start_daemon().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let driver = name();
    let _plugin = VolumePlugin::start(&machine, &socket(&driver), &[]).unwrap();
    let named = mount(&driver, "m2", "key=m2-1");
    let shell = |mount: &[String; 2], script: &str| docker.shell(mount, BUSYBOX, script).run();
    shell(
        &named,
        "test -z \"$(ls -A /root/.m2)\" && echo jar > /root/.m2/lib",
    )
    .success();
    let second = shell(
        &named,
        "cat /root/.m2/lib; grep -c ' /root/.m2 overlay' /proc/mounts",
    );
    assert_eq!(second.success().stdout(), "jar\n1\n");
    // An anonymous volume is removed with its container.
    let nameless = mount(&driver, "", "key=m2-2 restore-keys=m2-");
    let third = shell(&nameless, "cat /root/.m2/lib && echo more > /root/.m2/more");
    assert_eq!(third.success().stdout(), "jar\n");
    let listed = docker.command(["volume", "ls", "--quiet"]).run().success();
    assert_eq!(listed.stdout(), "m2\n");
    machine.run(["lookup", "m2-2"]).success();
    // A read-only job saves nothing.
    let pull = mount(&driver, "", "key=m2-2 policy=pull");
    shell(&pull, "cat /root/.m2/more && rm /root/.m2/more").success();
    shell(&pull, "cat /root/.m2/more").success();
    let wrong = shell(&mount(&driver, "", "kee=m2"), "true").expect_code(125);
    wrong
        .stderr_has("unknown option `kee`")
        .stderr_has("did you mean `key`?");
    let inspected = docker.command(["volume", "inspect", "m2"]).run().success();
    inspected.stdout_has("\"last\": \"nothing new for m2-1\"");
    docker.command(["volume", "rm", "m2"]).run().success();
    let mounted = machine.sandbox().mounts().unwrap();
    assert!(mounted.is_empty(), "{mounted:?}");
}

#[test]
fn docker_containers_share_a_volume_that_outlives_the_plugin() {
    let Some(docker) = Docker::start_daemon().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let driver = name();
    let mut plugin = VolumePlugin::start(&machine, &socket(&driver), &[]).unwrap();
    let shared = mount(&driver, "m2", "key=m2");
    let one = docker.start(&shared, BUSYBOX).unwrap();
    let two = docker.start(&shared, BUSYBOX).unwrap();
    one.exec("echo one > /root/.m2/one").success();
    assert_eq!(two.exec("cat /root/.m2/one").success().stdout(), "one\n");
    plugin.restart().unwrap();
    drop(one);
    machine.run(["lookup", "m2"]).expect_code(3);
    two.exec("echo two > /root/.m2/two").success();
    plugin.restart().unwrap();
    drop(two);
    machine.run(["lookup", "m2"]).success();
    let again = docker.shell(&shared, BUSYBOX, "cat /root/.m2/one /root/.m2/two");
    assert_eq!(again.run().success().stdout(), "one\ntwo\n");
    drop(plugin);
}

#[test]
fn podman_runs_twice_and_the_second_run_has_the_cache() {
    let Some(podman) = Podman::of_root().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let socket = machine.sandbox().path().join("cachefs.sock");
    let mut plugin = VolumePlugin::start(&machine, &socket, &[]).unwrap();
    // podman finds plugins only through its configuration.
    let (_, config) = podman.variables()[0];
    let mut text = std::fs::read_to_string(config).unwrap();
    text += &format!("volume_plugin_timeout = 60\n[engine.volume_plugins]\ncachefs = {socket:?}\n");
    std::fs::write(config, text).unwrap();
    let create = |name: &str, option: &str| {
        let create = podman.command(["volume", "create", "--driver", "cachefs", "--opt"]);
        create.args([option, name]).run()
    };
    create("m2", "key=m2-1").success();
    let volume = ["-v", "m2:/root/.m2"];
    let shell = |script: &str| podman.shell(volume, BUSYBOX, script).run();
    shell("echo jar > /root/.m2/lib").success();
    assert_eq!(shell("cat /root/.m2/lib").success().stdout(), "jar\n");
    let container = podman.start(volume, BUSYBOX).unwrap();
    container.exec("echo more > /root/.m2/more").success();
    plugin.restart().unwrap();
    drop(container);
    assert_eq!(shell("cat /root/.m2/more").success().stdout(), "more\n");
    let wrong = create("wrong", "policy=both").expect_code(125);
    wrong.stderr_has("use one of pull, push, pull-push");
    podman.command(["volume", "rm", "m2"]).run().success();
    let mounted = machine.sandbox().mounts().unwrap();
    assert!(mounted.is_empty(), "{mounted:?}");
}
