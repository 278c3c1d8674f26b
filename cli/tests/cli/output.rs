//! The output of the commands, as far as scripts rely on it.

use std::fs;

use cachefs_tests::harness::Cachefs;
use serde_json::Value;

use crate::support::{Commands, clean, machine, sample_dir, strict_json};

/// The member names of an object; nested names are joined with dots.
fn shape(value: &Value) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, member) in value.as_object().unwrap() {
        match member {
            Value::Object(_) => {
                names.extend(shape(member).iter().map(|inner| format!("{name}.{inner}")))
            }
            Value::Array(members) if members.first().is_some_and(Value::is_object) => {
                names.extend(
                    shape(&members[0])
                        .iter()
                        .map(|inner| format!("{name}[].{inner}")),
                );
            }
            _ => names.push(name.clone()),
        }
    }
    names.sort();
    names
}

#[track_caller]
fn assert_shape(what: &str, value: &Value, names: &str) {
    let mut expected: Vec<&str> = names.split_whitespace().collect();
    expected.sort_unstable();
    assert_eq!(shape(value), expected, "{what}: {value}");
    assert_eq!(value["version"], 1, "{what}");
}

fn json(machine: &Cachefs, arguments: &[&str]) -> Value {
    let output = clean(
        machine
            .command(["--format", "json"].iter().chain(arguments))
            .run(),
    );
    assert_eq!(output.stdout().lines().count(), 1, "{output}");
    output.json()
}

const REQUESTS: &str = "requests.get requests.put requests.head requests.list requests.delete";

#[test]
fn the_shapes_of_json() {
    let Some(machine) = machine() else { return };
    fs::write(machine.work().join("pom.xml"), "<project/>").unwrap();
    let dir = sample_dir(&machine);
    let saved = machine.saved("v1-{{ checksum \"pom.xml\" }}", &dir);
    let names = "key scope result layers files bytes added modified removed new_bytes new_raw_bytes \
                 notes secrets skipped squashed merged_saves united tree.files tree.bytes expires_at expires_micros \
                 duration_ms milliseconds bytes_sent bytes_received version";
    assert_shape("save", &saved, &format!("{names} {REQUESTS}"));
    let mount = machine.dir("mount");
    let restored = machine.restored("v1-{{ checksum \"pom.xml\" }}", &mount);
    let names = "key path matched_key scope matched_scope match result layers files bytes \
                 duration_ms milliseconds bytes_received unsaved_changes unsaved_moved_to notes version";
    assert_shape("restore", &restored, &format!("{names} {REQUESTS}"));
    let key = restored["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("v1-") && key.len() > 20, "{key}");
    assert_shape(
        "lookup",
        &json(&machine, &["lookup", &key]),
        "key matched_key matched_scope match reason why version",
    );
    let names = "keys[].key keys[].scope keys[].saved_at keys[].saved_micros keys[].saves \
                 keys[].files keys[].bytes keys[].expires_at keys[].expires_micros keys[].expired version";
    assert_shape("list", &json(&machine, &["list"]), names);
    let inspected = json(&machine, &["inspect", &key]);
    for name in ["key", "scope", "saves", "version"] {
        assert!(inspected.get(name).is_some(), "{name}: {inspected}");
    }
    let layer = &inspected["layers"][0];
    let names = "id length entries files bytes whiteouts xattrs new_bytes created key creator";
    for name in names.split_whitespace() {
        assert!(layer.get(name).is_some(), "{name}: {inspected}");
    }
    assert!(
        inspected["parts"].to_string().contains("pom.xml"),
        "{inspected}"
    );
    let stats = machine.stats();
    for name in ["store", "restored", "daemon", "version"] {
        assert!(stats.get(name).is_some(), "{name}: {stats}");
    }
    for name in [
        "pid",
        "version",
        "uptime_seconds",
        "views",
        "reads",
        "traffic",
        "cache_bytes",
        "cache_limit",
    ] {
        assert!(stats["daemon"].get(name).is_some(), "{name}: {stats}");
    }
    for name in ["path", "key", "scope", "how", "state", "layers"] {
        assert!(stats["restored"][0].get(name).is_some(), "{name}: {stats}");
    }
    let expanded = json(&machine, &["key", "a-{{ checksum \"pom.xml\" }}"]);
    assert!(
        expanded["key"].as_str().unwrap().starts_with("a-"),
        "{expanded}"
    );
    let doctor = json(&machine, &["doctor"]);
    let names = "mode findings[].name findings[].status findings[].detail findings[].hint version";
    assert_shape("doctor", &doctor, names);
}

#[test]
fn results_go_to_stdout_and_the_rest_to_stderr() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let saved = machine.save("v1", &dir).run().success();
    assert!(
        saved.stdout().is_empty() && saved.stderr().starts_with("saved v1: "),
        "{saved}"
    );
    let restored = machine.restore("v1", &machine.dir("mount")).run().success();
    assert!(
        restored.stdout().is_empty() && restored.stderr().starts_with("hit v1: "),
        "{restored}"
    );
    let found = machine.run(["lookup", "v1"]).success();
    assert_eq!(
        (found.stdout().as_str(), found.stderr().as_str()),
        ("v1\n", "")
    );
    let listed = machine.run(["list"]).success();
    assert!(listed.stdout().starts_with("v1  "), "{listed}");
    let inspected = machine.run(["inspect", "v1"]).success();
    drop(inspected.stdout_has("layer").stdout_has("v1"));
    machine
        .run(["delete", "v1"])
        .success()
        .stderr_has("deleted v1");
    machine
        .run(["lookup", "v1"])
        .expect_code(3)
        .stderr_has("no key matches v1");
    machine
        .run(["inspect", "v1"])
        .expect_code(3)
        .stderr_has("there is no key v1");
    machine
        .run(["delete", "v1"])
        .expect_code(3)
        .stderr_has("there is no key v1");
}

