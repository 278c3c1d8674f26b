//! The CI systems: one table of systems, facts and their sources.

use super::fact::BuildFact;

/// A CI system, its marker, and the sources of its facts.
#[derive(Debug)]
pub(super) struct CiSystem {
    pub(super) name: &'static str,
    /// Variables that identify the system: one of them is set and not empty.
    pub(super) markers: &'static [&'static str],
    /// The sources of each fact, best first: the name of a variable or, with a leading `/`, a
    /// pointer into the event's payload.
    pub(super) facts: &'static [(BuildFact, &'static [&'static str])],
}

/// All systems; the first one with a marker wins.
pub(super) const SYSTEMS: &[CiSystem] = &[
    CiSystem {
        name: "GitHub Actions",
        markers: &["GITHUB_ACTIONS"],
        facts: &[
            // GITHUB_REF_NAME is `12/merge` on a pull request.
            (BuildFact::Branch, &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"]),
            (
                BuildFact::BaseBranch,
                &["GITHUB_BASE_REF", "/merge_group/base_ref"],
            ),
            (BuildFact::DefaultBranch, &["/repository/default_branch"]),
            (BuildFact::Tag, &["GITHUB_REF"]),
            (BuildFact::Ref, &["GITHUB_REF"]),
            // GITHUB_REF is the base branch for `pull_request_target` and after a merge.
            (
                BuildFact::PullRequest,
                &["GITHUB_REF", "/pull_request/number"],
            ),
            (BuildFact::Revision, &["GITHUB_SHA"]),
            (BuildFact::BuildNumber, &["GITHUB_RUN_NUMBER"]),
            (BuildFact::Event, &["GITHUB_EVENT_NAME"]),
            (BuildFact::Job, &["GITHUB_JOB"]),
            (BuildFact::Repository, &["GITHUB_REPOSITORY"]),
            (
                BuildFact::SourceRepository,
                &["/pull_request/head/repo/full_name"],
            ),
            (BuildFact::RepoName, &["GITHUB_REPOSITORY"]),
            (
                BuildFact::RepoOwner,
                &["GITHUB_REPOSITORY_OWNER", "GITHUB_REPOSITORY"],
            ),
            (BuildFact::Author, &["GITHUB_ACTOR"]),
        ],
    },
    CiSystem {
        name: "GitLab",
        markers: &["GITLAB_CI"],
        facts: &[
            (
                BuildFact::Branch,
                &[
                    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
                    "CI_COMMIT_BRANCH",
                    "CI_COMMIT_REF_NAME",
                ],
            ),
            (
                BuildFact::BaseBranch,
                &["CI_MERGE_REQUEST_TARGET_BRANCH_NAME"],
            ),
            (BuildFact::DefaultBranch, &["CI_DEFAULT_BRANCH"]),
            (BuildFact::Tag, &["CI_COMMIT_TAG"]),
            (
                BuildFact::Ref,
                &["CI_MERGE_REQUEST_REF_PATH", "CI_COMMIT_REF_NAME"],
            ),
            (BuildFact::PullRequest, &["CI_MERGE_REQUEST_IID"]),
            (BuildFact::Revision, &["CI_COMMIT_SHA"]),
            (
                BuildFact::BuildNumber,
                &["CI_PIPELINE_IID", "CI_PIPELINE_ID"],
            ),
            (BuildFact::Event, &["CI_PIPELINE_SOURCE"]),
            (BuildFact::Job, &["CI_JOB_NAME"]),
            (
                BuildFact::Repository,
                &["CI_MERGE_REQUEST_PROJECT_PATH", "CI_PROJECT_PATH"],
            ),
            (
                BuildFact::SourceRepository,
                &["CI_MERGE_REQUEST_SOURCE_PROJECT_PATH"],
            ),
            (BuildFact::RepoName, &["CI_PROJECT_NAME"]),
            (BuildFact::RepoOwner, &["CI_PROJECT_NAMESPACE"]),
            (BuildFact::Author, &["CI_COMMIT_AUTHOR"]),
        ],
    },
    CiSystem {
        name: "CircleCI",
        markers: &["CIRCLECI"],
        facts: &[
            (BuildFact::Branch, &["CIRCLE_BRANCH"]),
            (BuildFact::Tag, &["CIRCLE_TAG"]),
            (
                BuildFact::PullRequest,
                &["CIRCLE_PR_NUMBER", "CIRCLE_PULL_REQUEST"],
            ),
            (BuildFact::Revision, &["CIRCLE_SHA1"]),
            (BuildFact::BuildNumber, &["CIRCLE_BUILD_NUM"]),
            (BuildFact::Job, &["CIRCLE_JOB"]),
            // Set only for pull requests from forks.
            (BuildFact::Fork, &["CIRCLE_PR_USERNAME"]),
            (BuildFact::RepoName, &["CIRCLE_PROJECT_REPONAME"]),
            (BuildFact::RepoOwner, &["CIRCLE_PROJECT_USERNAME"]),
            (BuildFact::Author, &["CIRCLE_USERNAME"]),
        ],
    },
    CiSystem {
        name: "Buildkite",
        markers: &["BUILDKITE"],
        facts: &[
            (BuildFact::Branch, &["BUILDKITE_BRANCH"]),
            (
                BuildFact::BaseBranch,
                &["BUILDKITE_PULL_REQUEST_BASE_BRANCH"],
            ),
            (
                BuildFact::DefaultBranch,
                &["BUILDKITE_PIPELINE_DEFAULT_BRANCH"],
            ),
            (BuildFact::Tag, &["BUILDKITE_TAG"]),
            (BuildFact::PullRequest, &["BUILDKITE_PULL_REQUEST"]),
            (BuildFact::Revision, &["BUILDKITE_COMMIT"]),
            (BuildFact::BuildNumber, &["BUILDKITE_BUILD_NUMBER"]),
            (BuildFact::Event, &["BUILDKITE_SOURCE"]),
            (BuildFact::Job, &["BUILDKITE_STEP_KEY", "BUILDKITE_LABEL"]),
            (BuildFact::Repository, &["BUILDKITE_REPO"]),
            (
                BuildFact::SourceRepository,
                &["BUILDKITE_PULL_REQUEST_REPO"],
            ),
            (BuildFact::RepoName, &["BUILDKITE_PIPELINE_SLUG"]),
            (BuildFact::RepoOwner, &["BUILDKITE_ORGANIZATION_SLUG"]),
            (BuildFact::Author, &["BUILDKITE_BUILD_AUTHOR"]),
        ],
    },
    CiSystem {
        name: "Drone or Harness",
        markers: &["DRONE", "HARNESS_BUILD_ID", "HARNESS_PIPELINE_ID"],
        facts: &[
            // DRONE_BRANCH is the target on a pull request.
            (
                BuildFact::Branch,
                &[
                    "DRONE_SOURCE_BRANCH",
                    "DRONE_COMMIT_BRANCH",
                    "DRONE_BRANCH",
                    "CI_COMMIT_BRANCH",
                ],
            ),
            (BuildFact::BaseBranch, &["DRONE_TARGET_BRANCH"]),
            (BuildFact::DefaultBranch, &["DRONE_REPO_BRANCH"]),
            (BuildFact::Tag, &["DRONE_TAG"]),
            (BuildFact::Ref, &["DRONE_COMMIT_REF"]),
            (BuildFact::PullRequest, &["DRONE_PULL_REQUEST"]),
            (
                BuildFact::Revision,
                &["DRONE_COMMIT_SHA", "DRONE_COMMIT", "CI_COMMIT_SHA"],
            ),
            (
                BuildFact::BuildNumber,
                &["DRONE_BUILD_NUMBER", "CI_BUILD_NUMBER", "HARNESS_BUILD_ID"],
            ),
            (BuildFact::Event, &["DRONE_BUILD_EVENT"]),
            (BuildFact::Job, &["DRONE_STEP_NAME", "HARNESS_STAGE_NAME"]),
            (BuildFact::Repository, &["DRONE_REPO"]),
            (BuildFact::RepoName, &["DRONE_REPO_NAME", "DRONE_REPO"]),
            (
                BuildFact::RepoOwner,
                &["DRONE_REPO_NAMESPACE", "DRONE_REPO_OWNER", "DRONE_REPO"],
            ),
            (
                BuildFact::Author,
                &["DRONE_COMMIT_AUTHOR_NAME", "DRONE_COMMIT_AUTHOR"],
            ),
        ],
    },
    CiSystem {
        name: "Jenkins",
        markers: &["JENKINS_URL"],
        facts: &[
            // BRANCH_NAME is `PR-12` on a pull request.
            (
                BuildFact::Branch,
                &[
                    "CHANGE_BRANCH",
                    "BRANCH_NAME",
                    "GIT_LOCAL_BRANCH",
                    "GIT_BRANCH",
                ],
            ),
            (BuildFact::BaseBranch, &["CHANGE_TARGET"]),
            (BuildFact::Tag, &["TAG_NAME"]),
            (BuildFact::PullRequest, &["CHANGE_ID"]),
            (BuildFact::Revision, &["GIT_COMMIT"]),
            (BuildFact::BuildNumber, &["BUILD_NUMBER"]),
            (BuildFact::Job, &["JOB_NAME"]),
            (BuildFact::Fork, &["CHANGE_FORK"]),
            (BuildFact::Repository, &["GIT_URL"]),
            (BuildFact::Author, &["CHANGE_AUTHOR"]),
        ],
    },
    CiSystem {
        name: "Azure Pipelines",
        markers: &["TF_BUILD"],
        facts: &[
            // BUILD_SOURCEBRANCHNAME is only the last segment, so `a/x` and `b/x` would be the
            // same.
            (
                BuildFact::Branch,
                &["SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH"],
            ),
            (BuildFact::BaseBranch, &["SYSTEM_PULLREQUEST_TARGETBRANCH"]),
            (BuildFact::Tag, &["BUILD_SOURCEBRANCH"]),
            (BuildFact::Ref, &["BUILD_SOURCEBRANCH"]),
            (BuildFact::Fork, &["SYSTEM_PULLREQUEST_ISFORK"]),
            (BuildFact::Repository, &["BUILD_REPOSITORY_NAME"]),
            (
                BuildFact::PullRequest,
                &[
                    "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER",
                    "SYSTEM_PULLREQUEST_PULLREQUESTID",
                ],
            ),
            (BuildFact::Revision, &["BUILD_SOURCEVERSION"]),
            (BuildFact::BuildNumber, &["BUILD_BUILDID"]),
            (BuildFact::Event, &["BUILD_REASON"]),
            (BuildFact::Job, &["SYSTEM_JOBNAME", "AGENT_JOBNAME"]),
            (BuildFact::RepoName, &["BUILD_REPOSITORY_NAME"]),
            (BuildFact::Author, &["BUILD_REQUESTEDFOR"]),
        ],
    },
    CiSystem {
        name: "Bitbucket Pipelines",
        markers: &["BITBUCKET_BUILD_NUMBER"],
        facts: &[
            (BuildFact::Branch, &["BITBUCKET_BRANCH"]),
            (BuildFact::BaseBranch, &["BITBUCKET_PR_DESTINATION_BRANCH"]),
            (BuildFact::Tag, &["BITBUCKET_TAG"]),
            (BuildFact::PullRequest, &["BITBUCKET_PR_ID"]),
            (BuildFact::Revision, &["BITBUCKET_COMMIT"]),
            (BuildFact::BuildNumber, &["BITBUCKET_BUILD_NUMBER"]),
            (BuildFact::Repository, &["BITBUCKET_REPO_FULL_NAME"]),
            (BuildFact::RepoName, &["BITBUCKET_REPO_SLUG"]),
            (
                BuildFact::RepoOwner,
                &["BITBUCKET_WORKSPACE", "BITBUCKET_REPO_OWNER"],
            ),
        ],
    },
    CiSystem {
        name: "Travis CI",
        markers: &["TRAVIS"],
        facts: &[
            // TRAVIS_BRANCH is the target on a pull request.
            (
                BuildFact::Branch,
                &["TRAVIS_PULL_REQUEST_BRANCH", "TRAVIS_BRANCH"],
            ),
            (BuildFact::BaseBranch, &["TRAVIS_BRANCH"]),
            (BuildFact::Tag, &["TRAVIS_TAG"]),
            (BuildFact::PullRequest, &["TRAVIS_PULL_REQUEST"]),
            (
                BuildFact::Revision,
                &["TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"],
            ),
            (BuildFact::BuildNumber, &["TRAVIS_BUILD_NUMBER"]),
            (BuildFact::Event, &["TRAVIS_EVENT_TYPE"]),
            (BuildFact::Job, &["TRAVIS_JOB_NAME"]),
            (BuildFact::Repository, &["TRAVIS_REPO_SLUG"]),
            (BuildFact::SourceRepository, &["TRAVIS_PULL_REQUEST_SLUG"]),
            (BuildFact::RepoName, &["TRAVIS_REPO_SLUG"]),
            (BuildFact::RepoOwner, &["TRAVIS_REPO_SLUG"]),
        ],
    },
];
