//! Policies decide when we restore and save, and the exit codes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::s3::{Fault, Rule, S3Server};
use serde_json::Value;

use crate::support::{Commands, clean, machine, machine_on, objects, remote_dir, strict_json};

#[track_caller]
fn json(invocation: Invocation) -> Value {
    clean(strict_json(invocation).run().success()).json()
}

fn dir_with(machine: &Cachefs, name: &str, files: &[&str]) -> std::path::PathBuf {
    let dir = machine.dir(name);
    for file in files {
        fs::write(dir.join(file), file).unwrap();
    }
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Lists the files of a key in a copy on another machine.
fn held(machine: &Cachefs, key: &str) -> Vec<String> {
    let copy = machine.dir(&format!("held-{}", fastrand::u64(..)));
    json(machine.restore(key, &copy).args(["--mode", "copy"]));
    names(&copy)
}

#[test]
fn a_policy_leaves_one_of_the_two_out() {
    let machine = Cachefs::new().unwrap();
    let dir = dir_with(&machine, "dir", &["a"]);
    for args in [&["--policy", "pull"][..], &["--read-only"]] {
        let saved = machine.save("k", &dir).args(args).run().success();
        assert!(saved.stderr().starts_with("not saved k: "), "{saved}");
        assert_eq!(
            json(machine.save("k", &dir).args(args))["result"],
            "skipped"
        );
    }
    assert!(objects(&remote_dir(&machine)).is_empty());
    let push = machine.save("k", &dir).args(["--policy", "push"]);
    assert_eq!(json(push)["result"], "saved");
    let empty = machine.dir("empty");
    let push = machine.restore("k", &empty).args(["--policy", "push"]);
    let output = push.clone().arg("--fail-on-cache-miss").run().success();
    assert!(output.stderr().contains("the policy is push"), "{output}");
    assert_eq!(json(push)["result"], "skipped");
    assert!(names(&empty).is_empty());
    // The variable applies to both commands of a job.
    for (name, value) in [("CACHEFS_POLICY", "pull"), ("CACHEFS_READ_ONLY", "1")] {
        let saved = machine.save("k2", &dir).env(name, value);
        assert_eq!(json(saved)["result"], "skipped");
    }
}

#[test]
fn a_job_that_only_reads_leaves_no_trace() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = dir_with(&machine, "dir", &["a", "b"]);
    json(machine.save("k", &dir));
    let other = machine.second_machine().unwrap();
    let mount = other.dir("mount");
    json(
        other
            .restore("k", &mount)
            .args(["--read-only", "--prefetch", "none"]),
    );
    server.faults().reset_counts();
    fs::read(mount.join("a")).unwrap();
    other.umount(&mount);
    other.stop();
    assert_eq!(server.faults().counts().of("PUT"), 0);
}

#[test]
fn save_if_and_override() {
    let machine = Cachefs::new().unwrap();
    let first = dir_with(&machine, "first", &["a", "b"]);
    let second = dir_with(&machine, "second", &["b", "c"]);
    assert_eq!(json(machine.save("k", &first))["result"], "saved");
    // `missing`: neither touches an existing key nor reads the directory.
    let missing = machine.save("k", &second).args(["--save-if", "missing"]);
    let kept = json(missing.clone());
    assert_eq!(
        (&kept["result"], &kept["files"]),
        (&"kept".into(), &0.into())
    );
    let said = missing.run().success();
    assert!(said.stderr().contains("it already exists"), "{said}");
    assert_eq!(held(&machine, "k"), ["a", "b"]);
    let missing = machine.save("new", &second).args(["--save-if", "missing"]);
    assert_eq!(json(missing)["result"], "saved");
    // `changed`, the default: adds new files.
    assert_eq!(json(machine.save("k", &second))["result"], "saved");
    assert_eq!(held(&machine, "k"), ["a", "b", "c"]);
    assert_eq!(json(machine.save("k", &second))["result"], "unchanged");
    // `--override`: the key then holds exactly this directory.
    let replaced = json(machine.save("k", &second).arg("--override"));
    assert_eq!(replaced["result"], "saved", "{replaced}");
    assert_eq!(held(&machine, "k"), ["b", "c"]);
    assert_eq!(
        json(machine.save("k", &second).arg("--override"))["result"],
        "unchanged"
    );
    // `always`: publishes a record even without changes, which makes the key the newest again.
    json(machine.save("k-2", &first));
    let always = json(machine.save("k", &second).args(["--save-if", "always"]));
    assert_eq!(always["result"], "linked", "{always}");
    let listed = machine.run(["list", "k"]).success().stdout();
    assert!(listed.starts_with("k  "), "{listed}");
    let both = machine
        .save("k", &first)
        .args(["--override", "--save-if", "missing"]);
    both.run().expect_code(2);
}

