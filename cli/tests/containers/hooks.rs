//! Containers whose runtime calls the hook, and caches as CDI devices.

use std::path::{Path, PathBuf};

use cachefs_tests::engines::{BUSYBOX, Engine, Podman};
use cachefs_tests::harness::{Cachefs, Invocation};

fn annotations(options: &[&str]) -> Vec<String> {
    let options = options.iter();
    options
        .flat_map(|option| ["--annotation".to_owned(), format!("io.cachefs.m2.{option}")])
        .collect()
}

/// A directory of hooks that call the machine's binary.
fn hooks_dir(machine: &Cachefs) -> PathBuf {
    let dir = machine.sandbox().dir("hooks").unwrap();
    let printed = machine.run(["oci-hook", "--print"]).success();
    std::fs::write(dir.join("cachefs.json"), printed.stdout).unwrap();
    dir
}

/// A podman run with the hooks of a directory.
fn run(podman: &Podman<'_>, hooks: &Path, args: &[String], script: &str) -> Invocation {
    let command = podman.command(["--hooks-dir"]).arg(hooks);
    let command = command
        .args(["run", "--rm", "--network", "none"])
        .args(args);
    command.args([BUSYBOX, "sh", "-c", script])
}

#[test]
fn annotated_containers_have_caches() {
    let Some(podman) = Podman::of_root().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let hooks = hooks_dir(&machine);
    let caches = annotations(&["key=m2-1", "path=/root/.m2"]);
    let shell = |args: &[String], script: &str| run(&podman, &hooks, args, script).run();
    shell(
        &caches,
        "test -z \"$(ls -A /root/.m2)\" && echo jar > /root/.m2/lib",
    )
    .success();
    machine.run(["lookup", "m2-1"]).success();
    let second = shell(
        &caches,
        "cat /root/.m2/lib; grep -c ' /root/.m2 overlay' /proc/mounts",
    );
    assert_eq!(second.success().stdout(), "jar\n1\n");
    // Other containers are unaffected.
    assert_eq!(shell(&[], "ls -A /root").success().stdout(), "");
    // A failed job saves too: a runtime does not pass the exit status of a container to its hooks.
    let other = annotations(&["key=m2-2", "restore-keys=m2-", "path=/root/.m2"]);
    shell(
        &other,
        "cat /root/.m2/lib && echo more > /root/.m2/more; exit 3",
    )
    .expect_code(3);
    machine.run(["lookup", "m2-2"]).success();
    let mounted = machine.sandbox().mounts().unwrap();
    assert!(mounted.is_empty(), "{mounted:?}");
    let left = std::fs::read_dir(machine.store().join("containers")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn wrong_annotations_keep_a_container_from_starting() {
    let Some(podman) = Podman::of_root().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let hooks = hooks_dir(&machine);
    for (options, why) in [
        (&["key=m2-1"][..], "the option `path` is missing"),
        (&["key=m2-1", "path=.m2"], "is not an absolute path"),
        (&["kee=m2-1", "path=/root/.m2"], "unknown option `kee`"),
        (
            &["key=m2-1", "path=/root/.m2", "fail-on-cache-miss=true"],
            "no cache matches",
        ),
    ] {
        let refused = run(&podman, &hooks, &annotations(options), "true").run();
        assert!(!refused.status.success(), "{refused}");
        refused.stderr_has(why);
    }
    let mounted = machine.sandbox().mounts().unwrap();
    assert!(mounted.is_empty(), "{mounted:?}");
}

#[test]
fn an_image_leads_no_cache_out_of_its_root() {
    let Some(podman) = Podman::of_root().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let hooks = hooks_dir(&machine);
    let outside = machine.sandbox().dir("outside").unwrap();
    let named = "localhost/links:1";
    let build = format!(
        "c=$(podman create {BUSYBOX} ln -s {} /cache) && podman start -a $c && podman commit -q $c {named}",
        outside.display()
    );
    podman.as_owner("sh").args(["-c", &build]).run().success();
    let caches = annotations(&["key=links", "path=/cache/deep"]);
    let command = podman.command(["--hooks-dir"]).arg(&hooks);
    let command = command
        .args(["run", "--rm", "--network", "none"])
        .args(caches);
    let ran = command.args([
        named,
        "sh",
        "-c",
        "echo x > /cache/deep/file; readlink /cache",
    ]);
    ran.run()
        .success()
        .stdout_has(&outside.display().to_string());
    machine.run(["lookup", "links"]).success();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn caches_of_a_file_are_devices() {
    let Some(podman) = Podman::of_root().unwrap() else {
        return;
    };
    let machine = Cachefs::new().unwrap();
    let file = machine.work().join("cachefs.toml");
    let text =
        "[cache.m2]\nkey = 'm2-1'\npath = '/root/.m2'\n[cache.glob]\nkey = 'g'\npath = '*/x'\n";
    std::fs::write(&file, text).unwrap();
    let refused = machine.run(["cdi"]).expect_code(2);
    refused.stderr_has("`glob` does not have exactly one plain path");
    let specs = machine.sandbox().dir("cdi").unwrap();
    let printed = machine.run(["cdi", "m2"]).success();
    std::fs::write(specs.join("cachefs.json"), printed.stdout).unwrap();
    // podman reads CDI specs from one directory of the machine, so we replace it in a mount
    // namespace.
    let shell = |script: &str| {
        let places = format!(
            "mkdir -p /run/cdi && mount --bind {} /run/cdi",
            specs.display()
        );
        let podman = podman.as_owner("unshare").args(["--mount", "sh", "-c"]);
        podman
            .arg(format!("{places} && exec podman \"$@\""))
            .args(["podman", "run", "--rm", "--network", "none"])
            .args([
                "--device",
                "cachefs.io/cache=m2",
                BUSYBOX,
                "sh",
                "-c",
                script,
            ])
            .run()
    };
    shell("echo jar > /root/.m2/lib").success();
    machine.run(["lookup", "m2-1"]).success();
    assert_eq!(shell("cat /root/.m2/lib").success().stdout(), "jar\n");
}
