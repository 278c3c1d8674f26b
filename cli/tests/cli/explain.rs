//! `explain` reports why a key was missed, how a hit was used, and which files differ.

use std::fs;

use cachefs_tests::harness::{Cachefs, Invocation};
use cachefs_tests::s3::S3Server;
use serde_json::Value;

use crate::support::{Commands, clean, machine, machine_on, sample_dir, strict_json};

const KEY: &str = "m2-{{ os }}-{{ hashFiles('**/pom.xml') }}";

/// A machine that has saved the sample under a key that hashes two files.
fn saved_once() -> Option<Cachefs> {
    let machine = machine()?.with_env("CACHEFS_JOB", "build");
    write(&machine, "pom.xml", "<project/>");
    write(&machine, "inner/pom.xml", "<inner/>");
    machine.saved(KEY, &sample_dir(&machine));
    Some(machine)
}

fn write(machine: &Cachefs, path: &str, text: &str) {
    let file = machine.work().join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn json(invocation: Invocation) -> Value {
    let output = invocation.arg("--format").arg("json").run();
    clean(output.success()).json()
}

fn explained(machine: &Cachefs, key: &str) -> Value {
    json(machine.command(["explain", "--key", key]))
}

#[test]
fn a_miss_names_the_file_that_changed() {
    let Some(machine) = saved_once() else { return };
    write(&machine, "inner/pom.xml", "<changed/>");
    let missed = machine.restore(KEY, &machine.dir("mount")).run().success();
    let told = missed.stderr();
    assert!(
        told.contains("reason: inner/pom.xml changed since m2-linux-")
            && told.contains("was saved just now by job build"),
        "{missed}"
    );
    // This uses only the record of the restore.
    let explained = json(machine.command(["explain"]));
    let cache = &explained["caches"][0];
    assert_eq!(cache["match"], "miss");
    let near = &cache["nearest"][0];
    assert_eq!(
        (&near["inputs_agree"], &near["inputs"]),
        (&1.into(), &2.into())
    );
    assert_eq!(near["job"], "build");
    let differences = near["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1, "{near}");
    assert_eq!(differences[0]["what"], "file_changed");
    assert_eq!(differences[0]["path"], "inner/pom.xml");
    let text = machine.run(["explain"]).success();
    drop(
        text.stdout_has("inner/pom.xml changed: ")
            .stdout_has("1 of 2 inputs agree"),
    );
    assert_eq!(differences[0]["blake3"].as_str().unwrap().len(), 64);
}

#[test]
fn a_partial_hit_says_what_the_key_lacks() {
    let Some(machine) = saved_once() else { return };
    write(&machine, "third/pom.xml", "<third/>");
    let restore = machine.restore(KEY, &machine.dir("mount"));
    let restored = restore.arg("--restore-key").arg("m2-").run().success();
    drop(restored.stderr_has("reason: third/pom.xml is new since m2-linux-"));
}

#[test]
fn variables_and_templates_are_told_apart() {
    let Some(machine) = saved_once() else { return };
    let dir = machine.dir("node");
    fs::write(dir.join("file"), "content").unwrap();
    let key = "node-{{ env \"NODE\" }}";
    clean(machine.save(key, &dir).env("NODE", "20").run().success());
    let explained = json(machine.command(["explain", "--key", key]).env("NODE", "22"));
    let near = &explained["nearest"][0];
    assert_eq!(near["key"], "node-20");
    assert_eq!(near["differences"][0]["name"], "NODE");
    assert_eq!(near["differences"][0]["value"], "22");
    assert_eq!(near["differences"][0]["value_saved"], "20");
    // The other cache is not involved.
    assert_eq!(
        explained["nearest"].as_array().unwrap().len(),
        1,
        "{explained}"
    );
}

#[test]
fn case_and_platform_are_recognised() {
    let Some(machine) = machine() else { return };
    machine.saved("Linux-x64-m2-7", &sample_dir(&machine));
    let explained = explained(&machine, "linux-amd64-m2-7");
    assert_eq!(explained["match"], "miss");
    assert_eq!(
        explained["other_platform"],
        serde_json::json!(["Linux-x64-m2-7 (scope default)"])
    );
    let missed = machine.restore("Linux-arm64-m2-7", &machine.dir("mount"));
    // The message of a restore considers only keys with a common prefix.
    missed.run().success().stderr_has("miss Linux-arm64-m2-7");
}

#[test]
fn a_match_in_a_scope_that_was_not_looked_at_is_named() {
    let Some(machine) = machine() else { return };
    let save = machine.save("v1", &sample_dir(&machine));
    save.arg("--scope").arg("main").run().success();
    let explain = machine.command(["explain", "--key", "v1", "--scope", "feature"]);
    let explained = json(explain.clone());
    assert_eq!(explained["match"], "miss");
    assert_eq!(explained["looked_at"][0]["scope"], "feature");
    assert_eq!(explained["looked_at"][0]["keys"], 0);
    assert_eq!(explained["not_looked_at"][0]["scope"], "main");
    assert_eq!(explained["not_looked_at"][0]["matched_key"], "v1");
    let told = explain.clone().run().success();
    drop(told.stdout_has("--fallback-scope main"));
    let found = json(explain.arg("--fallback-scope").arg("main"));
    assert_eq!(found["match"], "exact");
    assert_eq!(found["matched_scope"], "main");
}

#[test]
fn nothing_to_compare_with_is_said() {
    let Some(machine) = machine() else { return };
    let nothing = machine.run(["explain"]).expect_code(2);
    drop(nothing.stderr_has("no restore with this store yet"));
    let missed = machine
        .restore("m2-1", &machine.dir("mount"))
        .run()
        .success();
    drop(missed.stderr_has("miss m2-1"));
    machine.saved("npm-1", &sample_dir(&machine));
    let missed = machine
        .restore("m2-1", &machine.dir("mount"))
        .run()
        .success();
    drop(missed.stderr_has("reason: no key in scope default starts with `m2-1`"));
}

#[test]
fn what_a_mount_was_read() {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    first.saved("v1", &sample_dir(&first));
    let machine = first.second_machine().unwrap();
    let mount = machine.dir("mount");
    let restore = strict_json(machine.restore("v1", &mount));
    clean(restore.arg("--prefetch").arg("none").run().success());
    let explain = || json(machine.command(["explain"]).arg(&mount).arg("--files"));
    let before = explain();
    assert_eq!(before["reads"]["read"]["count"], 0, "{before}");
    assert_eq!(before["files"]["count"], 44);
    assert_eq!(before["reads"]["fetched_on_demand"]["bytes"], 0);
    fs::read(mount.join("lib/medium")).unwrap();
    fs::read(mount.join("docs/7")).unwrap();
    let after = explain();
    let reads = &after["reads"];
    let used = |path: &str| {
        let listed = after["listed"].as_array().unwrap().iter();
        let file = listed.clone().find(|file| file["path"] == path);
        file.unwrap_or_else(|| panic!("{path}: {after}"))["use"].clone()
    };
    assert_eq!(used("lib/medium"), "read");
    assert_eq!(used("docs/7"), "read");
    if reads["exact_to"] == "files" {
        assert_eq!(reads["read"]["count"], 2, "{reads}");
        assert_eq!(reads["read"]["bytes"], 300_000 + 10_350);
        assert_ne!(used("lib/large"), "read");
    }
    let on_demand = reads["fetched_on_demand"]["bytes"].as_u64().unwrap();
    assert!(on_demand > 0, "{reads}");
    let count = |what: &str| reads[what]["count"].as_u64().unwrap();
    assert_eq!(
        count("read") + count("passed_over") + count("never_read"),
        44
    );
    let told = machine.command(["explain"]).arg(&mount).run().success();
    drop(
        told.stdout_has("largest never read:")
            .stdout_has("lib/large"),
    );
    machine.umount(&mount);
    let gone = machine
        .command(["explain"])
        .arg(&mount)
        .run()
        .expect_code(2);
    drop(gone.stderr_has("no cache was restored to"));
}

#[test]
fn a_copy_is_known_to_be_a_copy() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let copy = machine.dir("copy");
    let restore = machine.restore("v1", &copy);
    clean(restore.arg("--mode").arg("copy").run().success());
    let explained = json(machine.command(["explain"]).arg(&copy));
    assert_eq!(
        (&explained["how"], &explained["reads"]),
        (&"copy".into(), &Value::Null)
    );
    fs::write(copy.join("settings.xml"), "changed").unwrap();
    fs::remove_file(copy.join("docs/1")).unwrap();
    let diff = json(machine.command(["diff"]).arg(&copy));
    assert_eq!(changes(&diff), ["removed docs/1", "modified settings.xml"]);
}

fn changes(diff: &Value) -> Vec<String> {
    let entries = diff["entries"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["directory"] == false)
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            format!("{} {}", text("change"), text("path"))
        })
        .collect()
}

