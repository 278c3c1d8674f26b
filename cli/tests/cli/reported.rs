//! Reported values are correct: sizes, failures, expired keys, and lost changes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cachefs_tests::harness::Invocation;
use serde_json::Value;

use crate::support::{Commands, machine};

fn json(invocation: Invocation) -> Value {
    invocation.args(["--format", "json"]).run().success().json()
}

fn fill(dir: &Path, files: &[(&str, usize)]) {
    for (name, size) in files {
        fs::write(dir.join(name), vec![b'x'; *size]).unwrap();
    }
}

#[test]
fn sizes_are_those_of_the_tree_and_not_of_the_layers() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("dir");
    fill(&dir, &[("a", 1000), ("b", 10), ("c", 10)]);
    machine.saved("k", &dir);
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    // Replace one file and remove another: the layers hold four files and 1,520 bytes in total.
    fill(&mount, &[("a", 500)]);
    fs::remove_file(mount.join("b")).unwrap();
    let saved = machine.saved("k", &mount);
    assert_eq!(saved["tree"]["files"], 2, "{saved}");
    machine.umount(&mount);
    for restored in [
        machine.restored("k", &mount),
        machine.restored("k", &mount),
        json(
            machine
                .restore("k", &machine.dir("copy"))
                .args(["--mode", "copy"]),
        ),
        json(machine.restore("k", &mount).arg("--lookup-only")),
    ] {
        assert_eq!(
            (&restored["layers"], &restored["files"], &restored["bytes"]),
            (&2.into(), &2.into(), &510.into()),
            "{restored}"
        );
    }
    let listed = json(machine.command(["list"]));
    assert_eq!(listed["keys"][0]["bytes"], 510, "{listed}");
    let inspected = json(machine.command(["inspect", "k"]));
    assert_eq!(inspected["files"], 2, "{inspected}");
    assert_eq!(
        inspected["layers"][0]["saved_micros"],
        inspected["layers"][0]["created"]
    );
    let metrics = machine.work().join("metrics.json");
    machine
        .restore("k", &mount)
        .arg("--metrics-file")
        .arg(&metrics)
        .run()
        .success()
        .stderr_has("2 layers, 2 files, 510 B");
    let metrics: Value = serde_json::from_slice(&fs::read(metrics).unwrap()).unwrap();
    assert_eq!(metrics["caches"][0]["bytes"], 510, "{metrics}");
}

#[test]
fn a_stack_of_named_layers_is_counted_as_one_tree() {
    let Some(machine) = machine() else { return };
    let (base, top) = (machine.dir("base"), machine.dir("top"));
    fill(&base, &[("a", 100), ("b", 100)]);
    fill(&top, &[("b", 7), ("c", 3)]);
    machine.saved("base-1", &base);
    machine.saved("top-1", &top);
    let mount = machine.dir("mount");
    let restored = json(
        machine
            .restore("top-1", &mount)
            .args(["--layer", "base=base-1"]),
    );
    assert_eq!(
        (&restored["files"], &restored["bytes"]),
        (&3.into(), &110.into()),
        "{restored}"
    );
}

fn requests(result: &Value) -> u64 {
    let counts = result["requests"].as_object().unwrap().values();
    counts.filter_map(Value::as_u64).sum()
}

/// Points a command at a remote that refuses connections.
fn out_of_reach(invocation: Invocation) -> Invocation {
    invocation
        .env("CACHEFS_REMOTE", "s3://none")
        .env("CACHEFS_ENDPOINT", "http://127.0.0.1:9")
        .env("AWS_ACCESS_KEY_ID", "a")
        .env("AWS_SECRET_ACCESS_KEY", "b")
        .args(["--timeout", "1s"])
}

