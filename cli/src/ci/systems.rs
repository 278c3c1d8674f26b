//! The CI systems: one table of systems, facts and where each is told.

use super::fact::Fact;

/// A CI system, how it is recognised and where it tells what.
#[derive(Debug)]
pub(super) struct System {
    pub(super) name: &'static str,
    /// The system is there when one of these is set and not empty.
    pub(super) markers: &'static [&'static str],
    /// For each fact where it is told, best first: the name of a variable, or, with a `/` at the
    /// start, a pointer into the event's description.
    pub(super) facts: &'static [(Fact, &'static [&'static str])],
}

/// All of them; the first whose marker is there counts.
pub(super) const SYSTEMS: &[System] = &[
    System {
        name: "GitHub Actions",
        markers: &["GITHUB_ACTIONS"],
        facts: &[
            // GITHUB_REF_NAME is `12/merge` on a pull request.
            (Fact::Branch, &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"]),
            (
                Fact::BaseBranch,
                &["GITHUB_BASE_REF", "/merge_group/base_ref"],
            ),
            (Fact::DefaultBranch, &["/repository/default_branch"]),
            (Fact::Tag, &["GITHUB_REF"]),
            (Fact::Ref, &["GITHUB_REF"]),
            // GITHUB_REF is the base branch for `pull_request_target` and after a merge.
            (Fact::PullRequest, &["GITHUB_REF", "/pull_request/number"]),
            (Fact::Revision, &["GITHUB_SHA"]),
            (Fact::BuildNumber, &["GITHUB_RUN_NUMBER"]),
            (Fact::Event, &["GITHUB_EVENT_NAME"]),
            (Fact::Job, &["GITHUB_JOB"]),
            (Fact::Repository, &["GITHUB_REPOSITORY"]),
            (
                Fact::SourceRepository,
                &["/pull_request/head/repo/full_name"],
            ),
            (Fact::RepoName, &["GITHUB_REPOSITORY"]),
            (
                Fact::RepoOwner,
                &["GITHUB_REPOSITORY_OWNER", "GITHUB_REPOSITORY"],
            ),
            (Fact::Author, &["GITHUB_ACTOR"]),
        ],
    },
    System {
        name: "GitLab",
        markers: &["GITLAB_CI"],
        facts: &[
            (
                Fact::Branch,
                &[
                    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
                    "CI_COMMIT_BRANCH",
                    "CI_COMMIT_REF_NAME",
                ],
            ),
            (Fact::BaseBranch, &["CI_MERGE_REQUEST_TARGET_BRANCH_NAME"]),
            (Fact::DefaultBranch, &["CI_DEFAULT_BRANCH"]),
            (Fact::Tag, &["CI_COMMIT_TAG"]),
            (
                Fact::Ref,
                &["CI_MERGE_REQUEST_REF_PATH", "CI_COMMIT_REF_NAME"],
            ),
            (Fact::PullRequest, &["CI_MERGE_REQUEST_IID"]),
            (Fact::Revision, &["CI_COMMIT_SHA"]),
            (Fact::BuildNumber, &["CI_PIPELINE_IID", "CI_PIPELINE_ID"]),
            (Fact::Event, &["CI_PIPELINE_SOURCE"]),
            (Fact::Job, &["CI_JOB_NAME"]),
            (
                Fact::Repository,
                &["CI_MERGE_REQUEST_PROJECT_PATH", "CI_PROJECT_PATH"],
            ),
            (
                Fact::SourceRepository,
                &["CI_MERGE_REQUEST_SOURCE_PROJECT_PATH"],
            ),
            (Fact::RepoName, &["CI_PROJECT_NAME"]),
            (Fact::RepoOwner, &["CI_PROJECT_NAMESPACE"]),
            (Fact::Author, &["CI_COMMIT_AUTHOR"]),
        ],
    },
    System {
        name: "CircleCI",
        markers: &["CIRCLECI"],
        facts: &[
            (Fact::Branch, &["CIRCLE_BRANCH"]),
            (Fact::Tag, &["CIRCLE_TAG"]),
            (
                Fact::PullRequest,
                &["CIRCLE_PR_NUMBER", "CIRCLE_PULL_REQUEST"],
            ),
            (Fact::Revision, &["CIRCLE_SHA1"]),
            (Fact::BuildNumber, &["CIRCLE_BUILD_NUM"]),
            (Fact::Job, &["CIRCLE_JOB"]),
            // Set for pull requests from forks only.
            (Fact::Fork, &["CIRCLE_PR_USERNAME"]),
            (Fact::RepoName, &["CIRCLE_PROJECT_REPONAME"]),
            (Fact::RepoOwner, &["CIRCLE_PROJECT_USERNAME"]),
            (Fact::Author, &["CIRCLE_USERNAME"]),
        ],
    },
    System {
        name: "Buildkite",
        markers: &["BUILDKITE"],
        facts: &[
            (Fact::Branch, &["BUILDKITE_BRANCH"]),
            (Fact::BaseBranch, &["BUILDKITE_PULL_REQUEST_BASE_BRANCH"]),
            (Fact::DefaultBranch, &["BUILDKITE_PIPELINE_DEFAULT_BRANCH"]),
            (Fact::Tag, &["BUILDKITE_TAG"]),
            (Fact::PullRequest, &["BUILDKITE_PULL_REQUEST"]),
            (Fact::Revision, &["BUILDKITE_COMMIT"]),
            (Fact::BuildNumber, &["BUILDKITE_BUILD_NUMBER"]),
            (Fact::Event, &["BUILDKITE_SOURCE"]),
            (Fact::Job, &["BUILDKITE_STEP_KEY", "BUILDKITE_LABEL"]),
            (Fact::Repository, &["BUILDKITE_REPO"]),
            (Fact::SourceRepository, &["BUILDKITE_PULL_REQUEST_REPO"]),
            (Fact::RepoName, &["BUILDKITE_PIPELINE_SLUG"]),
            (Fact::RepoOwner, &["BUILDKITE_ORGANIZATION_SLUG"]),
            (Fact::Author, &["BUILDKITE_BUILD_AUTHOR"]),
        ],
    },
    System {
        name: "Drone or Harness",
        markers: &["DRONE", "HARNESS_BUILD_ID", "HARNESS_PIPELINE_ID"],
        facts: &[
            // DRONE_BRANCH is the target on a pull request.
            (
                Fact::Branch,
                &[
                    "DRONE_SOURCE_BRANCH",
                    "DRONE_COMMIT_BRANCH",
                    "DRONE_BRANCH",
                    "CI_COMMIT_BRANCH",
                ],
            ),
            (Fact::BaseBranch, &["DRONE_TARGET_BRANCH"]),
            (Fact::DefaultBranch, &["DRONE_REPO_BRANCH"]),
            (Fact::Tag, &["DRONE_TAG"]),
            (Fact::Ref, &["DRONE_COMMIT_REF"]),
            (Fact::PullRequest, &["DRONE_PULL_REQUEST"]),
            (
                Fact::Revision,
                &["DRONE_COMMIT_SHA", "DRONE_COMMIT", "CI_COMMIT_SHA"],
            ),
            (
                Fact::BuildNumber,
                &["DRONE_BUILD_NUMBER", "CI_BUILD_NUMBER", "HARNESS_BUILD_ID"],
            ),
            (Fact::Event, &["DRONE_BUILD_EVENT"]),
            (Fact::Job, &["DRONE_STEP_NAME", "HARNESS_STAGE_NAME"]),
            (Fact::Repository, &["DRONE_REPO"]),
            (Fact::RepoName, &["DRONE_REPO_NAME", "DRONE_REPO"]),
            (
                Fact::RepoOwner,
                &["DRONE_REPO_NAMESPACE", "DRONE_REPO_OWNER", "DRONE_REPO"],
            ),
            (
                Fact::Author,
                &["DRONE_COMMIT_AUTHOR_NAME", "DRONE_COMMIT_AUTHOR"],
            ),
        ],
    },
    System {
        name: "Jenkins",
        markers: &["JENKINS_URL"],
        facts: &[
            // BRANCH_NAME is `PR-12` on a pull request.
            (
                Fact::Branch,
                &[
                    "CHANGE_BRANCH",
                    "BRANCH_NAME",
                    "GIT_LOCAL_BRANCH",
                    "GIT_BRANCH",
                ],
            ),
            (Fact::BaseBranch, &["CHANGE_TARGET"]),
            (Fact::Tag, &["TAG_NAME"]),
            (Fact::PullRequest, &["CHANGE_ID"]),
            (Fact::Revision, &["GIT_COMMIT"]),
            (Fact::BuildNumber, &["BUILD_NUMBER"]),
            (Fact::Job, &["JOB_NAME"]),
            (Fact::Fork, &["CHANGE_FORK"]),
            (Fact::Repository, &["GIT_URL"]),
            (Fact::Author, &["CHANGE_AUTHOR"]),
        ],
    },
    System {
        name: "Azure Pipelines",
        markers: &["TF_BUILD"],
        facts: &[
            // BUILD_SOURCEBRANCHNAME is the last segment only: `a/x` and `b/x` would be one.
            (
                Fact::Branch,
                &["SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH"],
            ),
            (Fact::BaseBranch, &["SYSTEM_PULLREQUEST_TARGETBRANCH"]),
            (Fact::Tag, &["BUILD_SOURCEBRANCH"]),
            (Fact::Ref, &["BUILD_SOURCEBRANCH"]),
            (Fact::Fork, &["SYSTEM_PULLREQUEST_ISFORK"]),
            (Fact::Repository, &["BUILD_REPOSITORY_NAME"]),
            (
                Fact::PullRequest,
                &[
                    "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER",
                    "SYSTEM_PULLREQUEST_PULLREQUESTID",
                ],
            ),
            (Fact::Revision, &["BUILD_SOURCEVERSION"]),
            (Fact::BuildNumber, &["BUILD_BUILDID"]),
            (Fact::Event, &["BUILD_REASON"]),
            (Fact::Job, &["SYSTEM_JOBNAME", "AGENT_JOBNAME"]),
            (Fact::RepoName, &["BUILD_REPOSITORY_NAME"]),
            (Fact::Author, &["BUILD_REQUESTEDFOR"]),
        ],
    },
    System {
        name: "Bitbucket Pipelines",
        markers: &["BITBUCKET_BUILD_NUMBER"],
        facts: &[
            (Fact::Branch, &["BITBUCKET_BRANCH"]),
            (Fact::BaseBranch, &["BITBUCKET_PR_DESTINATION_BRANCH"]),
            (Fact::Tag, &["BITBUCKET_TAG"]),
            (Fact::PullRequest, &["BITBUCKET_PR_ID"]),
            (Fact::Revision, &["BITBUCKET_COMMIT"]),
            (Fact::BuildNumber, &["BITBUCKET_BUILD_NUMBER"]),
            (Fact::Repository, &["BITBUCKET_REPO_FULL_NAME"]),
            (Fact::RepoName, &["BITBUCKET_REPO_SLUG"]),
            (
                Fact::RepoOwner,
                &["BITBUCKET_WORKSPACE", "BITBUCKET_REPO_OWNER"],
            ),
        ],
    },
    System {
        name: "Travis CI",
        markers: &["TRAVIS"],
        facts: &[
            // TRAVIS_BRANCH is the target on a pull request.
            (
                Fact::Branch,
                &["TRAVIS_PULL_REQUEST_BRANCH", "TRAVIS_BRANCH"],
            ),
            (Fact::BaseBranch, &["TRAVIS_BRANCH"]),
            (Fact::Tag, &["TRAVIS_TAG"]),
            (Fact::PullRequest, &["TRAVIS_PULL_REQUEST"]),
            (
                Fact::Revision,
                &["TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"],
            ),
            (Fact::BuildNumber, &["TRAVIS_BUILD_NUMBER"]),
            (Fact::Event, &["TRAVIS_EVENT_TYPE"]),
            (Fact::Job, &["TRAVIS_JOB_NAME"]),
            (Fact::Repository, &["TRAVIS_REPO_SLUG"]),
            (Fact::SourceRepository, &["TRAVIS_PULL_REQUEST_SLUG"]),
            (Fact::RepoName, &["TRAVIS_REPO_SLUG"]),
            (Fact::RepoOwner, &["TRAVIS_REPO_SLUG"]),
        ],
    },
];
