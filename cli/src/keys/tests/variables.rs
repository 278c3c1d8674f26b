//! Platform, clock, environment and facts from CI systems.

use super::Bench;

/// A CI system: its name, its environment, and the expansion of `{{ .Branch }} {{ .Revision }} {{
/// .BuildNum }}`.
type System = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[test]
fn platform_and_clock() {
    let bench = Bench::new();
    assert_eq!(bench.key("{{ epoch }}"), "1700000000");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert_eq!(bench.key("{{ os }}-{{ arch }}"), "linux-amd64");
        assert_eq!(
            bench.key("${{ runner.os }}-${{ runner.arch }}"),
            "Linux-X64"
        );
    }
    let bench = Bench::new().env("RUNNER_OS", "Windows");
    assert_eq!(bench.key("${{ runner.os }}"), "Windows");
}

#[test]
fn environment_in_every_spelling() {
    let bench = Bench::new()
        .env("X", "v")
        .env("EMPTY", "")
        .env("GITHUB_REF_NAME", "main");
    for template in [
        "{{ env \"X\" }}",
        "{{ .Environment.X }}",
        "${{ env.X }}",
        "{{ env('X') }}",
    ] {
        assert_eq!(bench.key(template), "v", "{template}");
    }
    assert_eq!(bench.key("a{{ env \"EMPTY\" }}"), "a");
    assert_eq!(bench.key("${{ github.ref_name }}"), "main");
}

#[test]
fn unset_variables_are_errors_unless_accepted() {
    let error = Bench::new().error("a-{{ env \"NOPE\" }}");
    assert_eq!(error.to_string(), "environment variable `NOPE` is not set");
    assert_eq!(error.pointer(), "a-{{ env \"NOPE\" }}\n         ^^^^^^");
    let bench = Bench::new().allow_missing();
    assert_eq!(bench.key("a-{{ env \"NOPE\" }}"), "a-");
    assert_eq!(bench.key("a-{{ .Branch }}"), "a-");
}

#[test]
fn builds_are_recognised_in_every_system() {
    let systems: &[System] = &[
        (
            "github push",
            &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_HEAD_REF", ""),
                ("GITHUB_REF_NAME", "b"),
                ("GITHUB_SHA", "r"),
                ("GITHUB_RUN_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "github pull request",
            &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_HEAD_REF", "topic"),
                ("GITHUB_REF_NAME", "12/merge"),
                ("GITHUB_SHA", "r"),
                ("GITHUB_RUN_NUMBER", "7"),
            ],
            "topic r 7",
        ),
        (
            "gitlab",
            &[
                ("GITLAB_CI", "true"),
                ("CI_COMMIT_BRANCH", "b"),
                ("CI_COMMIT_SHA", "r"),
                ("CI_PIPELINE_IID", "7"),
            ],
            "b r 7",
        ),
        (
            "circleci",
            &[
                ("CIRCLECI", "true"),
                ("CIRCLE_BRANCH", "b"),
                ("CIRCLE_SHA1", "r"),
                ("CIRCLE_BUILD_NUM", "7"),
            ],
            "b r 7",
        ),
        (
            "buildkite",
            &[
                ("BUILDKITE", "true"),
                ("BUILDKITE_BRANCH", "b"),
                ("BUILDKITE_COMMIT", "r"),
                ("BUILDKITE_BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "drone pull request",
            &[
                ("DRONE", "true"),
                ("DRONE_BRANCH", "main"),
                ("DRONE_SOURCE_BRANCH", "b"),
                ("DRONE_COMMIT_SHA", "r"),
                ("DRONE_BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "harness",
            &[
                ("HARNESS_BUILD_ID", "7"),
                ("DRONE_COMMIT_BRANCH", "b"),
                ("DRONE_COMMIT_SHA", "r"),
            ],
            "b r 7",
        ),
        (
            "jenkins",
            &[
                ("JENKINS_URL", "u"),
                ("GIT_BRANCH", "origin/b"),
                ("GIT_COMMIT", "r"),
                ("BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "azure",
            &[
                ("TF_BUILD", "True"),
                ("BUILD_SOURCEBRANCH", "refs/heads/a/b"),
                ("BUILD_SOURCEVERSION", "r"),
                ("BUILD_BUILDID", "7"),
            ],
            "a/b r 7",
        ),
        (
            "bitbucket",
            &[
                ("BITBUCKET_BUILD_NUMBER", "7"),
                ("BITBUCKET_BRANCH", "b"),
                ("BITBUCKET_COMMIT", "r"),
            ],
            "b r 7",
        ),
        (
            "travis",
            &[
                ("TRAVIS", "true"),
                ("TRAVIS_BRANCH", "b"),
                ("TRAVIS_COMMIT", "r"),
                ("TRAVIS_BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
    ];
    for (system, env, expected) in systems {
        let bench = env
            .iter()
            .fold(Bench::new(), |bench, (name, value)| bench.env(name, value));
        let key = bench.key("{{ .Branch }} {{ .Revision }} {{ .BuildNum }}");
        assert_eq!(key, *expected, "{system}");
    }
}

#[test]
fn drone_metadata_and_its_likes() {
    let bench = Bench::new()
        .env("DRONE", "true")
        .env("DRONE_REPO", "octo/app")
        .env("DRONE_COMMIT_BRANCH", "b")
        .env("DRONE_COMMIT_SHA", "r");
    assert_eq!(
        bench.key("{{ .Repo.Name }}-{{ .Repo.Owner }}-{{ .Commit.Branch }}-{{ .Commit.Sha }}"),
        "app-octo-b-r"
    );
    let bench = Bench::new()
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "octo/app")
        .env("GITHUB_REF", "refs/pull/12/merge")
        .env("GITHUB_BASE_REF", "main");
    assert_eq!(
        bench.key("{{ .Repo.Name }}-{{ .PullRequest }}-{{ .BaseBranch }}"),
        "app-12-main"
    );
}

#[test]
fn our_own_variables_come_first() {
    let bench = Bench::new()
        .env("GITLAB_CI", "1")
        .env("CI_COMMIT_BRANCH", "b")
        .env("CACHEFS_BRANCH", "o");
    assert_eq!(bench.key("{{ .Branch }}"), "o");
    assert_eq!(
        Bench::new().env("CACHEFS_BRANCH", "o").key("{{ .Branch }}"),
        "o"
    );
}

#[test]
fn what_no_system_reports_is_an_error() {
    let error = Bench::new().error("x-{{ .Branch }}");
    assert_eq!(
        error.to_string(),
        "`.Branch` is unknown outside of a recognised CI system"
    );
    assert_eq!(error.hint(), "set CACHEFS_BRANCH");
    let error = Bench::new()
        .env("TRAVIS", "true")
        .env("TRAVIS_PULL_REQUEST", "false");
    let error = error.error("{{ .PullRequest }}");
    assert_eq!(error.to_string(), "`.PullRequest` is unknown in Travis CI");
    assert_eq!(
        error.hint(),
        "set one of CACHEFS_PULL_REQUEST, TRAVIS_PULL_REQUEST"
    );
}