#[test]
fn a_failure_is_no_miss_and_took_time() {
    let Some(machine) = machine() else { return };
    for mode in ["mount", "copy"] {
        let metrics = machine.work().join("metrics.json");
        let summary = machine.work().join(format!("{mode}.md"));
        let restore = machine
            .restore("k", &machine.dir("mount"))
            .args(["--mode", mode, "--metrics-file"])
            .arg(&metrics)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", &summary);
        let failed = json(out_of_reach(restore));
        assert_eq!(failed["result"], "failed", "{failed}");
        assert!(failed.get("match").is_none(), "{failed}");
        assert!(failed["milliseconds"].as_f64().unwrap() > 100.0, "{failed}");
        assert!(requests(&failed) > 0, "{failed}");
        let metrics: Value = serde_json::from_slice(&fs::read(metrics).unwrap()).unwrap();
        let cache = &metrics["caches"][0];
        assert_eq!(cache["match"], Value::Null, "{metrics}");
        assert!(cache["milliseconds"].as_f64().unwrap() > 100.0, "{metrics}");
        assert!(requests(cache) > 0, "{metrics}");
        let summary = fs::read_to_string(summary).unwrap();
        assert!(
            summary.contains("**failed**") && !summary.contains("| 0 ms |"),
            "{summary}"
        );
    }
    out_of_reach(machine.save("k", &machine.dir("mount")))
        .run()
        .success();
}

#[test]
fn to_fail_without_a_cache_means_also_when_it_cannot_be_looked_up() {
    let Some(machine) = machine() else { return };
    let mount = machine.dir("mount");
    let restore = || out_of_reach(machine.restore("k", &mount));
    restore().run().success();
    restore().arg("--fail-on-cache-miss").run().expect_code(4);
    let exec = machine
        .command([
            "exec",
            "--fail-on-cache-miss",
            "--save-on",
            "never",
            "--key",
            "k",
            "--path",
        ])
        .arg(&mount);
    out_of_reach(exec).args(["--", "true"]).run().expect_code(4);
    let store = machine
        .command([
            "--store",
            "/dev/null/store",
            "restore",
            "--key",
            "k",
            "--path",
        ])
        .arg(&mount);
    store.run().success();
    store.arg("--fail-on-cache-miss").run().expect_code(1);
}

#[test]
fn a_key_that_expired_is_told_as_one() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("dir");
    fill(&dir, &[("a", 10)]);
    let save = machine.save("t-2", &dir).args(["--ttl", "1s"]);
    save.run().success().stderr_has("note: the key expires ");
    machine
        .save("t-3", &dir)
        .args(["--ttl", "14days"])
        .run()
        .success();
    machine
        .save("t-4", &dir)
        .args(["--ttl", "14"])
        .run()
        .expect_code(2)
        .stderr_has("14d");
    std::thread::sleep(Duration::from_millis(1500));
    let missed = machine
        .restore("t-2", &machine.dir("mount"))
        .run()
        .success();
    drop(
        missed
            .stderr_has("miss t-2")
            .stderr_has("reason: t-2 expired "),
    );
    let looked = machine.run(["lookup", "t-2"]).expect_code(3);
    drop(looked.stderr_has("no key matches t-2: t-2 expired "));
    let explained = machine.run(["explain", "--key", "t-2"]).success();
    drop(explained.stdout_has("has t-2, saved just now, expired just now"));
    let inspected = machine.run(["inspect", "t-2"]).success();
    drop(inspected.stdout_has("expired  just now"));
    let keys = json(machine.command(["list"]));
    let expired: Vec<_> = ["t-2", "t-3"]
        .map(|key| {
            let mut keys = keys["keys"].as_array().unwrap().iter();
            keys.find(|it| it["key"] == key).unwrap()["expired"].clone()
        })
        .to_vec();
    assert_eq!(expired, [Value::Bool(true), Value::Bool(false)], "{keys}");
    let listed = machine.run(["list"]).success();
    drop(
        listed
            .stdout_has("expired just now")
            .stdout_has("expires in 13 days"),
    );
    machine
        .run(["export", "--key", "t-2", "--output", "x.tar"])
        .expect_code(3)
        .stderr_has("key t-2 (scope default) expired");
}