#[test]
fn override_from_a_mount_drops_what_others_saved_meanwhile() {
    let Some(machine) = machine() else { return };
    let first = dir_with(&machine, "first", &["a"]);
    json(machine.save("base", &first));
    let mount = machine.dir("mount");
    machine.restored("base", &mount);
    json(machine.save("k", &dir_with(&machine, "others", &["x"])));
    fs::write(mount.join("new"), "new").unwrap();
    json(machine.save("k", &mount).arg("--override"));
    assert_eq!(held(&machine, "k"), ["a", "new"]);
    json(machine.save("base", &mount));
    assert_eq!(held(&machine, "base"), ["a", "new"]);
}

#[test]
fn looking_without_restoring() {
    let machine = Cachefs::new().unwrap();
    let dir = dir_with(&machine, "dir", &["a"]);
    json(machine.save("k-1", &dir));
    let path = machine.work().join("not/there");
    let look = |key: &str| {
        let restore = machine.restore(key, &path);
        restore.args(["--restore-key", "k-", "--lookup-only"])
    };
    let found = json(look("k-1"));
    assert_eq!(
        (&found["result"], &found["match"]),
        (&"found".into(), &"exact".into())
    );
    assert_eq!(json(look("k-2"))["match"], "prefix");
    let strict = look("k-2").arg("--strict-key");
    assert_eq!(json(strict.clone())["result"], "miss");
    strict.arg("--fail-on-cache-miss").run().expect_code(3);
    look("k-2").arg("--fail-on-cache-miss").run().success();
    assert!(!path.exists());
    // `--lookup-only` needs no daemon.
    let other = machine.second_machine().unwrap();
    json(other.restore("k-1", &path).arg("--lookup-only"));
    assert!(!path.exists() && other.daemon().is_none());
}

#[test]
fn missing_inputs_of_keys_may_be_accepted() {
    let machine = Cachefs::new().unwrap();
    let dir = dir_with(&machine, "dir", &["a"]);
    let key = "k-{{ checksum \"gone\" }}{{ env \"NOT_SET\" }}";
    machine.save(key, &dir).run().expect_code(2);
    let saved = json(machine.save(key, &dir).arg("--allow-missing"));
    assert_eq!(saved["key"], "k-missing");
    let restore = machine.restore(key, &machine.dir("there"));
    assert_eq!(
        json(restore.args(["--allow-missing", "--mode", "copy"]))["match"],
        "exact"
    );
}

