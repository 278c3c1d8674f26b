//! Secrets are never saved in caches, and never printed.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cachefs_tests::harness::{Cachefs, Output};
use serde_json::Value;

use crate::support::{Commands, clean, machine, objects, remote_dir, strict_json};

/// A fake token, assembled here so that no file of this project contains one.
fn token() -> String {
    format!("{}{}", "gh", "p_Zk3vQ9sLx81mN2pR7tWbYc5dFgHj4K6aEuXq")
}

const VALUE: &str = "s3cr3t-of-this-job";

/// A directory with a token in a note, a password in Maven's settings, and a harmless file.
fn project(machine: &Cachefs, name: &str) -> std::path::PathBuf {
    let dir = machine.dir(name);
    fs::create_dir_all(dir.join("conf")).unwrap();
    fs::write(dir.join("harmless"), "nothing to see").unwrap();
    fs::write(dir.join("note.txt"), format!("first\nsecond {}\n", token())).unwrap();
    let password = ["<pass", "word>hunter22</pass", "word>"].concat();
    fs::write(
        dir.join("conf/settings.xml"),
        format!("<server>\n{password}\n</server>"),
    )
    .unwrap();
    dir
}

/// Asserts that no output and no object of the remote contains a secret. Packs are compressed, but
/// strings this short are stored literally.
#[track_caller]
fn tells_nothing(output: &Output) {
    for secret in [&token()[4..], "hunter22", VALUE] {
        let told = format!("{}{}", output.stdout(), output.stderr());
        assert!(!told.contains(secret), "{output}");
    }
}

/// Restores a key as a plain directory.
fn restored(machine: &Cachefs, key: &str, name: &str) -> std::path::PathBuf {
    let dir = machine.dir(name);
    let restore = machine.restore(key, &dir).arg("--mode").arg("copy");
    clean(restore.run().success());
    dir
}

fn findings(saved: &Value) -> Vec<(String, Option<u64>, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = saved["secrets"].as_array().unwrap();
    list.iter()
        .map(|one| {
            (
                text(&one["path"]),
                one["line"].as_u64(),
                text(&one["kind"]),
                text(&one["file"]),
            )
        })
        .collect()
}

fn finding(path: &str, line: u64, kind: &str, file: &str) -> (String, Option<u64>, String, String) {
    (
        path.to_owned(),
        Some(line),
        kind.to_owned(),
        file.to_owned(),
    )
}

/// Makes files old enough that we recognize them by their times.
fn settle(paths: &[&Path]) {
    for path in paths {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600))
            .unwrap();
    }
    // We cannot set the ctime.
    std::thread::sleep(Duration::from_millis(2100));
}

#[test]
fn credential_files_are_left_out_and_tokens_elsewhere_are_reported() {
    let Some(machine) = machine() else { return };
    let dir = project(&machine, "project");
    let output = clean(machine.save("k", &dir).run().success());
    tells_nothing(&output);
    let told = output.stderr();
    assert!(told.contains("1 file skipped"), "{told}");
    assert!(told.contains("conf/settings.xml:2: password"), "{told}");
    assert!(told.contains("--secrets-allow"), "{told}");
    assert!(told.contains("1 × GitHub token found and saved"), "{told}");
    assert!(!told.contains("note.txt"), "{told}");
    let copy = restored(&machine, "k", "copy");
    assert!(copy.join("harmless").exists() && copy.join("conf").is_dir());
    assert!(copy.join("note.txt").exists() && !copy.join("conf/settings.xml").exists());
    // Findings are reported again, although the other files are not read again.
    let saved = clean(strict_json(machine.save("k", &dir)).run().success());
    tells_nothing(&saved);
    assert_eq!(
        findings(&saved.json()),
        [
            finding("conf/settings.xml", 2, "maven-password", "left_out"),
            finding("note.txt", 2, "github-token", "saved"),
        ]
    );
    assert_eq!(saved.json()["result"], "unchanged");
}

#[test]
fn skip_leaves_out_every_file_with_a_finding() {
    let Some(machine) = machine() else { return };
    let dir = project(&machine, "project");
    let save = machine.save("k", &dir).arg("--secrets").arg("skip");
    let output = clean(save.run().success());
    tells_nothing(&output);
    let told = output.stderr();
    assert!(told.contains("2 files skipped"), "{told}");
    assert!(told.contains("note.txt:2: GitHub token"), "{told}");
    let copy = restored(&machine, "k", "copy");
    assert!(copy.join("harmless").exists() && copy.join("conf").is_dir());
    assert!(!copy.join("note.txt").exists() && !copy.join("conf/settings.xml").exists());
}

