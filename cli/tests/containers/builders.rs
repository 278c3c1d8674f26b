//! Image builds and sandboxes without an engine.

use std::fs;

use cachefs_tests::engines::{BUSYBOX, Buildah, bubblewrap};

use crate::support::{KEY, assert_holds, machine, restored, saved};

#[test]
fn buildah_takes_a_cache_as_a_volume() {
    let (Some(machine), Some(buildah)) = (machine(), Buildah::new().unwrap()) else {
        return;
    };
    // The build writes to an overlay of its own, so the mount must leave it one level of stacking
    // depth.
    let cache = machine.work().join("m2");
    let restore = machine.command([
        "restore", "--mode", "mount", "--lower", "fuse", "--key", KEY,
    ]);
    restore.arg("--path").arg(&cache).run().success();
    let file = machine.work().join("Containerfile");
    let run = "cat /root/.m2/pom && echo x > /root/.m2/new && ls /root/.m2";
    fs::write(&file, format!("FROM {BUSYBOX}\nRUN {run}\n")).unwrap();
    let build = |volume: &str| {
        let bud = buildah.command(["bud", "--network", "none", "--no-cache", "--volume"]);
        let bud = bud.arg(format!("{}:/root/.m2{volume}", cache.display()));
        bud.arg("--file")
            .arg(&file)
            .arg(machine.work().join("filled"))
            .run()
    };
    build(":O").success().stdout_has("saved").stdout_has("new");
    assert!(
        !cache.join("new").exists(),
        "a build with :O changed the cache"
    );
    build("").success();
    saved(&machine, "m2-v2", &cache);
    assert_holds(&machine, "m2-v2", "new", "x\n");
}

#[test]
fn buildah_takes_a_cache_as_a_mount_of_one_instruction() {
    let (Some(machine), Some(buildah)) = (machine(), Buildah::new().unwrap()) else {
        return;
    };
    let cache = restored(&machine, "m2");
    let file = machine.work().join("Containerfile");
    let run = "--mount=type=bind,from=cache,target=/root/.m2,rw cat /root/.m2/pom";
    fs::write(
        &file,
        format!("FROM {BUSYBOX}\nRUN {run}\nRUN ls -A /root\n"),
    )
    .unwrap();
    let bud = buildah.command(["bud", "--network", "none", "--no-cache", "--build-context"]);
    let bud = bud.arg(format!("cache={}", cache.display()));
    let built = bud
        .arg("--file")
        .arg(&file)
        .arg(machine.work().join("filled"));
    built.run().success().stdout_has("saved");
}

#[test]
fn bubblewrap_binds_a_cache() {
    let (Some(machine), Some(sandbox)) = (machine(), bubblewrap()) else {
        return;
    };
    let cache = restored(&machine, "m2");
    let ran = sandbox.arg("--bind").arg(&cache).arg("/root/.m2");
    let ran = ran.args([
        "--",
        "sh",
        "-c",
        "cat /root/.m2/pom; echo x > /root/.m2/new",
    ]);
    assert_eq!(ran.run().success().stdout(), "saved");
    saved(&machine, "m2-v2", &cache);
    assert_holds(&machine, "m2-v2", "new", "x\n");
}
