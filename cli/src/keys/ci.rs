//! What the CI systems say about a build: one table of systems, facts and variables.
//!
//! A variable `CACHEFS_<FACT>` (`CACHEFS_BRANCH`, ...) comes before every system's own, so that a
//! system that is not listed, or a build outside of any, can say the same.
//!
//! On a pull request the branch is the one that is proposed, not the one it is proposed to.

use std::collections::BTreeMap;

/// Something about a build that CI systems report, each under a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Branch,
    BaseBranch,
    DefaultBranch,
    Tag,
    Ref,
    PullRequest,
    Revision,
    BuildNumber,
    Event,
    Job,
    RepoName,
    RepoOwner,
    Author,
}

/// The template variables that stand for facts, without their leading dot.
const VARIABLES: &[(&str, Fact)] = &[
    ("Branch", Fact::Branch),
    ("Revision", Fact::Revision),
    ("BuildNum", Fact::BuildNumber),
    ("BaseBranch", Fact::BaseBranch),
    ("PullRequest", Fact::PullRequest),
    ("Tag", Fact::Tag),
    ("Job", Fact::Job),
    ("Repo.Name", Fact::RepoName),
    ("Repo.Owner", Fact::RepoOwner),
    ("Repo.Namespace", Fact::RepoOwner),
    ("Repo.Branch", Fact::DefaultBranch),
    ("Commit.Branch", Fact::Branch),
    ("Commit.Sha", Fact::Revision),
    ("Commit.Ref", Fact::Ref),
    ("Commit.Author.Name", Fact::Author),
    ("Build.Number", Fact::BuildNumber),
    ("Build.Event", Fact::Event),
];

/// A CI system, how it is recognised and where it tells what.
struct System {
    name: &'static str,
    /// The system is there when one of these is set and not empty.
    markers: &'static [&'static str],
    /// For each fact the variables that hold it, best first.
    facts: &'static [(Fact, &'static [&'static str])],
}

const SYSTEMS: &[System] = &[
    System {
        name: "GitHub Actions",
        markers: &["GITHUB_ACTIONS"],
        facts: &[
            // GITHUB_REF_NAME is `12/merge` on a pull request.
            (Fact::Branch, &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"]),
            (Fact::BaseBranch, &["GITHUB_BASE_REF"]),
            (Fact::Ref, &["GITHUB_REF"]),
            (Fact::PullRequest, &["GITHUB_REF"]),
            (Fact::Revision, &["GITHUB_SHA"]),
            (Fact::BuildNumber, &["GITHUB_RUN_NUMBER"]),
            (Fact::Event, &["GITHUB_EVENT_NAME"]),
            (Fact::Job, &["GITHUB_JOB"]),
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
            (Fact::Ref, &["BUILD_SOURCEBRANCH"]),
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
            (Fact::Tag, &["TRAVIS_TAG"]),
            (Fact::PullRequest, &["TRAVIS_PULL_REQUEST"]),
            (
                Fact::Revision,
                &["TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"],
            ),
            (Fact::BuildNumber, &["TRAVIS_BUILD_NUMBER"]),
            (Fact::Event, &["TRAVIS_EVENT_TYPE"]),
            (Fact::Job, &["TRAVIS_JOB_NAME"]),
            (Fact::RepoName, &["TRAVIS_REPO_SLUG"]),
            (Fact::RepoOwner, &["TRAVIS_REPO_SLUG"]),
        ],
    },
];

/// A fact's value and the variable it was taken from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) value: String,
    pub(super) variable: &'static str,
}

/// Where a fact was looked for in vain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreported {
    /// "in GitLab", or that no system was recognised.
    pub(super) place: String,
    /// The variables that would have supplied it, best first.
    pub(super) variables: Vec<&'static str>,
}

/// The fact that a template variable stands for, its leading dot left off.
pub(super) fn fact(variable: &str) -> Option<Fact> {
    VARIABLES
        .iter()
        .find_map(|(name, fact)| (*name == variable).then_some(*fact))
}

/// Every template variable that stands for a fact, joined for a hint.
pub(super) fn variable_names() -> String {
    let names: Vec<String> = VARIABLES
        .iter()
        .map(|(name, _)| format!(".{name}"))
        .collect();
    names.join(", ")
}

/// Looks a fact up in an environment.
pub(super) fn report(fact: Fact, env: &BTreeMap<String, String>) -> Result<Reported, Unreported> {
    let own = own_variable(fact);
    let system = SYSTEMS.iter().find(|system| {
        system
            .markers
            .iter()
            .any(|marker| set(env, marker).is_some())
    });
    let variables: Vec<&'static str> = std::iter::once(own)
        .chain(
            system
                .iter()
                .flat_map(|system| variables(system, fact))
                .copied(),
        )
        .collect();
    let reported = variables.iter().find_map(|variable| {
        let value = clean(fact, variable, set(env, variable)?)?;
        Some(Reported {
            value: value.to_owned(),
            variable,
        })
    });
    reported.ok_or_else(|| Unreported {
        place: system.map_or_else(
            || "outside of a CI system that is recognised".to_owned(),
            |system| format!("in {}", system.name),
        ),
        variables,
    })
}

/// The variables in which a system reports a fact, best first.
fn variables(system: &System, fact: Fact) -> &'static [&'static str] {
    system
        .facts
        .iter()
        .find_map(|(known, variables)| (*known == fact).then_some(*variables))
        .unwrap_or_default()
}

/// A variable's value, unless it is empty: systems leave what does not apply empty.
fn set<'a>(env: &'a BTreeMap<String, String>, variable: &str) -> Option<&'a str> {
    env.get(variable)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// The variable of our own that states a fact.
fn own_variable(fact: Fact) -> &'static str {
    match fact {
        Fact::Branch => "CACHEFS_BRANCH",
        Fact::BaseBranch => "CACHEFS_BASE_BRANCH",
        Fact::DefaultBranch => "CACHEFS_DEFAULT_BRANCH",
        Fact::Tag => "CACHEFS_TAG",
        Fact::Ref => "CACHEFS_GIT_REF",
        Fact::PullRequest => "CACHEFS_PULL_REQUEST",
        Fact::Revision => "CACHEFS_REVISION",
        Fact::BuildNumber => "CACHEFS_BUILD_NUMBER",
        Fact::Event => "CACHEFS_EVENT",
        Fact::Job => "CACHEFS_JOB",
        Fact::RepoName => "CACHEFS_REPO_NAME",
        Fact::RepoOwner => "CACHEFS_REPO_OWNER",
        Fact::Author => "CACHEFS_AUTHOR",
    }
}

/// Reduces a value to what all systems agree on, or to nothing when it states an absence.
fn clean<'a>(fact: Fact, variable: &str, value: &'a str) -> Option<&'a str> {
    let value = match fact {
        Fact::Branch | Fact::BaseBranch | Fact::DefaultBranch => {
            let name = value.strip_prefix("refs/heads/").unwrap_or(value);
            match variable {
                "GIT_BRANCH" => name.strip_prefix("origin/").unwrap_or(name),
                _ => name,
            }
        }
        Fact::PullRequest if variable == "GITHUB_REF" => {
            value.strip_prefix("refs/pull/")?.split('/').next()?
        }
        // `false` where there is none; an address where there is one, in CircleCI.
        Fact::PullRequest if value == "false" => return None,
        Fact::PullRequest => value.rsplit('/').next()?,
        Fact::RepoName => value.rsplit('/').next()?,
        Fact::RepoOwner => value.rsplit_once('/').map_or(value, |(owner, _)| owner),
        _ => value,
    };
    (!value.is_empty()).then_some(value)
}
