//! Remotes that refuse requests, fail, hang, or return different bytes than we stored.

use std::fs;
use std::time::{Duration, Instant};

use cachefs_tests::harness::{Cachefs, Output};
use cachefs_tests::nobody::Nobody;
use cachefs_tests::s3::{Fault, Rule, S3Server};
use cachefs_tests::tree::{CompareOptions, assert_same};

use super::{refused, refused_softly};
use crate::support::{Commands, clean, machine, machine_on, objects, sample_dir, strict_json};

/// A server with the sample as `v1`, and a machine with an empty store.
fn served() -> Option<(S3Server, Cachefs, Cachefs)> {
    let server = S3Server::start().unwrap();
    let first = machine_on(&server)?;
    first.saved("v1", &sample_dir(&first));
    let second = first
        .second_machine()
        .unwrap()
        .with_env("CACHEFS_TIMEOUT", "700ms");
    Some((server, first, second))
}

#[test]
fn answers_that_say_no() {
    let Some((server, _, machine)) = served() else {
        return;
    };
    let (dir, mount) = (sample_dir(&machine), machine.dir("mount"));
    for (status, message) in [
        (403, "access denied"),
        (409, "409"),
        (500, "500"),
        (503, "503"),
    ] {
        server.faults().inject(Rule::new(Fault::Status(status)));
        let before = objects(&server.bucket_dir());
        let restore = machine.restore("v1", &mount);
        refused_softly(
            &format!("restore, and the server says {status}"),
            &restore,
            4,
            message,
        );
        refused_softly(
            &format!("save, and the server says {status}"),
            &machine.save("k", &dir),
            4,
            message,
        );
        refused(
            &format!("list, and the server says {status}"),
            machine.run(["list"]),
            4,
            message,
        );
        server.faults().clear();
        assert_eq!(objects(&server.bucket_dir()), before);
        assert!(
            fs::read_dir(&mount).unwrap().next().is_none(),
            "something is at the path"
        );
    }
    // Fail only the writes: packs first, then the layer, then the ref.
    for (part, status, message) in [
        ("packs/", 403, "access denied"),
        ("layers/", 500, "500"),
        ("refs/", 503, "503"),
        ("refs/", 412, "exists already"),
    ] {
        server
            .faults()
            .inject(Rule::new(Fault::Status(status)).method("PUT").key(part));
        // Use new content each time, so that no failed save has stored it before.
        fs::write(dir.join("new"), format!("{part}{status}").repeat(5000)).unwrap();
        let save = machine.save("k", &dir);
        refused_softly(
            &format!("save, and writes to {part} get {status}"),
            &save,
            4,
            message,
        );
        server.faults().clear();
        machine.run(["lookup", "k"]).expect_code(3);
    }
    machine.saved("k", &dir);
    machine.restored("k", &mount);
    assert_same(&dir, &mount, &CompareOptions::default());
}