#[test]
fn a_mount_and_the_key_saved_from_it_differ_alike() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let diff = || machine.command(["diff"]).arg(&mount).arg("--exit-code");
    diff().run().success();
    fs::write(mount.join("new"), "new").unwrap();
    fs::write(mount.join("settings.xml"), "changed").unwrap();
    fs::remove_file(mount.join("docs/3")).unwrap();
    fs::remove_dir_all(mount.join("lib/inner")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(mount.join("docs/4"), mode).unwrap();
    let expected = [
        "removed docs/3",
        "attributes docs/4",
        "removed lib/inner/small",
        "added new",
        "modified settings.xml",
    ];
    let of_mount = diff()
        .arg("--format")
        .arg("json")
        .run()
        .expect_code(1)
        .json();
    assert_eq!(changes(&of_mount), expected);
    assert_eq!(of_mount["removed"], 3, "the directory counts");
    machine.saved("v2", &mount);
    let of_keys = json(machine.command(["diff", "v1", "v2"]));
    assert_eq!(changes(&of_keys), expected);
    let back = json(machine.command(["diff", "v2", "v1"]));
    assert!(changes(&back).contains(&"removed new".to_owned()));
    let names = machine.run(["diff", "v1", "v2", "--name-only"]).success();
    assert_eq!(
        names.stdout(),
        "docs/3\ndocs/4\nlib/inner/\nlib/inner/small\nnew\nsettings.xml\n"
    );
    let stat = machine.run(["diff", "v1", "v2", "--stat"]).success();
    drop(stat.stdout_has("1 added, 3 removed, 1 modified; "));
    machine.run(["diff", "v1", "v1", "--exit-code"]).success();
    let missing = machine.run(["diff", "v1", "nothing"]).expect_code(3);
    drop(missing.stderr_has("there is no key nothing"));
}

