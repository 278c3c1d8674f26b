//! Tests of the scopes that a build writes and reads.

use std::fs;
use std::path::Path;

use super::environment;
use crate::ci::{Ci, Scopes};

/// The scopes of a build outside of a work tree, its own first.
fn scopes(variables: &[(&str, &str)]) -> Vec<String> {
    let nowhere = Path::new("/nonexistent");
    in_workspace(variables, nowhere)
}

fn in_workspace(variables: &[(&str, &str)], workspace: &Path) -> Vec<String> {
    let scopes = Scopes::of_build(&Ci::new(&environment(variables)), workspace);
    scopes.all().iter().map(ToString::to_string).collect()
}

#[test]
fn outside_of_ci_there_is_one_scope() {
    assert_eq!(scopes(&[]), ["default"]);
    assert_eq!(scopes(&[("HOME", "/root")]), ["default"]);
}

#[test]
fn every_kind_of_build_has_its_scope() {
    let github = ("GITHUB_ACTIONS", "true");
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let builds: &[(Variables<'_>, &[&str])] = &[
        (
            &[
                github,
                ("GITHUB_REF", "refs/heads/x"),
                ("GITHUB_REF_NAME", "x"),
            ],
            &["branch/x", "branch/main", "branch/master"],
        ),
        (
            &[
                github,
                ("GITHUB_REF", "refs/heads/main"),
                ("GITHUB_REF_NAME", "main"),
            ],
            &["branch/main", "branch/master"],
        ),
        (
            &[
                github,
                ("GITHUB_REF", "refs/tags/v1"),
                ("GITHUB_REF_NAME", "v1"),
            ],
            &["tag/v1", "branch/main", "branch/master"],
        ),
        (
            &[
                github,
                ("GITHUB_REF", "refs/pull/12/merge"),
                ("GITHUB_HEAD_REF", "main"),
                ("GITHUB_BASE_REF", "v2"),
            ],
            &["pr/12", "branch/v2", "branch/main", "branch/master"],
        ),
        (
            &[
                ("GITLAB_CI", "true"),
                ("CI_MERGE_REQUEST_IID", "7"),
                ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "x"),
                ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "trunk"),
                ("CI_DEFAULT_BRANCH", "trunk"),
            ],
            &["pr/7", "branch/trunk"],
        ),
        (
            &[
                ("DRONE", "true"),
                ("DRONE_SOURCE_BRANCH", "x"),
                ("DRONE_TARGET_BRANCH", "x"),
                ("DRONE_REPO_BRANCH", "trunk"),
                ("DRONE_BUILD_EVENT", "push"),
            ],
            &["branch/x", "branch/trunk"],
        ),
        (
            &[
                ("CACHEFS_BRANCH", "a/b"),
                ("CACHEFS_DEFAULT_BRANCH", "trunk"),
            ],
            &["branch/a/b", "branch/trunk"],
        ),
    ];
    for (variables, expected) in builds {
        assert_eq!(scopes(variables), *expected, "{variables:?}");
    }
}

/// The owner of a fork can name a branch `main`; it must not get the scope of our `main`.
#[test]
fn a_fork_never_gets_the_scope_of_a_branch() {
    for event in ["pull_request", "pull_request_target"] {
        let own = &scopes(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_HEAD_REF", "main"),
            ("GITHUB_BASE_REF", "main"),
        ])[0];
        assert_eq!(own, "pr/main");
    }
}

#[test]
fn the_default_branch_is_read_from_the_work_tree() {
    let dir = tempfile::tempdir().unwrap();
    let refs = dir.path().join(".git/refs/remotes/origin");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("HEAD"), "ref: refs/remotes/origin/trunk\n").unwrap();
    let inner = dir.path().join("app/src");
    fs::create_dir_all(&inner).unwrap();
    let build = [("CIRCLECI", "true"), ("CIRCLE_BRANCH", "x")];
    assert_eq!(in_workspace(&build, &inner), ["branch/x", "branch/trunk"]);

    let linked = dir.path().join("linked");
    let own = dir.path().join(".git/worktrees/linked");
    fs::create_dir_all(&linked).unwrap();
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("commondir"), "../..\n").unwrap();
    fs::write(linked.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
    assert_eq!(in_workspace(&build, &linked), ["branch/x", "branch/trunk"]);
}

#[test]
fn names_that_are_too_long_are_cut_and_told_apart() {
    let of = |end| {
        let name = format!("{}/{end}", "feature/".repeat(30));
        scopes(&[("CACHEFS_BRANCH", &name)])[0].clone()
    };
    assert!(of("a").starts_with("branch/feature/feature/"));
    assert_ne!(of("a"), of("b"));
    assert_eq!(of("a"), of("a"));
}