#[test]
fn remotes_that_are_not_there() {
    let Some((server, _, machine)) = served() else {
        return;
    };
    let (dir, mount) = (sample_dir(&machine), machine.dir("mount"));
    let nobody = Nobody::new().unwrap();
    let nowhere = |command: cachefs_tests::harness::Invocation| {
        command.env("CACHEFS_ENDPOINT", nobody.endpoint())
    };
    let no_bucket = |command: cachefs_tests::harness::Invocation| {
        command.env("CACHEFS_REMOTE", "s3://no-such-bucket/x")
    };
    let bad_key =
        |command: cachefs_tests::harness::Invocation| command.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let no_key = |command: cachefs_tests::harness::Invocation| {
        command
            .without_env("AWS_SECRET_ACCESS_KEY")
            .without_env("AWS_ACCESS_KEY_ID")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    };
    for (name, command) in [
        ("restore", machine.restore("v1", &mount)),
        ("save", machine.save("k", &dir)),
    ] {
        refused_softly(
            &format!("{name}, connection refused"),
            &nowhere(command.clone()),
            4,
            "refused",
        );
        refused_softly(
            &format!("{name}, no such bucket"),
            &no_bucket(command.clone()),
            4,
            "the remote does not exist",
        );
        refused_softly(
            &format!("{name}, wrong credentials"),
            &bad_key(command.clone()),
            4,
            "access denied",
        );
        refused_softly(
            &format!("{name}, no credentials"),
            &no_key(command),
            4,
            "access denied",
        );
    }
    drop(server);
    let Some(machine) = crate::support::machine() else {
        return;
    };
    let file = machine.work().join("file");
    fs::write(&file, "x").unwrap();
    let at_file = format!("file://{}", file.display());
    let restore = machine
        .restore("v1", &mount)
        .env("CACHEFS_REMOTE", &at_file);
    refused_softly(
        "restore, the remote's directory is a file",
        &restore,
        4,
        "the remote does not exist",
    );
    let save = machine.save("v1", &dir).env("CACHEFS_REMOTE", &at_file);
    refused_softly(
        "save, the remote's directory is a file",
        &save,
        4,
        "the remote does not exist",
    );
    let missing = format!("file://{}/not/there", machine.work().display());
    let restore = machine.restore("v1", &mount).env("CACHEFS_REMOTE", missing);
    refused_softly(
        "restore, the remote's directory is missing",
        &restore,
        4,
        "the remote does not exist",
    );
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let Some((server, _, machine)) = served() else {
        return;
    };
    let machine = machine.with_env("CACHEFS_TIMEOUT", "2s");
    let (dir, mount) = (sample_dir(&machine), machine.dir("mount"));
    server.faults().inject(Rule::new(Fault::Hang));
    let started = Instant::now();
    let restore = machine.restore("v1", &mount).arg("--strict-errors");
    refused(
        "restore from a server that hangs",
        restore.run(),
        4,
        "timed out",
    );
    let save = machine.save("k", &dir).arg("--strict-errors");
    refused("save to a server that hangs", save.run(), 4, "timed out");
    // Without `--timeout`, each request alone would take at least 30 seconds.
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
    server.faults().clear();
    machine.restored("v1", &mount);
}

/// Asserts that a restore is a miss because the remote lost part of the key.
#[track_caller]
fn is_lost(output: Output) {
    let output = clean(output).success();
    assert!(output.stderr().contains("miss v1"), "{output}");
    assert!(output.stderr().contains("no longer has"), "{output}");
}

#[test]
fn bytes_that_are_not_what_was_stored() {
    let Some((server, first, _)) = served() else {
        return;
    };
    let dir = first.dir("sample");
    for (what, fault) in [
        ("cut off", Fault::Truncate(100)),
        ("short", Fault::Shorten(100)),
        ("corrupt", Fault::Corrupt(70)),
    ] {
        for part in ["layers/", "packs/"] {
            let machine = first.second_machine().unwrap();
            let target = machine.dir("target");
            server
                .faults()
                .inject(Rule::new(fault).method("GET").key(part));
            let restore = machine.restore("v1", &target).arg("--mode").arg("copy");
            let name = format!("copy, {part} arrive {what}");
            match (part, what) {
                // A power cut can leave a short layer, so we treat it as lost.
                ("layers/", "short") => is_lost(restore.run()),
                // A truncated body does not prove that the object is damaged: it is an outage.
                (_, "cut off") => {
                    let restore = machine.restore("v1", &target).arg("--mode").arg("copy");
                    let restore = restore.arg("--timeout").arg("3s").arg("--strict-errors");
                    drop(refused(&name, restore.run(), 4, "unavailable"));
                }
                // Corruption always fails, with or without `--strict-errors`.
                _ => drop(refused(&name, restore.run(), 5, "damaged")),
            }
            server.faults().clear();
            clean(strict_json(restore).run().success());
            assert_same(&dir, &target, &CompareOptions::default());
        }
    }
}