#[test]
fn what_a_save_finds_unchanged_is_not_lost() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("dir");
    fill(&dir, &[("a", 10), ("b", 10)]);
    machine.saved("k", &dir);
    let mount = machine.dir("mount");
    let touch = || {
        // The kernel copies it up, but nothing changes.
        drop(
            fs::File::options()
                .append(true)
                .open(mount.join("a"))
                .unwrap(),
        );
        let mode = fs::metadata(mount.join("b")).unwrap().permissions();
        fs::set_permissions(mount.join("b"), mode).unwrap();
    };
    let lost = || json(machine.command(["umount"]).arg(&mount))["paths"][0]["lost_changes"].clone();
    let mounted = || drop(machine.restored("k", &mount));
    mounted();
    touch();
    assert_eq!(machine.saved("k", &mount)["result"], "unchanged");
    assert_eq!(lost(), false, "after a save");
    mounted();
    touch();
    assert_eq!(lost(), false, "without a save");
    mounted();
    fill(&mount, &[("a", 20)]);
    assert_eq!(lost(), true, "a change");
    mounted();
    fill(&mount, &[("a", 20)]);
    machine.saved("k-2", &mount);
    assert_eq!(lost(), false, "a change that was saved");
    mounted();
    fill(&mount, &[("a", 20)]);
    machine.saved("k-3", &mount);
    std::thread::sleep(Duration::from_millis(20));
    fill(&mount, &[("c", 20)]);
    assert_eq!(lost(), true, "a change after the save");
}

#[test]
fn a_path_that_shows_another_key_fails_the_build() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("dir");
    fill(&dir, &[("a", 10)]);
    machine.saved("one", &dir);
    fill(&dir, &[("b", 10)]);
    machine.saved("two", &dir);
    let mount = machine.dir("mount");
    machine.restored("one", &mount);
    let held = fs::File::open(mount.join("a")).unwrap();
    let output = machine.restore("two", &mount).run().expect_code(2);
    let output = output
        .stderr_has("still shows key one")
        .stderr_has("cachefs umount --lazy");
    assert!(!output.stderr().contains("CACHE NOT USED"), "{output}");
    drop(held);
}

#[test]
fn a_key_of_another_path_is_told_and_auto_does_not_take_it() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("node_modules");
    fill(&dir, &[("a", 10)]);
    machine.saved("npm-1", &dir);
    let warning = "warning: key npm-1 was saved from node_modules, but is restored to other";
    machine
        .restore("npm-1", &machine.dir("other"))
        .run()
        .success()
        .stderr_has(warning);
    let same = machine
        .restore("npm-1", &dir)
        .args(["--mode", "copy"])
        .run()
        .success();
    assert!(!same.stderr().contains("was saved from"), "{same}");
    fs::write(machine.work().join("package.json"), "{}").unwrap();
    fs::write(machine.work().join("package-lock.json"), "{}").unwrap();
    let auto = json(machine.command(["auto", "restore", "--tool", "npm"]));
    let caches = auto["caches"].as_array().unwrap();
    assert!(!caches.is_empty(), "{auto}");
    assert!(caches.iter().all(|it| it["match"] == "miss"), "{auto}");
}

#[test]
fn commands_about_a_key_look_where_a_restore_looks() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("dir");
    fill(&dir, &[("a", 10)]);
    let ci = |invocation: Invocation| {
        invocation
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REF", "refs/heads/feature/x")
            .env("GITHUB_REF_NAME", "feature/x")
            .env("GITHUB_REF_TYPE", "branch")
            .env("CACHEFS_DEFAULT_BRANCH", "main")
    };
    let config = json(ci(machine.command(["config"])));
    assert_eq!(config["scopes"][0], "branch/feature/x", "{config}");
    let Some(fallback) = config["scopes"].get(1).and_then(Value::as_str) else {
        return;
    };
    machine
        .save("k", &dir)
        .args(["--scope", fallback])
        .run()
        .success();
    let inspected = json(ci(machine.command(["inspect", "k"])));
    assert_eq!(inspected["scope"], fallback, "{inspected}");
    let compared = json(ci(machine.command(["diff", "k", "k"])));
    assert_eq!(compared["added"], 0, "{compared}");
}
