//! The facts that CI systems report, and their names.

/// A fact about a build; each CI system has its own name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildFact {
    /// The branch; for a pull request, its source branch.
    Branch,
    /// The target branch of a pull request.
    BaseBranch,
    /// The default branch of the repository.
    DefaultBranch,
    /// The tag, if the build is for one.
    Tag,
    /// The git ref, such as `refs/heads/main`.
    Ref,
    /// The number of the pull request or merge request.
    PullRequest,
    /// The commit hash.
    Revision,
    /// The number of the build.
    BuildNumber,
    /// The name of the event that started the build, which differs between systems.
    Event,
    /// The job or step.
    Job,
    /// The repository with its owner, such as `octo/app`.
    Repository,
    /// The source repository of a pull request, with its owner.
    SourceRepository,
    /// Whether a pull request comes from a fork, if the system reports it.
    Fork,
    /// The repository without its owner.
    RepoName,
    /// The repository's owner.
    RepoOwner,
    /// The user who started the build, or the author of the commit.
    Author,
}

/// The template variables for facts, without their leading dot.
const VARIABLES: &[(&str, BuildFact)] = &[
    ("Branch", BuildFact::Branch),
    ("Revision", BuildFact::Revision),
    ("BuildNum", BuildFact::BuildNumber),
    ("BaseBranch", BuildFact::BaseBranch),
    ("PullRequest", BuildFact::PullRequest),
    ("Tag", BuildFact::Tag),
    ("Job", BuildFact::Job),
    ("Repo.Name", BuildFact::RepoName),
    ("Repo.Owner", BuildFact::RepoOwner),
    ("Repo.Namespace", BuildFact::RepoOwner),
    ("Repo.Branch", BuildFact::DefaultBranch),
    ("Commit.Branch", BuildFact::Branch),
    ("Commit.Sha", BuildFact::Revision),
    ("Commit.Ref", BuildFact::Ref),
    ("Commit.Author.Name", BuildFact::Author),
    ("Build.Number", BuildFact::BuildNumber),
    ("Build.Event", BuildFact::Event),
];

/// Every template variable for a fact, joined for a hint.
pub(crate) fn variable_names() -> String {
    let names: Vec<String> = VARIABLES
        .iter()
        .map(|(name, _)| format!(".{name}"))
        .collect();
    names.join(", ")
}

impl BuildFact {
    /// The fact of a template variable, without its leading dot.
    pub(crate) fn of_variable(name: &str) -> Option<Self> {
        VARIABLES
            .iter()
            .find_map(|(known, fact)| (*known == name).then_some(*fact))
    }

    /// Our own variable for the fact, for example `CACHEFS_BRANCH`.
    pub(super) fn own_variable(self) -> &'static str {
        match self {
            Self::Branch => "CACHEFS_BRANCH",
            Self::BaseBranch => "CACHEFS_BASE_BRANCH",
            Self::DefaultBranch => "CACHEFS_DEFAULT_BRANCH",
            Self::Tag => "CACHEFS_TAG",
            Self::Ref => "CACHEFS_GIT_REF",
            Self::PullRequest => "CACHEFS_PULL_REQUEST",
            Self::Revision => "CACHEFS_REVISION",
            Self::BuildNumber => "CACHEFS_BUILD_NUMBER",
            Self::Event => "CACHEFS_EVENT",
            Self::Job => "CACHEFS_JOB",
            Self::Repository => "CACHEFS_REPOSITORY",
            Self::SourceRepository => "CACHEFS_SOURCE_REPOSITORY",
            Self::Fork => "CACHEFS_FORK",
            Self::RepoName => "CACHEFS_REPO_NAME",
            Self::RepoOwner => "CACHEFS_REPO_OWNER",
            Self::Author => "CACHEFS_AUTHOR",
        }
    }
}
