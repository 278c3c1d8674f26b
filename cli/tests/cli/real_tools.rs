//! Maven, npm and cargo build from a mount exactly as from the saved directory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cachefs_tests::harness::Invocation;
use cachefs_tests::tools::{self, Tool};
use cachefs_tests::tree::{CompareOptions, assert_same};

use crate::support::{Commands, clean, machine, strict_json};

/// Saves a tool's cache and builds from a mount of it on another machine. Then saves the changes of
/// the build and the user, and compares a third machine with a plain directory that got the same
/// changes.
fn builds_through_a_mount(tool: Option<Tool>) {
    let (Some(tool), Some(first)) = (tool, machine()) else {
        return;
    };
    let project = tool.prepare(&first.work().join("demo")).unwrap();
    let plain = first.work().join("plain");
    copy(&project.cache(), &plain);
    first.saved("v1", &project.cache());
    // From here on, only the mount holds the dependencies.
    fs::remove_dir_all(project.cache()).unwrap();

    let second = first.second_machine().unwrap();
    let mount = second.dir("mount");
    second.restored("v1", &mount);
    assert_same(&plain, &mount, &CompareOptions::default());
    project.assert_builds(&mount);
    project.assert_needs_cache();
    // Bookkeeping files differ between runs of a tool, so we copy the mount to the plain directory,
    // then apply the same changes to both.
    fs::remove_dir_all(&plain).unwrap();
    copy(&mount, &plain);
    for root in [&plain, &mount] {
        fs::create_dir_all(root.join("added/by/hand")).unwrap();
        fs::write(root.join("added/by/hand/file"), "content").unwrap();
    }
    let saved = second.saved("v2", &mount);
    let (stored, scanned) = (&saved["new_bytes"], &saved["bytes"]);
    println!(
        "{}: {stored} new bytes for {scanned} changed ones",
        tool.name()
    );
    assert!(saved["layers"].as_u64().unwrap() == 2, "{saved}");
    second.umount(&mount);

    let third = first.second_machine().unwrap();
    let (mount, target) = (third.dir("mount"), third.dir("copy"));
    third.restored("v2", &mount);
    let restore = strict_json(third.restore("v2", &target))
        .arg("--mode")
        .arg("copy");
    clean(restore.run().success());
    let options = CompareOptions {
        // We changed the two directories a moment apart.
        ignore_dir_mtimes: true,
        ignore: vec!["added".into()],
        ..CompareOptions::default()
    };
    for root in [&mount, &target] {
        assert_same(&plain, root, &options);
        assert_eq!(
            fs::read(root.join("added/by/hand/file")).unwrap(),
            b"content"
        );
    }
    assert_same(&mount, &target, &CompareOptions::default());
    project.assert_builds(&target);
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn maven() {
    builds_through_a_mount(tools::maven());
}

#[test]
fn npm() {
    builds_through_a_mount(tools::npm());
}

#[test]
fn cargo() {
    builds_through_a_mount(tools::cargo());
}

#[test]
fn a_container_with_the_mount_bound_in() {
    let bubblewrap = Command::new("bwrap")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !bubblewrap.is_ok_and(|status| status.success()) {
        cachefs_skip::skip("bubblewrap", "it is not installed");
        return;
    }
    let (Some(tool), Some(first)) = (tools::maven(), machine()) else {
        return;
    };
    let project = tool.prepare(&first.work().join("demo")).unwrap();
    first.saved("m2", &project.cache());
    fs::remove_dir_all(project.cache()).unwrap();
    let second = first.second_machine().unwrap();
    let mount = second.dir("mount");
    second.restored("m2", &mount);

    // No network; of the host, only the system, the project and the mount are visible.
    let mut build = Invocation::new(
        "bwrap",
        ["--unshare-net", "--dev", "/dev", "--proc", "/proc"],
    )
    .env("PATH", "/usr/bin:/bin")
    .cwd("/")
    .timeout(Duration::from_secs(200));
    for dir in ["/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64"] {
        build = build.arg("--ro-bind-try").arg(dir).arg(dir);
    }
    for dir in ["/tmp", "/root", "/usr/share/maven-repo"] {
        build = build.arg("--tmpfs").arg(dir);
    }
    build = build.arg("--bind").arg(&mount).arg("/root/.m2/repository");
    build = build
        .arg("--bind")
        .arg(project.source())
        .arg("/work")
        .arg("--chdir")
        .arg("/work");
    for word in ["mvn", "-o", "-B", "-s", "settings.xml"] {
        build = build.arg(word);
    }
    let output = build
        .arg("-Dmaven.repo.local=/root/.m2/repository")
        .arg("package")
        .run();
    output.success();
    assert!(project.source().join("target").exists());
    fs::write(mount.join("after"), "after").unwrap();
    second.saved("m2-after", &mount);
}