#[test]
fn a_prefix_finds_the_newest_key() {
    let Some(machine) = machine() else { return };
    for name in ["m2-a", "m2-c", "m2-b", "other"] {
        let dir = machine.dir(name);
        fs::write(dir.join("which"), name).unwrap();
        machine.saved(name, &dir);
    }
    let mount = machine.dir("mount");
    let restore = machine.restore("m2-none", &mount);
    let restore = restore
        .arg("--restore-key")
        .arg("nothing-")
        .arg("--restore-key")
        .arg("m2-");
    let restored = strict_json(restore.clone()).run().success().json();
    assert_eq!(
        (&restored["match"], &restored["matched_key"]),
        (&"prefix".into(), &"m2-b".into())
    );
    assert_eq!(fs::read(mount.join("which")).unwrap(), b"m2-b");
    restore
        .run()
        .success()
        .stderr_has("partial hit m2-b (prefix m2-; no m2-none)");
    let looked = machine
        .run(["lookup", "m2-none", "--restore-key", "m2-"])
        .success();
    assert_eq!(looked.stdout(), "m2-b\n");
    let listed = machine.run(["list", "m2-"]).success().stdout();
    let keys: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(keys, ["m2-b", "m2-c", "m2-a"]);
    // After a save under the missing key, the next restore is an exact hit.
    machine.saved("m2-none", &mount);
    machine.umount(&mount);
    assert_eq!(machine.restored("m2-none", &mount)["match"], "exact");
}

#[test]
fn scopes_keep_keys_apart_and_fall_back() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    strict_json(machine.save("v1", &dir))
        .arg("--scope")
        .arg("main")
        .run()
        .success();
    let mount = machine.dir("mount");
    let restore = machine.restore("v1", &mount).arg("--scope").arg("feature");
    let missed = strict_json(restore.clone()).run().success().json();
    assert_eq!(missed["match"], "miss");
    let found = strict_json(restore.arg("--fallback-scope").arg("main"))
        .run()
        .success()
        .json();
    assert_eq!(found["match"], "exact");
}

#[test]
fn a_miss_is_a_success_unless_told_otherwise() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    let restore = machine.restore("v2", &mount);
    restore.run().success().stderr_has("miss v2");
    restore
        .clone()
        .arg("--fail-on-cache-miss")
        .run()
        .expect_code(3)
        .stderr_has("miss v2");
    let copy = restore
        .arg("--mode")
        .arg("copy")
        .arg("--fail-on-cache-miss");
    copy.run().expect_code(3).stderr_has("miss v2");
    assert!(machine.sandbox().mounts().unwrap().is_empty());
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0);
}

#[test]
fn an_error_in_a_key_is_pointed_at() {
    let Some(machine) = machine() else { return };
    for (template, at) in [
        ("m2-{{ checksm \"pom.xml\" }}", "checksm"),
        ("m2-{{ checksum \"no.xml\" }}", "no.xml"),
        ("m2-{{ arch", "{{"),
    ] {
        let output = clean(machine.run(["key", template])).expect_code(2);
        let stderr = output.stderr();
        let lines: Vec<&str> = stderr.lines().collect();
        let shown = lines.iter().position(|line| line.contains(template));
        let shown = shown.unwrap_or_else(|| panic!("the template is not shown\n{output}"));
        let caret = lines[shown + 1]
            .find('^')
            .unwrap_or_else(|| panic!("no caret\n{output}"));
        let start = lines[shown].find(at).unwrap();
        assert!(
            (start.saturating_sub(2)..start + at.len()).contains(&caret),
            "{output}"
        );
        drop(output.stderr_has("hint: "));
    }
}

#[test]
fn completions_for_every_shell() {
    let Some(machine) = machine() else { return };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = machine.run(["completions", shell]).success();
        assert!(
            output.stdout().contains("restore") && output.stdout().len() > 1000,
            "{output}"
        );
    }
}

#[test]
fn doctor_says_what_this_machine_can_do() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let output = clean(machine.run(["doctor"]).success());
    drop(
        output
            .stdout_has("will mount caches here")
            .stdout_has("1 key in scope default"),
    );
    let gone = machine
        .command(["doctor"])
        .env("CACHEFS_REMOTE", "file:///proc/version/x")
        .run();
    assert!([Some(0), Some(4)].contains(&gone.code()), "{gone}");
    assert!(gone.stdout().contains("remote"), "{gone}");
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    for closing in [
        ">&-",
        "2>&-",
        "| true",
        "2>&1 | true",
        ">/dev/full",
        "2>/dev/full",
    ] {
        let script = format!("\"$0\" -vv restore --key v1 --path \"$1\" {closing}");
        let output = cachefs_tests::harness::Invocation::new("/bin/sh", ["-c", &script])
            .arg(machine.binary())
            .arg(machine.dir("mount"))
            .env("CACHEFS_STORE", machine.store())
            .env("CACHEFS_REMOTE", machine.remote())
            .run();
        clean(output.success());
    }
    assert!(machine.dir("mount").join("settings.xml").exists());
}