/// Two machines that do not share any state store the same files twice; `diff` must report them as
/// equal.
#[test]
fn equal_content_in_other_packs_is_equal() {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&first);
    first.saved("v1", &dir);
    let second = first.second_machine().unwrap();
    fs::write(dir.join("settings.xml"), "changed").unwrap();
    second.saved("v2", &dir);
    let diff = json(second.command(["diff", "v1", "v2"]));
    assert_eq!(changes(&diff), ["modified settings.xml"]);
}

#[test]
fn a_key_of_several_paths_is_one_key() {
    let Some(machine) = machine() else { return };
    for path in ["one", "two"] {
        write(&machine, &format!("{path}/file"), path);
    }
    let save = |key: &str| {
        let save = machine.command(["save", "--key", key, "--path", "one", "--path", "two"]);
        clean(save.run().success());
    };
    save("v1");
    write(&machine, "two/file", "changed");
    save("v2");
    let diff = json(machine.command(["diff", "v1", "v2"]));
    assert_eq!(changes(&diff), ["modified two/file"]);
    let found = explained(&machine, "v1");
    assert_eq!(
        (&found["match"], &found["looked_at"][0]["keys"]),
        (&"exact".into(), &2.into())
    );
    assert_eq!(explained(&machine, "v3")["match"], "miss");
}
