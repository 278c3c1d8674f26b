//! Tests every row of the table, and whole plans.

use std::collections::BTreeMap;

use super::plan::{PluginAction, PluginPlan, plan_from_environment};
use super::plugin_variables::{Meaning, TABLE};
use crate::caches::ModeArg;

const LEAST: [(&str, &str); 3] = [
    ("PLUGIN_RESTORE", "true"),
    ("PLUGIN_BUCKET", "bucket"),
    ("PLUGIN_MOUNT", "vendor"),
];

fn with(more: &[(&str, &str)]) -> Result<PluginPlan, cachefs::Error> {
    let environment: BTreeMap<String, String> = LEAST
        .iter()
        .chain(more)
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    plan_from_environment(&environment)
}

fn planned(more: &[(&str, &str)]) -> PluginPlan {
    with(more).unwrap()
}

/// The variables that a plan sets; `-` for those that it removes.
fn variables(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let plan = planned(more);
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    plan.variables
        .iter()
        .map(|(name, value)| (name.to_owned(), text(value)))
        .collect()
}

#[track_caller]
fn sets(more: &[(&str, &str)], name: &str, value: &str) {
    assert_eq!(variables(more).get(name).map(String::as_str), Some(value));
}

#[test]
fn the_action() {
    assert_eq!(planned(&[]).action, PluginAction::Restore);
    let rebuild = [("PLUGIN_RESTORE", "false"), ("PLUGIN_REBUILD", "true")];
    assert_eq!(planned(&rebuild).action, PluginAction::Rebuild);
    assert!(with(&[("PLUGIN_REBUILD", "true")]).is_err());
    assert!(with(&[("PLUGIN_RESTORE", "false")]).is_err());
    assert!(with(&[("PLUGIN_RESTORE", "yes")]).is_err());
}

#[test]
fn paths_and_keys() {
    let plan = planned(&[
        ("PLUGIN_MOUNT", "a, ~/.m2,,b/*"),
        ("PLUGIN_CACHE_KEY", "k-{{ os }}"),
    ]);
    assert_eq!(plan.mounts, ["a", "~/.m2", "b/*"]);
    assert_eq!(plan.key, "k-{{ os }}");
    assert_eq!(planned(&[]).key, "{{ .Commit.Branch }}");
    assert!(planned(&[("PLUGIN_MOUNT", "")]).mounts.is_empty());
    let rebuild = [
        ("PLUGIN_RESTORE", ""),
        ("PLUGIN_REBUILD", "true"),
        ("PLUGIN_MOUNT", ""),
    ];
    assert!(with(&rebuild).is_err());
    let plan = planned(&[("PLUGIN_LOCAL_ROOT", "/drone/src")]);
    assert_eq!(plan.local_root.unwrap(), std::path::Path::new("/drone/src"));
}

#[test]
fn repositories_are_apart_as_the_plugin_has_them() {
    let root = |more: &[(&str, &str)]| planned(more).root;
    assert_eq!(root(&[]), None);
    assert_eq!(root(&[("DRONE_REPO_NAME", "app")]).as_deref(), Some("app"));
    let given = [
        ("DRONE_REPO_NAME", "app"),
        ("PLUGIN_REMOTE_ROOT", "/team/x/"),
    ];
    assert_eq!(root(&given).as_deref(), Some("team/x"));
    sets(&given, "DRONE", "true");
    assert!(!variables(&[]).contains_key("DRONE"));
    // On Harness, keys are shared by the account.
    let harness = [("DRONE_REPO_NAME", "app"), ("HARNESS_BUILD_ID", "7")];
    assert_eq!(root(&harness), None);
    assert_eq!(planned(&harness).old_roots, ["app", ""]);
    let auto = [
        ("DRONE_REPO_NAME", "app"),
        ("PLUGIN_AUTO_CACHE", "true"),
        ("PLUGIN_ACCOUNT_ID", "acc"),
    ];
    assert_eq!(root(&auto).as_deref(), Some("acc"));
    assert_eq!(planned(&auto).old_roots, ["acc", "app", ""]);
}