#[test]
fn short_trouble_goes_unnoticed() {
    let Some((server, first, machine)) = served() else {
        return;
    };
    let machine = machine.with_env("CACHEFS_TIMEOUT", "20s");
    for fault in [
        Fault::Status(503),
        Fault::Status(409),
        Fault::Disconnect,
        Fault::Truncate(50),
    ] {
        server
            .faults()
            .inject(Rule::new(fault).probability(0.3).times(8));
    }
    server.faults().inject(
        Rule::new(Fault::LoseAnswer)
            .method("PUT")
            .probability(0.3)
            .times(4),
    );
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    assert_same(&first.dir("sample"), &mount, &CompareOptions::default());
    fs::write(mount.join("new"), vec![3; 100_000]).unwrap();
    machine.saved("v2", &mount);
    server.faults().clear();
    let there = first.dir("there");
    first.restored("v2", &there);
    assert_same(&mount, &there, &CompareOptions::default());
}

#[test]
fn objects_that_were_lost_or_damaged_in_a_directory() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let remote = crate::support::remote_dir(&machine);
    let of = |kind: &str| {
        let names = objects(&remote).into_keys();
        remote.join(
            names
                .into_iter()
                .find(|name| name.starts_with(kind))
                .unwrap(),
        )
    };
    for kind in ["layers/", "packs/"] {
        let object = of(kind);
        let whole = fs::read(&object).unwrap();
        let reader = machine.second_machine().unwrap();
        let target = reader.dir("target");
        let copy = reader.restore("v1", &target).arg("--mode").arg("copy");
        let mut flipped = whole.clone();
        flipped[whole.len() / 3] ^= 0x10;
        fs::write(&object, &flipped).unwrap();
        refused(
            &format!("copy, {kind} with one bit flipped"),
            copy.run(),
            5,
            "damaged",
        );
        let checked = clean(machine.run(["check", "--read-data"])).expect_code(5);
        drop(checked.stdout_has("damaged: ").stdout_has("hint: "));
        fs::write(&object, &whole[..whole.len() / 2]).unwrap();
        is_lost(copy.run());
        fs::write(&object, &whole).unwrap();
    }
    for kind in ["layers/", "packs/"] {
        let object = of(kind);
        let whole = fs::read(&object).unwrap();
        let reader = machine.second_machine().unwrap();
        let copy = reader
            .restore("v1", &reader.dir("target"))
            .arg("--mode")
            .arg("copy");
        fs::remove_file(&object).unwrap();
        let output = clean(copy.arg("--strict-errors").run().success());
        assert!(output.stderr().contains("no longer has"), "{output}");
        let checked = clean(machine.run(["check"])).expect_code(5);
        drop(checked.stdout_has("missing: ").stdout_has("needed by v1"));
        println!(
            "| copy, {kind} missing | {:?} | {} |",
            output.code(),
            output.stderr().trim()
        );
        fs::write(&object, &whole).unwrap();
    }
    // The head is a copy of the newest record; we fall back to the record if the head is damaged.
    let head = of("refs/");
    assert!(head.ends_with("~h"), "{head:?}");
    let record = fs::read_dir(head.parent().unwrap()).unwrap();
    let mut record = record.map(|entry| entry.unwrap().path());
    let record = record.find(|path| *path != head).unwrap();
    let whole = fs::read(&head).unwrap();
    let reader = machine.second_machine().unwrap();
    let target = reader.dir("target");
    let copy = reader.restore("v1", &target).arg("--mode").arg("copy");
    fs::write(&head, &whole[..whole.len() / 2]).unwrap();
    clean(copy.run().success());
    assert_same(&dir, &target, &CompareOptions::default());
    fs::write(&record, &whole[..whole.len() / 2]).unwrap();
    // A power cut can truncate both, so we treat the key as never written.
    let torn = clean(copy.run().success());
    assert!(torn.stderr().contains("miss v1"), "{torn}");
    assert!(torn.stderr().contains("truncated"), "{torn}");
    let flipped: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();
    fs::write(&head, &flipped).unwrap();
    fs::write(&record, &flipped).unwrap();
    refused("copy, the ref with other bytes", copy.run(), 5, "damaged");
    fs::write(&record, &whole).unwrap();
    fs::write(&head, &whole).unwrap();
    let checked = machine.run(["check", "--read-data"]).success();
    drop(checked.stderr_has("no problems"));
}