#[test]
fn a_secret_can_fail_the_save() {
    let Some(machine) = machine() else { return };
    let dir = project(&machine, "project");
    let output = machine
        .save("k", &dir)
        .arg("--secrets")
        .arg("fail")
        .run()
        .expect_code(5);
    tells_nothing(&output);
    assert!(output.stderr().contains("not saved"), "{output}");
    machine.run(["lookup", "k"]).expect_code(3);
    let stored = objects(&remote_dir(&machine));
    assert!(
        !stored.keys().any(|name| name.starts_with("layers")),
        "{stored:?}"
    );
}

#[test]
fn allowed_paths_are_saved_and_reported() {
    let Some(machine) = machine() else { return };
    let dir = project(&machine, "project");
    let one = strict_json(machine.save("one", &dir))
        .arg("--secrets")
        .arg("skip")
        .arg("--secrets-allow")
        .arg("*.txt");
    let one = clean(one.run().success()).json();
    assert_eq!(
        findings(&one),
        [
            finding("conf/settings.xml", 2, "maven-password", "left_out"),
            finding("note.txt", 2, "github-token", "allowed"),
        ]
    );
    assert!(restored(&machine, "one", "one").join("note.txt").exists());
    let all = clean(
        machine
            .save("all", &dir)
            .arg("--secrets")
            .arg("allow")
            .run()
            .success(),
    );
    assert!(all.stderr().contains("can read them"), "{all}");
    assert!(
        restored(&machine, "all", "all")
            .join("conf/settings.xml")
            .exists()
    );
    let off = strict_json(machine.save("off", &dir))
        .arg("--secrets")
        .arg("off");
    assert_eq!(findings(&off.run().success().json()), []);
}

#[test]
fn on_a_mount_the_older_version_stays_and_the_user_is_told() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("plain");
    fs::write(dir.join("changes"), "old").unwrap();
    machine.saved("k", &dir);
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    fs::write(mount.join("changes"), token()).unwrap();
    fs::write(mount.join("new"), token()).unwrap();
    fs::write(mount.join("fine"), "fine").unwrap();
    let save = machine.save("k2", &mount).arg("--secrets").arg("skip");
    let output = clean(save.run().success());
    tells_nothing(&output);
    let told = output.stderr();
    assert!(
        told.contains("changes:1: GitHub token (the cache keeps its older version"),
        "{told}"
    );
    assert!(told.contains("new:1: GitHub token\n"), "{told}");
    let copy = restored(&machine, "k2", "copy");
    assert_eq!(fs::read(copy.join("changes")).unwrap(), b"old");
    assert!(copy.join("fine").exists() && !copy.join("new").exists());
}

#[test]
fn no_chunk_of_a_secret_is_stored() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("plain");
    // Small and incompressible, so that packs store it literally.
    fs::write(dir.join("secret"), token()).unwrap();
    let holds = |machine: &Cachefs| {
        objects(&remote_dir(machine)).keys().any(|name| {
            let bytes = fs::read(remote_dir(machine).join(name)).unwrap();
            bytes
                .windows(36)
                .any(|window| window == &token().as_bytes()[4..])
        })
    };
    let skip = machine.save("k", &dir).arg("--secrets").arg("skip");
    skip.run().success();
    assert!(!holds(&machine));
    machine
        .save("k", &dir)
        .arg("--secrets")
        .arg("fail")
        .run()
        .expect_code(5);
    assert!(!holds(&machine));
    // Check that the test can detect a token at all.
    machine
        .save("k", &dir)
        .arg("--secrets")
        .arg("allow")
        .run()
        .success();
    assert!(holds(&machine));
}

#[test]
fn values_of_named_variables_are_found_anywhere() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("plain");
    let package = dir.join("node_modules/a");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("package.json"), "{}").unwrap();
    fs::write(package.join("config"), format!("x = {VALUE}")).unwrap();
    fs::write(dir.join("binary"), [b"\0\0\0", VALUE.as_bytes()].concat()).unwrap();
    fs::write(dir.join("fine"), "fine").unwrap();
    // The value straddles the end of a read buffer.
    let mut large = vec![b'x'; (16 << 20) - 9];
    large.extend_from_slice(VALUE.as_bytes());
    large.extend_from_slice(&[b'y'; 4096]);
    fs::write(dir.join("large"), large).unwrap();
    let save = || strict_json(machine.save("k", &dir)).env("JOB_TOKEN", VALUE);
    let named = clean(save().arg("--secret-env").arg("JOB_TOKEN").run().success());
    tells_nothing(&named);
    let paths: Vec<_> = findings(&named.json())
        .into_iter()
        .map(|(path, ..)| path)
        .collect();
    assert_eq!(
        paths
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        3,
        "{paths:?}"
    );
    assert!(named.stderr().contains("value of $JOB_TOKEN"), "{named}");
    let copy = restored(&machine, "k", "copy");
    assert!(
        copy.join("fine").exists() && !copy.join("large").exists() && !copy.join("binary").exists()
    );

    let short = save()
        .env("PIN", "1234567")
        .arg("--secret-env")
        .arg("PIN")
        .run()
        .expect_code(2);
    assert!(short.stderr().contains("too short"), "{short}");
    assert!(!short.stderr().contains("1234567"), "{short}");
    let unset = save()
        .arg("--secret-env")
        .arg("NOT_SET_AT_ALL")
        .run()
        .success();
    assert!(
        unset.stderr().contains("NOT_SET_AT_ALL is not set"),
        "{unset}"
    );
}

