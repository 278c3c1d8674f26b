//! With `--format json`, every command prints exactly one object, even if it fails.

use std::fs;

use cachefs_tests::harness::{Cachefs, Output};
use serde_json::Value;

use crate::support::{Commands, clean, machine, sample_dir};

/// Commands that run until stopped: we test only their failures.
const SERVICES: [&str; 4] = ["daemon run", "volume-plugin", "csi", "serve"];

/// Every command in the help, including subcommands, for example `daemon start`.
fn commands(machine: &Cachefs, above: &[String]) -> Vec<Vec<String>> {
    let help = machine.command(above).arg("-h").run().success().stdout();
    let listed = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once("  "))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(' '))
        .filter(|name| *name != "help");
    let mut found = Vec::new();
    for name in listed {
        let mut command = above.to_vec();
        command.push(name.to_owned());
        let below = commands(machine, &command);
        match below.is_empty() {
            true => found.push(command),
            false => found.extend(below),
        }
    }
    found
}

/// Arguments with which a command does something. A command that is not listed gets none, and we
/// check its usage error.
fn arguments(machine: &Cachefs, command: &str) -> Vec<String> {
    let work = machine.work().display().to_string();
    let text = match command {
        "restore" | "mount" => format!("--key k --path {work}/mount"),
        "save" => format!("--key k --path {work}/mount"),
        "exec" => format!("--key k --path {work}/executed -- echo from-the-command"),
        "attach" => format!("{} {work}/attached --from {work}", std::process::id()),
        "detach" => format!("{} {work}/attached", std::process::id()),
        "umount" => "--all".to_owned(),
        "lookup" | "inspect" => "k".to_owned(),
        "diff" => "k k".to_owned(),
        "explain" => "--key k".to_owned(),
        "delete" => "--dry-run k none".to_owned(),
        "promote" => "--from default --to other --dry-run k none".to_owned(),
        "gc" => "--dry-run".to_owned(),
        "import" => format!("--key imported {work}/archive.tar"),
        "export" => format!("--key k --output {work}/archive.tar"),
        "key" => "m2-{{ os }}".replace(' ', ""),
        "daemon share" | "daemon unshare" => format!("{work}/share.sock"),
        "oci-hook" => "--print".to_owned(),
        "cdi" => format!("--config {work}/ci.toml"),
        "completions" => "bash".to_owned(),
        _ => String::new(),
    };
    text.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn one_object(output: Output) -> Value {
    let output = clean(output);
    let stdout = output.stdout();
    assert_eq!(stdout.lines().count(), 1, "{output}");
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{output}"));
    assert_eq!(value["version"], 1, "{output}");
    value
}

#[test]
fn every_command_prints_one_object() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    machine
        .command(["export", "--key", "k", "--output"])
        .arg(machine.work().join("archive.tar"))
        .run()
        .success();
    let caches = "[cache.m2]\nkey = 'm2'\npath = '/root/.m2'\n";
    fs::write(machine.work().join("ci.toml"), caches).unwrap();
    fs::create_dir(machine.work().join("executed")).unwrap();
    let all = commands(&machine, &[]);
    assert!(all.len() > 35, "{all:?}");
    for command in &all {
        let name = command.join(" ");
        if SERVICES.contains(&&*name) {
            continue;
        }
        let output = machine
            .command(["--format", "json"])
            .args(command)
            .args(arguments(&machine, &name))
            .run();
        let code = output.code();
        let shown = output.to_string();
        let object = one_object(output);
        match code {
            Some(0) => assert_ne!(object["result"], "failed", "{name}: {shown}"),
            // For example, `daemon status` without a daemon, or `delete` of a missing key; `diff`
            // and similar commands cannot fail here.
            Some(1 | 3) => assert!(object.as_object().unwrap().len() > 1, "{name}: {shown}"),
            _ => panic!("{name}: {shown}"),
        }
    }
}

#[test]
fn a_failure_is_an_object_too() {
    let Some(machine) = machine() else { return };
    for command in commands(&machine, &[]) {
        let name = command.join(" ");
        // Invalid arguments: the error names the variable or the flag.
        let wrong = machine
            .command(&command)
            .arg("--no-such-option")
            .env("CACHEFS_FORMAT", "json")
            .run();
        let object = one_object(wrong.expect_code(2));
        assert_eq!(
            (&object["result"], &object["kind"]),
            (&"failed".into(), &"usage".into()),
            "{name}"
        );
        assert!(
            object["error"]
                .as_str()
                .unwrap()
                .contains("--no-such-option"),
            "{name}: {object}"
        );
        // A store that cannot be created.
        let mut given = arguments(&machine, &name);
        given.extend(match &*name {
            "csi" => ["--listen", "unix:///dev/null/s", "--node-id", "n"]
                .map(str::to_owned)
                .to_vec(),
            "volume-plugin" => ["--socket", "/dev/null/s"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        });
        if let Some(end) = given.iter().position(|it| it == "--") {
            given.truncate(end);
            given.extend(["--", "true"].map(str::to_owned));
        }
        let output = machine
            .command(["--format", "json", "--store", "/dev/null/store"])
            .args(&command)
            .args(given)
            .run();
        one_object(output);
    }
    let none = machine.command(["--format", "json"]).run().expect_code(2);
    assert_eq!(one_object(none)["kind"], "usage");
}

#[test]
fn a_failure_that_a_build_survives_is_told_in_the_object() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    for invocation in [machine.restore("k", &dir), machine.save("k", &dir)] {
        let output = invocation
            .env("CACHEFS_REMOTE", "s3://none")
            .env("CACHEFS_ENDPOINT", "http://127.0.0.1:9")
            .env("AWS_ACCESS_KEY_ID", "a")
            .env("AWS_SECRET_ACCESS_KEY", "b")
            .args(["--timeout", "1s", "--format", "json"])
            .run()
            .success();
        let object = one_object(output);
        assert_eq!(object["result"], "failed", "{object}");
        assert_eq!(object["kind"], "backend", "{object}");
        assert_eq!(object["exit_code"], 0, "{object}");
        assert_eq!(object["key"], "k", "{object}");
    }
}

#[test]
fn what_a_command_prints_is_not_among_the_results() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    let output = machine
        .command(["--format", "json", "exec", "--key", "k", "--path"])
        .arg(&dir)
        .args(["--", "sh", "-c", "echo from-the-command; exit 7"])
        .run()
        .expect_code(7)
        .stderr_has("from-the-command");
    let object = one_object(output);
    assert_eq!(object["command_exit_code"], 7, "{object}");
    assert_eq!(object["restored"][0]["match"], "miss", "{object}");
    let text = machine.run(["lookup", "nothing"]).expect_code(3);
    assert_eq!(text.stdout(), "");
    let missing = machine.run(["check", "nothing"]).expect_code(3);
    drop(missing.stderr_has("no key in scope default begins with `nothing`"));
}
