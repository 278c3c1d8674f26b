//! Saves and restores on Google Cloud Storage and Azure, from one machine to another.

use std::fs;

use cachefs_tests::clouds::{Azurite, BUCKET};
use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::{S3Options, S3Server, TOKEN};
use cachefs_tests::tree::{CompareOptions, assert_same};

use crate::support::{Commands, can_mount, sample_dir, strict_json};

/// Saves on one machine. A second machine mounts the cache, reads it, changes it and saves the
/// changes. A third machine restores a copy.
fn from_machine_to_machine(machine: impl Fn() -> Cachefs) {
    let first = machine();
    let dir = sample_dir(&first);
    first.saved("v1", &dir);

    let second = machine();
    let mount = second.dir("mount");
    second.restored("v1", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
    for place in [&mount, &dir] {
        fs::write(place.join("new"), "what the build made").expect("it can be written to");
    }
    assert_eq!(second.saved("v2", &mount)["added"], 1);
    second.umount(&mount);

    let third = machine();
    let copy = third.dir("copy");
    let restore = strict_json(third.restore("v2", &copy));
    restore.arg("--mode").arg("copy").run().success();
    let text = fs::read_to_string(copy.join("new")).expect("it was restored");
    assert_eq!(text, "what the build made");
    let list = third.run(["list"]).success();
    assert!(list.stdout().contains("v1") && list.stdout().contains("v2"));
    third.run(["delete", "v1"]).success();
    third.run(["check", "--read-data"]).success();
}

#[test]
fn google() {
    if !can_mount() {
        return;
    }
    let server = S3Server::start_with(S3Options {
        google: true,
        ..S3Options::default()
    });
    let server = server.unwrap();
    from_machine_to_machine(|| {
        Cachefs::with_remote(format!("gs://{BUCKET}/caches"))
            .unwrap()
            .with_env("CACHEFS_ENDPOINT", server.endpoint())
            .with_env("GOOGLE_OAUTH_ACCESS_TOKEN", TOKEN)
    });
}

#[test]
fn azure() {
    if !can_mount() {
        return;
    }
    let Some(server) = Azurite::start().unwrap() else {
        cachefs_skip::skip(
            "azure",
            "azurite-blob is not installed (or name it in CACHEFS_TEST_AZURITE)",
        );
        return;
    };
    from_machine_to_machine(|| {
        let (name, value) = server.connection_string();
        Cachefs::with_remote(format!("az://{BUCKET}/caches"))
            .unwrap()
            .with_env(name, value)
    });
}