#[test]
fn files_that_are_known_by_their_times_are_searched_when_the_search_changes() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("plain");
    let (token_file, value_file) = (dir.join("token"), dir.join("value"));
    fs::write(&token_file, token()).unwrap();
    fs::write(&value_file, VALUE).unwrap();
    fs::create_dir(dir.join("settings")).unwrap();
    let credentials = dir.join("settings/credentials");
    fs::write(
        &credentials,
        format!("{}_access_key = {}", "aws_secret", "wJalr0Utn7FEMI9"),
    )
    .unwrap();
    settle(&[&token_file, &value_file, &credentials]);
    let saved = |more: &[&str]| {
        let save = more
            .iter()
            .fold(strict_json(machine.save("k", &dir)), |save, one| {
                save.arg(one)
            });
        findings(&clean(save.env("JOB_TOKEN", VALUE).run().success()).json())
    };
    // First without a scan, then with one; first allow the finding, then skip it.
    assert_eq!(saved(&["--secrets", "off"]), []);
    assert_eq!(
        saved(&["--secrets", "allow"]),
        [finding("token", 1, "github-token", "saved")]
    );
    assert_eq!(saved(&[]), [finding("token", 1, "github-token", "saved")]);
    assert_eq!(
        saved(&["--secrets", "skip"]),
        [finding("token", 1, "github-token", "left_out")]
    );
    // Search for a different value.
    let named = finding("value", 1, "named-value", "left_out");
    assert_eq!(saved(&["--secret-env", "JOB_TOKEN"])[1..], [named]);
    // The new directory name identifies a credentials file, although no time of the file changes.
    fs::rename(dir.join("settings"), dir.join(".aws")).unwrap();
    let credentials = finding(".aws/credentials", 1, "aws-credentials", "left_out");
    assert_eq!(saved(&[])[..1], [credentials]);
}

/// Package stores are content-addressed, or their consumers compare file lists: a cache that lacks
/// one file of a package is broken.
#[test]
fn packages_and_stores_are_saved_whole() {
    let Some(machine) = machine() else { return };
    let dir = machine.dir("caches");
    let key = format!("{}{}", "PRIVATE", " KEY");
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let pem = format!("\"-----BEGIN {key}-----\\n\"\n\"{line}\\n\"\n\"-----END {key}-----\\n\"");
    let files = [
        "node_modules/a/test/token.js",
        "pnpm-store/v10/files/00/abcdef",
        ".build/checkouts/swift-nio-ssl/Tests/keys.swift",
        ".conan2/p/b/mbedt123/s/src/library/certs.c",
        "vcpkg/buildtrees/mbedtls/src/certs.c",
        "deps/plug/lib/key.ex",
        "bundle/ruby/3.2.0/bundler/gems/x-abc/key.rb",
        "app/android/gradle.properties",
        "app/.env.test",
    ];
    for file in files {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            &path,
            format!("storePassword=hunter22\n{}\n{pem}\n", token()),
        )
        .unwrap();
    }
    let output = clean(machine.save("k", &dir).run().success());
    let told = output.stderr();
    assert!(told.contains("9 × private key"), "{told}");
    assert!(!told.contains("skipped"), "{told}");
    let copy = restored(&machine, "k", "copy");
    for file in files {
        assert!(copy.join(file).exists(), "{file}");
    }
}

#[test]
fn a_dry_run_reports_files_that_would_be_left_out() {
    let Some(machine) = machine() else { return };
    let dir = project(&machine, "project");
    let output = clean(machine.save("k", &dir).arg("--dry-run").run().success());
    tells_nothing(&output);
    assert!(
        output.stderr().contains("1 file would be skipped"),
        "{output}"
    );
}
