//! Outputs that we pass to CI systems.

use std::fs;
use std::path::PathBuf;

use cachefs_tests::harness::{Cachefs, Invocation};
use serde_json::Value;

use crate::support::{Commands, clean, machine, sample_dir};

/// A machine with a key, and a directory for the output files of the CI system.
fn saved_once() -> Option<(Cachefs, PathBuf)> {
    let machine = machine()?;
    machine.saved("m2-1", &sample_dir(&machine));
    let files = machine.dir("ci");
    Some((machine, files))
}

fn text(file: PathBuf) -> String {
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn on_github(invocation: Invocation, files: &std::path::Path) -> Invocation {
    invocation
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_OUTPUT", files.join("output"))
        .env("GITHUB_STEP_SUMMARY", files.join("summary"))
}

/// The value of an output, as the runner reads it.
fn output(files: &std::path::Path, name: &str) -> Option<String> {
    let text = text(files.join("output"));
    let mut lines = text.lines();
    let mut found = None;
    while let Some(line) = lines.next() {
        let (given, delimiter) = line.split_once("<<").unwrap();
        let value: Vec<_> = lines
            .by_ref()
            .take_while(|line| *line != delimiter)
            .collect();
        if given == name {
            found = Some(value.join("\n"));
        }
    }
    found
}

#[test]
fn a_github_step_has_the_outputs_of_actions_cache() {
    let Some((machine, files)) = saved_once() else {
        return;
    };
    let cases = [
        ("m2-1", "true", "m2-1"),
        ("m2-2", "false", "m2-1"),
        ("x", "", ""),
    ];
    for (number, (key, hit, matched)) in cases.into_iter().enumerate() {
        let mount = machine.dir(&format!("mount{number}"));
        let restore = machine.restore(key, &mount).arg("--restore-key").arg("m2-");
        let restore = match key {
            "x" => machine.restore(key, &mount),
            _ => restore,
        };
        clean(on_github(restore, &files).run().success());
        assert_eq!(output(&files, "cache-hit").as_deref(), Some(hit));
        assert_eq!(output(&files, "cache-primary-key").as_deref(), Some(key));
        assert_eq!(
            output(&files, "cache-matched-key").as_deref(),
            Some(matched)
        );
    }
    let summary = text(files.join("summary"));
    assert_eq!(
        summary.matches("### cachefs restore").count(),
        3,
        "{summary}"
    );
    assert!(summary.contains("| partial hit | <code>m2-1</code> instead of <code>m2-2</code> |"));
    let written = text(files.join("output"));
    let mount = machine.dir("mount0");
    fs::write(mount.join("new"), "new").unwrap();
    clean(
        on_github(machine.save("m2-3", &mount), &files)
            .run()
            .success(),
    );
    assert!(text(files.join("summary")).contains("### cachefs save"));
    assert_eq!(text(files.join("output")), written, "a save has no outputs");
}

#[test]
fn failures_are_annotations_and_a_miss() {
    let Some((machine, files)) = saved_once() else {
        return;
    };
    let restore = machine.restore("m2-1", &machine.dir("mount"));
    let restore = restore.env("CACHEFS_REMOTE", "file:///proc/version/x");
    let failed = clean(on_github(restore, &files).run().success());
    let annotation = failed.stderr().lines().next().unwrap_or("").to_owned();
    assert!(
        annotation.starts_with("::warning title=cachefs::"),
        "{failed}"
    );
    assert!(annotation.contains("%0A  hint: "), "{failed}");
    assert_eq!(output(&files, "cache-hit").as_deref(), Some(""));
    assert!(text(files.join("summary")).contains("| **failed** |"));
    let wrong = on_github(machine.command(["key", "{{ nothing }}"]), &files).run();
    assert!(
        wrong.stderr().starts_with("::error title=cachefs::"),
        "{wrong}"
    );
}

#[test]
fn an_output_that_cannot_be_written_is_a_warning() {
    let Some((machine, files)) = saved_once() else {
        return;
    };
    let restore = machine.restore("m2-1", &machine.dir("mount"));
    let restore = restore.env("GITHUB_ACTIONS", "true");
    let restore = restore.env("GITHUB_OUTPUT", files.join("no/such/directory"));
    let output = clean(restore.run().success());
    drop(output.stderr_has("::warning title=cachefs::cannot write "));
}

#[test]
fn files_of_other_systems() {
    let Some((machine, files)) = saved_once() else {
        return;
    };
    fs::write(files.join("dotenv"), "MINE=1\nCACHE_HIT=old\n").unwrap();
    let mount = machine.dir("mount");
    let restore = machine.restore("m2-2", &mount);
    let restore = restore
        .arg("--restore-key")
        .arg("m2-")
        .arg("--dotenv")
        .arg(files.join("dotenv"))
        .arg("--metrics-file")
        .arg(files.join("metrics"))
        .env("DRONE_OUTPUT", files.join("drone"))
        .env("PLUGIN_CACHE_INTEL_METRICS_FILE", files.join("intel"));
    clean(restore.run().success());
    let drone = text(files.join("drone"));
    for line in ["cache_hit=true", "cacheHit=true", "cache_state=partial"] {
        assert!(drone.lines().any(|given| given == line), "{drone}");
    }
    assert_eq!(
        text(files.join("dotenv")),
        "MINE=1\nCACHE_HIT=partial\nCACHE_PRIMARY_KEY=m2-2\nCACHE_MATCHED_KEY=m2-1\n"
    );
    let metrics: Value = serde_json::from_str(&text(files.join("metrics"))).unwrap();
    assert_eq!(metrics["version"], 1);
    assert_eq!(metrics["caches"][0]["match"], "prefix");
    assert!(metrics["caches"][0]["requests"]["get"].as_u64().unwrap() > 0);
    let intel: Value = serde_json::from_str(&text(files.join("intel"))).unwrap();
    assert_eq!(intel[0]["dst_path"], mount.to_str().unwrap());
    assert_eq!(intel[0]["cache_size_bytes"], metrics["caches"][0]["bytes"]);
}

#[test]
fn azure_variables_go_to_stdout_and_never_into_json() {
    let Some((machine, _)) = saved_once() else {
        return;
    };
    let mount = machine.dir("mount");
    let restore = machine.restore("m2-1", &mount).env("TF_BUILD", "True");
    let told = clean(restore.run().success());
    drop(told.stdout_has("##vso[task.setvariable variable=CACHE_HIT]true\n"));
    machine.umount(&mount);
    let restore = machine.restore("m2-1", &mount).env("TF_BUILD", "True");
    let told = clean(restore.arg("--format").arg("json").run().success());
    assert_eq!(told.json()["match"], "exact");
    drop(told.stderr_has("##vso[task.setvariable variable=CACHE_HIT]true\n"));
    machine.umount(&mount);
    let restore = machine.restore("m2-1", &mount).env("TF_BUILD", "True");
    let silent = restore.arg("--outputs").arg("none").run().success();
    assert_eq!(silent.stdout(), "");
}

#[test]
fn a_key_is_never_a_command_to_the_system() {
    let Some(machine) = machine() else { return };
    let key = "##vso[task.setvariable variable=PATH]x";
    machine.saved(key, &sample_dir(&machine));
    let restore = machine
        .restore(key, &machine.dir("mount"))
        .env("TF_BUILD", "True");
    let told = clean(restore.run().success());
    assert!(told.stderr().contains("hit # #vso["), "{told}");
    let issue = "##vso[task.logissue type=warning]";
    let rest = told.stderr().replace(issue, "");
    assert!(!rest.contains("##vso["), "{told}");
}

#[test]
fn lines_and_the_log_are_json_when_asked_for() {
    let Some((machine, _)) = saved_once() else {
        return;
    };
    let restore = machine.restore("m2-2", &machine.dir("mount"));
    let restore = restore.arg("--restore-key").arg("m2-").arg("-vv");
    let told = clean(restore.env("CACHEFS_LOG_FORMAT", "json").run().success());
    let mut messages = Vec::new();
    for line in told.stderr().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{told}"));
        for name in ["time", "level", "message"] {
            assert!(line[name].is_string(), "{line}");
        }
        messages.push(line["message"].as_str().unwrap().to_owned());
    }
    assert!(
        messages.iter().any(|it| it.starts_with("partial hit m2-1")),
        "{told}"
    );
}

#[test]
fn figures_for_prometheus() {
    let Some((machine, _)) = saved_once() else {
        return;
    };
    machine.restored("m2-1", &machine.dir("mount"));
    let miss = machine.restore("other", &machine.dir("miss")).run();
    clean(miss.success());
    let told = clean(machine.run(["stats", "--format", "prometheus"]).success());
    for line in [
        "cachefs_daemon_up 1",
        "cachefs_mounts 1",
        "cachefs_restores_total{match=\"exact\"} 1",
        "cachefs_restores_total{match=\"miss\"} 1",
        "cachefs_restored_paths{state=\"mounted\"} 1",
    ] {
        assert!(
            told.stdout().lines().any(|given| given == line),
            "{line}: {told}"
        );
    }
    let refused = machine
        .run(["list", "--format", "prometheus"])
        .expect_code(2);
    drop(refused.stderr_has("only `stats` prints the Prometheus format"));
}
