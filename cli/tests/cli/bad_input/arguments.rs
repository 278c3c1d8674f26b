//! Invalid keys, paths and addresses.

use std::fs;

use super::{refused, refused_softly};
use crate::support::{Commands, clean, machine, objects, remote_dir, sample_dir};

#[test]
fn keys_that_cannot_be() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let long = "k".repeat(513);
    for (what, key, message) in [
        ("an empty key", "", "key is empty"),
        ("a key that is too long", &*long, "key has 513 characters"),
        ("a key with a line break", "a\nb", "control character"),
        (
            "a key with a control character",
            "a\u{1}b",
            "control character",
        ),
    ] {
        let lookup = machine.command(["lookup", key]);
        for command in [machine.save(key, &dir), machine.restore(key, &dir), lookup] {
            let output = clean(command.run()).expect_code(2);
            let stderr = output.stderr();
            let line = |start| stderr.lines().find_map(|line| line.strip_prefix(start));
            let error = line("error: ").unwrap_or_else(|| panic!("{output}"));
            let hint = line("  hint: ").unwrap_or_else(|| panic!("{output}"));
            assert!(error.contains(message), "expected {message:?}\n{output}");
            println!("| {what} | 2 | {error} | {hint} |");
        }
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
