//! Keys, paths and addresses that cannot be.

use std::fs;

use super::{refused, refused_softly};
use crate::support::{Commands, machine, objects, remote_dir, sample_dir};

#[test]
fn keys_that_cannot_be() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let long = "k".repeat(513);
    let cases = [
        ("an empty key", "", "the key is empty"),
        (
            "a key of 513 characters",
            &long,
            "the key has 513 characters; at most 512 are allowed",
        ),
        (
            "a key with a line break",
            "a\nb",
            "the key has the control character '\\n'",
        ),
        (
            "a key with a NUL-like byte",
            "a\u{1}b",
            "the key has the control character '\\u{1}'",
        ),
    ];
    for (what, key, message) in cases {
        for command in [machine.save(key, &dir), machine.restore(key, &dir)] {
            refused(what, command.run(), 2, message);
        }
        refused(what, machine.run(["lookup", key]), 2, message);
    }
    assert!(objects(&remote_dir(&machine)).is_empty());
}

#[test]
fn paths_that_cannot_be() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let file = dir.join("settings.xml");
    let missing = machine.work().join("missing");
    machine.saved("v1", &dir);
    let before = objects(&remote_dir(&machine));
    refused(
        "save of a missing path",
        machine.save("k", &missing).run(),
        2,
        "does not exist",
    );
    refused(
        "save of a file",
        machine.save("k", &file).run(),
        2,
        "is not a directory",
    );
    refused(
        "restore to a file",
        machine.restore("v1", &file).run(),
        2,
        "is a file",
    );
    let below = machine.restore("v1", &file.join("below"));
    refused_softly("restore below a file", &below, 1, "Not a directory");
    let umount = machine.command(["umount"]).arg(&missing);
    refused(
        "umount of what is not mounted",
        umount.run(),
        2,
        "was not restored from this store",
    );
    assert_eq!(objects(&remote_dir(&machine)), before);
    assert_eq!(fs::metadata(&file).unwrap().len(), 139);
}

#[test]
fn addresses_that_cannot_be() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    for (what, url) in [
        ("a remote of an unknown kind", "ftp://host/dir"),
        ("a remote that is no address", "cache"),
        ("a bucket without a name", "s3://"),
        ("a directory that is not absolute", "file://relative/dir"),
    ] {
        for command in [
            machine.save("k", &dir),
            machine.restore("k", &machine.dir("m")),
        ] {
            refused(what, command.env("CACHEFS_REMOTE", url).run(), 2, "");
        }
    }
    let command = machine
        .restore("k", &machine.dir("m"))
        .arg("--layer")
        .arg("no-key");
    refused(
        "a layer without a key",
        command.run(),
        2,
        "`no-key` is not NAME=KEY",
    );
    let command = machine.save("k", &dir).arg("--scope").arg("");
    refused("an empty scope", command.run(), 2, "the scope is empty");
}

#[test]
fn words_that_are_not_of_the_command_line() {
    let Some(machine) = machine() else { return };
    for arguments in [
        &["restore", "--path", "/tmp/x"][..],
        &["restore", "--key", "k"],
        &["save", "--key", "k", "--path", "x", "--timeout", "soon"],
        &["save", "--key", "k", "--path", "x", "--cache-limit", "much"],
        &["restore", "--key", "k", "--path", "x", "--mode", "magic"],
        &["frobnicate"],
    ] {
        let output = machine.run(arguments).expect_code(2);
        assert!(output.stderr().starts_with("error: "), "{output}");
    }
}