#[test]
fn backends() {
    sets(&[], "CACHEFS_REMOTE", "s3://bucket/cachefs");
    assert_eq!(planned(&[]).old_remote, "s3://bucket");
    let gcs = [("PLUGIN_BACKEND", "gcs"), ("PLUGIN_JSON_KEY", "{}")];
    sets(&gcs, "CACHEFS_REMOTE", "gs://bucket/cachefs");
    sets(&gcs, "GOOGLE_SERVICE_ACCOUNT_KEY", "{}");
    let azure = [
        ("PLUGIN_BACKEND", "azure"),
        ("PLUGIN_CONTAINER", "box"),
        ("PLUGIN_ACCOUNT_NAME", "name"),
        ("PLUGIN_ACCOUNT_KEY", "key"),
    ];
    sets(&azure, "CACHEFS_REMOTE", "az://box/cachefs");
    sets(&azure, "AZURE_STORAGE_ACCOUNT_NAME", "name");
    sets(&azure, "AZURE_STORAGE_ACCOUNT_KEY", "key");
    let files = [("PLUGIN_BACKEND", "filesystem")];
    sets(&files, "CACHEFS_REMOTE", "file:///tmp/cache/cachefs");
    let files = [files[0], ("PLUGIN_FILESYSTEM_CACHE_ROOT", "/vol/")];
    sets(&files, "CACHEFS_REMOTE", "file:///vol/cachefs");
    for backend in ["harness", "sftp", "ftp"] {
        assert!(with(&[("PLUGIN_BACKEND", backend)]).is_err(), "{backend}");
    }
    assert!(with(&[("PLUGIN_BUCKET", "")]).is_err());
    let root = [files[0], ("PLUGIN_FILESYSTEM_CACHE_ROOT", "/")];
    assert!(with(&root).is_err());
}

#[test]
fn how_s3_is_reached() {
    sets(
        &[("PLUGIN_REGION", "eu-west-1")],
        "CACHEFS_REGION",
        "eu-west-1",
    );
    sets(
        &[("PLUGIN_ENDPOINT", "minio:9000")],
        "CACHEFS_ENDPOINT",
        "https://minio:9000",
    );
    sets(
        &[("S3_ENDPOINT", "http://m")],
        "CACHEFS_ENDPOINT",
        "http://m",
    );
    sets(
        &[("PLUGIN_PATH_STYLE", "false")],
        "CACHEFS_PATH_STYLE",
        "false",
    );
    assert!(!variables(&[]).contains_key("CACHEFS_PATH_STYLE"));
    sets(&[("PLUGIN_ACL", "private")], "CACHEFS_ACL", "private");
    sets(&[("PLUGIN_ENCRYPTION", "AES256")], "CACHEFS_SSE", "AES256");
    sets(
        &[("PLUGIN_STS_ENDPOINT", "https://sts")],
        "AWS_ENDPOINT_URL_STS",
        "https://sts",
    );
}

#[test]
fn credentials_and_roles() {
    let keys = [
        ("PLUGIN_ACCESS_KEY", "ak"),
        ("PLUGIN_SECRET_KEY", "hunter2"),
    ];
    sets(&keys, "AWS_ACCESS_KEY_ID", "ak");
    sets(&keys, "AWS_SECRET_ACCESS_KEY", "hunter2");
    // A session token would not match these access keys.
    sets(&keys, "AWS_SESSION_TOKEN", "-");
    let shown = format!("{:?}", planned(&keys));
    assert!(!shown.contains("hunter2"), "{shown}");
    let cache = [
        ("CACHE_AWS_ACCESS_KEY_ID", "a"),
        ("CACHE_AWS_SECRET_ACCESS_KEY", "b"),
    ];
    sets(&cache, "AWS_SECRET_ACCESS_KEY", "b");
    assert!(!variables(&cache).contains_key("AWS_SESSION_TOKEN"));

    let role = [
        ("PLUGIN_ASSUME_ROLE", "arn:1"),
        ("PLUGIN_EXTERNAL_ID", "x"),
        ("PLUGIN_ASSUME_ROLE_SESSION_NAME", "ci"),
    ];
    sets(&role, "CACHEFS_ROLE_ARN", "arn:1");
    sets(&role, "CACHEFS_EXTERNAL_ID", "x");
    sets(&role, "CACHEFS_ROLE_SESSION_NAME", "ci");
    let arn = [("PLUGIN_ASSUME_ROLE_ARN", "arn:1")];
    sets(&arn, "CACHEFS_ROLE_ARN", "arn:1");
    // With access keys, the plugin assumes only the second role.
    let user = [
        keys[0],
        keys[1],
        arn[0],
        ("PLUGIN_USER_ROLE_ARN", "arn:2"),
        ("PLUGIN_USER_ROLE_EXTERNAL_ID", "y"),
    ];
    sets(&user, "CACHEFS_ROLE_ARN", "arn:2");
    sets(&user, "CACHEFS_EXTERNAL_ID", "y");
    assert!(with(&[arn[0], user[3]]).is_err());
}

