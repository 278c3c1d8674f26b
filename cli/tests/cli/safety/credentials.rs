//! Credentials never appear in logs, process lists, files or output.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::s3::{BUCKET, S3Server, SECRET_KEY};

use crate::support::{Commands, clean, machine_on, sample_dir};

/// A marker that is part of every secret in these tests.
const MARK: &str = "hunter2secret";

/// Variables that a job may have in its environment.
fn variables() -> Vec<(&'static str, String)> {
    let key = format!(
        r#"{{"type": "service_account", "private_key_id": "{MARK}", "private_key": "{MARK}"}}"#
    );
    vec![
        ("AWS_SESSION_TOKEN", format!("{MARK}-token")),
        ("AZURE_STORAGE_SAS_TOKEN", format!("sv=1&sig={MARK}")),
        ("AZURE_STORAGE_KEY", format!("{MARK}key=")),
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            format!("AccountName=acme;AccountKey={MARK}="),
        ),
        ("GOOGLE_CREDENTIALS", key.clone()),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", key),
        ("PLUGIN_SECRET_KEY", format!("{MARK}-plugin")),
        ("PLUGIN_ACCESS_KEY", format!("{MARK}-plugin")),
        ("PLUGIN_JSON_KEY", format!("{MARK}-plugin")),
        ("GITHUB_TOKEN", format!("{MARK}-token")),
    ]
}

/// Byte strings that must not appear anywhere.
fn secrets() -> [&'static [u8]; 2] {
    [MARK.as_bytes(), SECRET_KEY.as_bytes()]
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    for secret in secrets() {
        let found = bytes
            .windows(secret.len())
            .position(|window| window == secret);
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(200)..(at + 100).min(bytes.len())];
            panic!("{what} has it: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Checks the raw content of every file below a directory.
fn assert_clean_files(root: &Path) -> usize {
    let mut pending = vec![root.to_owned()];
    let mut count = 0;
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .map(|it| it.unwrap().path()),
            );
        } else if metadata.is_file() {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap());
            count += 1;
        }
    }
    count
}

/// The command lines of all processes that run the binary.
fn command_lines(binary: &Path) -> Vec<Vec<u8>> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|process| {
        fs::read_link(process.path().join("exe")).is_ok_and(|running| running == binary)
    });
    ours.filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .collect()
}

/// Runs a command at the highest log level in both formats, and checks its output.
fn run(invocation: Invocation) -> Output {
    let mut last = None;
    for format in ["text", "json"] {
        let invocation = invocation.clone().args(["-vv", "--log-format", format]);
        let output = clean(invocation.env("CACHEFS_LOG", "trace").run());
        assert_clean(&output.command, &output.stdout);
        assert_clean(&output.command, &output.stderr);
        last = Some(output);
    }
    last.unwrap()
}

fn marked(machine: Cachefs) -> Cachefs {
    variables().into_iter().fold(machine, |machine, variable| {
        machine.with_env(variable.0, variable.1)
    })
}

#[test]
fn a_whole_life_tells_no_credentials() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let machine = marked(machine).with_env("CACHEFS_LOG", "trace");
    let dir = sample_dir(&machine);
    let (mount, copy) = (machine.dir("mount"), machine.dir("copy"));
    let metrics = machine.work().join("metrics.json");
    let summary = machine.work().join("summary.md");
    run(machine
        .save("m2-1", &dir)
        .arg("--strict-errors")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("PLUGIN_CACHE_INTEL_METRICS_FILE", &metrics))
    .success();
    run(machine.restore("m2-1", &mount).args(["--mode", "mount"])).success();
    run(machine.restore("m2-1", &copy).args(["--mode", "copy"])).success();
    run(machine
        .restore("m2-2", &machine.dir("near"))
        .args(["--restore-key", "m2-"]))
    .success();
    fs::write(mount.join("new"), "new").unwrap();
    run(machine.save("m2-2", &mount)).success();
    let socket = machine.work().join("share.sock");
    machine
        .command(["daemon", "share"])
        .arg(&socket)
        .run()
        .success();
    for args in [
        &["explain", "m2-3", "--restore-key", "m2-"][..],
        &["explain"],
        &["config"],
        &["config", "--format", "json"],
        &["stats"],
        &["stats", "--format", "prometheus"],
        &["stats", "--format", "json"],
        &["daemon", "shares"],
        &["daemon", "shares", "--format", "json"],
        &["daemon", "status"],
        &["doctor"],
        &["list"],
        &["inspect", "m2-2"],
        &["diff", "m2-1", "m2-2"],
        &["key", "m2-{{ arch }}"],
        &["lookup", "nothing"],
        &["check"],
        &["gc", "--dry-run"],
        &["detect"],
        &["scopes"],
    ] {
        run(machine.command(args));
    }
    // Errors are verbose: test wrong credentials, a missing server, and addresses that contain
    // passwords.
    let userinfo = format!("s3://KEY:{MARK}@{BUCKET}/caches");
    let endpoint = format!("http://user:{MARK}@127.0.0.1:9");
    let signed = format!("az://cache?sv=1&sig={MARK}");
    for (name, value) in [
        ("AWS_SECRET_ACCESS_KEY", format!("{MARK}-wrong")),
        ("CACHEFS_REMOTE", userinfo),
        ("CACHEFS_REMOTE", signed),
        ("CACHEFS_REMOTE", "gs://cache/caches".to_owned()),
        ("CACHEFS_REMOTE", "az://cache/caches".to_owned()),
        ("CACHEFS_ENDPOINT", endpoint.clone()),
        ("AWS_ENDPOINT_URL", endpoint),
    ] {
        let near = machine.dir("wrong");
        let mut commands = vec![
            machine.restore("m2-1", &near).args(["--timeout", "1s"]),
            machine.save("m2-1", &dir).args(["--timeout", "1s"]),
            machine.command(["config"]),
            machine.command(["explain", "m2-1", "--timeout", "1s"]),
        ];
        if name == "AWS_ENDPOINT_URL" {
            commands = commands
                .into_iter()
                .map(|command| command.without_env("CACHEFS_ENDPOINT"))
                .collect();
        }
        for command in commands {
            let output = run(command.env(name, &value));
            assert!(output.code().is_some(), "{output}");
        }
    }
    let lines = command_lines(machine.binary());
    assert!(!lines.is_empty(), "the daemon runs");
    for line in lines {
        assert_clean("a list of processes", &line);
    }
    let said = machine.daemon_log();
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "{said}");
    machine.run(["umount", "--all"]).success();
    machine.stop();
    // The store, captured output files, and the remote.
    let mut places: Vec<PathBuf> = vec![server.bucket_dir(), machine.store(), machine.work()];
    places.push(machine.home());
    for place in places {
        let count = assert_clean_files(&place);
        println!("{count} files in {}", place.display());
    }
}
