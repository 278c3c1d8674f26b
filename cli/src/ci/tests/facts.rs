//! Facts from variables and from the event's payload.

use std::fs;

use super::environment;
use crate::ci::{BuildFact, Ci};

#[test]
fn the_event_says_what_no_variable_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("event.json");
    fs::write(
        &path,
        r#"{
            "pull_request": {
                "number": 12,
                "head": {"repo": {"full_name": "fork/app"}}
            },
            "repository": {"default_branch": "trunk"}
        }"#,
    )
    .unwrap();
    let env = environment(&[
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REPOSITORY", "octo/app"),
        ("GITHUB_EVENT_PATH", path.to_str().unwrap()),
    ]);
    let ci = Ci::new(&env);
    assert_eq!(ci.system(), Some("GitHub Actions"));
    assert_eq!(ci.get(BuildFact::DefaultBranch).as_deref(), Some("trunk"));
    assert_eq!(ci.get(BuildFact::PullRequest).as_deref(), Some("12"));
    assert_eq!(
        ci.report(BuildFact::PullRequest).unwrap().variable,
        "GITHUB_EVENT_PATH"
    );
    assert!(ci.is_fork());
    fs::write(&path, "no JSON").unwrap();
    let ci = Ci::new(&env);
    assert_eq!(ci.get(BuildFact::DefaultBranch), None);
    assert!(!ci.is_fork());
}

#[test]
fn forks_are_recognised_however_systems_say_it() {
    let forks: &[&[(&str, &str)]] = &[
        &[
            ("GITLAB_CI", "true"),
            ("CI_MERGE_REQUEST_PROJECT_PATH", "octo/app"),
            ("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "fork/app"),
        ],
        &[("CIRCLECI", "true"), ("CIRCLE_PR_USERNAME", "fork")],
        &[
            ("BUILDKITE", "true"),
            ("BUILDKITE_REPO", "git@host.example:octo/app.git"),
            (
                "BUILDKITE_PULL_REQUEST_REPO",
                "https://host.example/fork/app.git",
            ),
        ],
        &[("TF_BUILD", "True"), ("SYSTEM_PULLREQUEST_ISFORK", "True")],
        &[("JENKINS_URL", "u"), ("CHANGE_FORK", "fork")],
    ];
    for variables in forks {
        assert!(Ci::new(&environment(variables)).is_fork(), "{variables:?}");
    }
    let own: &[&[(&str, &str)]] = &[
        &[
            ("BUILDKITE", "true"),
            ("BUILDKITE_REPO", "git@host.example:octo/app.git"),
            (
                "BUILDKITE_PULL_REQUEST_REPO",
                "https://host.example/octo/app",
            ),
        ],
        &[("TF_BUILD", "True"), ("SYSTEM_PULLREQUEST_ISFORK", "False")],
        &[],
    ];
    for variables in own {
        assert!(!Ci::new(&environment(variables)).is_fork(), "{variables:?}");
    }
}

#[test]
fn a_ref_that_is_no_tag_is_none() {
    let of = |name| environment(&[("GITHUB_ACTIONS", "true"), ("GITHUB_REF", name)]);
    let tag = |name| Ci::new(&of(name)).get(BuildFact::Tag);
    assert_eq!(tag("refs/tags/v1.0").as_deref(), Some("v1.0"));
    assert_eq!(tag("refs/heads/v1.0"), None);
}