#[test]
fn behaviour() {
    let plan = planned(&[]);
    assert!(plan.overwrite && plan.strict_key && !plan.fail_on_miss && !plan.strict);
    assert_eq!(plan.mode, ModeArg::Copy);
    let plan = planned(&[
        ("PLUGIN_OVERRIDE", "false"),
        ("PLUGIN_STRICT_KEY_MATCHING", "false"),
        ("PLUGIN_FAIL_RESTORE_IF_KEY_NOT_PRESENT", "true"),
        ("PLUGIN_EXIT_CODE", "true"),
        ("PLUGIN_MODE", "mount"),
    ]);
    assert!(!plan.overwrite && !plan.strict_key && plan.fail_on_miss && plan.strict);
    assert_eq!(plan.mode, ModeArg::Mount);
    assert!(with(&[("PLUGIN_MODE", "magic")]).is_err());
    sets(
        &[("PLUGIN_EXIT_CODE", "1")],
        "CACHEFS_STRICT_ERRORS",
        "true",
    );
    sets(
        &[("PLUGIN_BACKEND_OPERATION_TIMEOUT", "1m30s")],
        "CACHEFS_TIMEOUT",
        "90000ms",
    );
    assert!(with(&[("PLUGIN_BACKEND_OPERATION_TIMEOUT", "soon")]).is_err());
    sets(&[("PLUGIN_DEBUG", "true")], "CACHEFS_LOG", "debug");
    sets(&[("PLUGIN_LOG_LEVEL", "info")], "CACHEFS_LOG", "info");
    let auto = [("PLUGIN_AUTO_CACHE", "true"), ("PLUGIN_MOUNT", "")];
    assert!(planned(&auto).detects);
    assert!(!planned(&[("PLUGIN_AUTO_CACHE", "true")]).detects);
}

#[test]
fn our_own_variables_count_for_more() {
    let own = [
        ("CACHEFS_REMOTE", "s3://elsewhere"),
        ("CACHEFS_REGION", "r"),
    ];
    let set = variables(&[own[0], own[1], ("PLUGIN_REGION", "eu-west-1")]);
    assert!(!set.contains_key("CACHEFS_REMOTE") && !set.contains_key("CACHEFS_REGION"));
}

#[test]
fn every_row_does_what_it_says_and_is_in_the_manual() {
    let manual = include_str!("../../../../docs/migrating.md");
    for (name, meaning) in TABLE {
        assert!(
            manual.contains(&format!("`{name}`")),
            "{name} is not in docs/migrating.md"
        );
        let outcome = with(&[(name, "secret-value")]);
        match meaning {
            Meaning::Idle(why) => {
                let notes = outcome.unwrap().notes;
                assert_eq!(notes, [format!("{name} has no effect: {why}")]);
            }
            Meaning::Refused(instead) => {
                let error = outcome.unwrap_err();
                assert_eq!(error.hint(), Some(cachefs_store::Hint::from(*instead)));
                assert!(!error.to_string().contains("secret-value"));
            }
            Meaning::Used => {
                let text = match outcome {
                    Ok(plan) => plan.notes.join("\n"),
                    Err(error) => error.to_string(),
                };
                assert!(
                    !text.contains("secret-value") && !text.contains("not known; "),
                    "{text}"
                );
            }
        }
    }
    let notes = planned(&[("PLUGIN_CACHEKEY", "x"), ("PLUGIN_FOO", "x")]).notes;
    assert_eq!(
        notes,
        [
            "PLUGIN_CACHEKEY is unknown; did you mean PLUGIN_CACHE_KEY?",
            "PLUGIN_FOO is unknown and ignored"
        ]
    );
}