/// Every exit code, except those of signals.
#[test]
fn every_exit_code() {
    let machine = Cachefs::new().unwrap();
    let dir = dir_with(&machine, "dir", &["a"]);
    let there = machine.dir("there");
    let restore = |key: &str| machine.restore(key, &there).args(["--mode", "copy"]);
    let code =
        |invocation: Invocation, code: i32| -> Output { clean(invocation.run()).expect_code(code) };
    // 0: success, including a miss.
    code(restore("k"), 0).stderr_has("miss k");
    code(machine.save("k", &dir), 0);
    code(restore("k").arg("--fail-on-cache-miss"), 0);
    // 1: a local error, if strict.
    let file = machine.work().join("file");
    fs::write(&file, "").unwrap();
    let store = file.join("store");
    let broken = machine.save("k", &dir).arg("--store").arg(&store);
    code(broken.clone(), 0).stderr_has("CACHE NOT USED");
    code(broken.arg("--strict-errors"), 1);
    // 2: usage and configuration errors; always fatal.
    code(machine.save("{{ nope }}", &dir), 2).stderr_has("^^^^");
    code(restore("k").args(["--remote", "ftp://x"]), 2);
    code(machine.command(["restore", "--nope"]), 2);
    // 3: a miss with `--fail-on-cache-miss`; with JSON, the object also reports it.
    let miss = restore("other").arg("--fail-on-cache-miss");
    let miss = code(miss.args(["--format", "json"]), 3);
    assert_eq!(miss.json()["result"], "miss");
    code(machine.command(["lookup", "other"]), 3);
    // 4: a remote error, if strict.
    let gone = restore("k").args(["--timeout", "300ms", "--remote", "s3://bucket/p"]);
    let gone = gone.args([
        "--endpoint",
        "http://127.0.0.1:1",
        "--region",
        "x",
        "--anonymous",
    ]);
    code(gone.clone(), 0).stderr_has("CACHE NOT USED");
    code(gone.arg("--strict-errors"), 4);
    // 5: corruption; always fatal.
    let remote = remote_dir(&machine);
    let layer = objects(&remote)
        .into_keys()
        .find(|name| name.starts_with("layers/"));
    let layer = remote.join(layer.unwrap());
    let mut bytes = fs::read(&layer).unwrap();
    bytes[20] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let other = machine.second_machine().unwrap();
    let restore = other.restore("k", &other.dir("there"));
    code(restore.args(["--mode", "copy"]), 5);
}

#[test]
fn no_restore_and_no_save_hangs_a_job() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = dir_with(&machine, "dir", &["a"]);
    json(machine.save("k", &dir));
    server.faults().inject(Rule::new(Fault::Hang));
    let mount = machine.dir("mount");
    let started = Instant::now();
    let restore = machine
        .restore("k", &mount)
        .args(["--restore-timeout", "1s"]);
    let save = machine.save("k2", &dir).args(["--save-timeout", "1s"]);
    for (command, option) in [(restore, "--restore-timeout"), (save, "--save-timeout")] {
        let soft = clean(command.run().success());
        assert!(soft.stderr().contains("timed out after 1 s"), "{soft}");
        assert!(soft.stderr().contains(option), "{soft}");
        assert!(soft.stderr().contains("CACHE NOT USED"), "{soft}");
        let strict = command.args(["--strict-errors", "--format", "json"]);
        clean(strict.run().expect_code(4));
    }
    // Without the limits, each request alone would take at least 30 seconds.
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    // Nothing is half done, and everything works once the server does.
    assert!(names(&mount).is_empty());
    server.faults().clear();
    assert_eq!(json(machine.restore("k", &mount))["result"], "mounted");
    assert_eq!(json(machine.save("k2", &dir))["result"], "saved");
}

#[test]
fn a_copy_that_fails_leaves_an_empty_directory_empty() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = dir_with(&machine, "dir", &["a", "b"]);
    json(machine.save("k", &dir));
    let other = machine.second_machine().unwrap();
    server
        .faults()
        .inject(Rule::new(Fault::Status(403)).key("packs/"));
    let copy = |path: &Path| {
        let restore = other.restore("k", path).args(["--mode", "copy"]);
        restore.run().success().stderr_has("CACHE NOT USED");
    };
    let empty = other.dir("empty");
    copy(&empty);
    assert!(names(&empty).is_empty());
    // Existing files stay, even if the copy added others.
    let full = dir_with(&other, "full", &["own"]);
    copy(&full);
    assert!(names(&full).contains(&"own".to_owned()));
}
