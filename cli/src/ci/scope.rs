//! Derives the scopes of a build: one to write, and several to read.

use std::path::Path;

use cachefs_store::refs::Scope;

use super::fact::BuildFact;
use super::git;
use super::report::Ci;

/// The scope outside of CI.
const OUTSIDE: &str = "default";

/// Default branches to try if the CI system does not report one. They are queried in parallel, so a
/// wrong guess costs a request but no time.
const USUAL_BRANCHES: [&str; 2] = ["main", "master"];

/// The scopes of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scopes {
    /// The only scope to write.
    pub(crate) own: Scope,
    /// The scopes that a restore searches after `own`, best first; without `own`.
    pub(crate) fallback: Vec<Scope>,
}

impl Scopes {
    /// A single scope without fallbacks.
    pub(crate) fn only(own: Scope) -> Self {
        Self {
            own,
            fallback: Vec::new(),
        }
    }

    /// The scopes of a build in `workspace`.
    ///
    /// A pull request is `pr/N`, whatever the name of its branch, because the owner of a fork
    /// chooses the names of its branches. A tag is `tag/NAME`, any other build `branch/NAME`. The
    /// base branch and the default branch are searched afterwards. Outside of CI there is only
    /// `default`.
    pub(crate) fn of_build(ci: &Ci<'_>, workspace: &Path) -> Self {
        let branch = ci.get(BuildFact::Branch);
        let base = ci.get(BuildFact::BaseBranch);
        let own = if let Some(number) = ci.get(BuildFact::PullRequest) {
            fit_scope(format!("pr/{number}"))
        } else if let Some(branch) = branch.as_ref().filter(|_| is_proposal(ci)) {
            fit_scope(format!("pr/{branch}"))
        } else if let Some(tag) = ci.get(BuildFact::Tag) {
            fit_scope(format!("tag/{tag}"))
        } else if let Some(branch) = &branch {
            fit_scope(format!("branch/{branch}"))
        } else {
            return Self::only(fit_scope(OUTSIDE.to_owned()));
        };
        let default = ci
            .get(BuildFact::DefaultBranch)
            .or_else(|| git::default_branch(workspace));
        let default = match default {
            Some(branch) => vec![branch],
            None => USUAL_BRANCHES.map(str::to_owned).to_vec(),
        };
        let mut scopes = Self::only(own);
        for branch in base.into_iter().chain(default) {
            scopes.add(fit_scope(format!("branch/{branch}")));
        }
        scopes
    }

    /// Adds further scopes to search.
    ///
    /// # Errors
    ///
    /// A usage error for an invalid name.
    pub(crate) fn with(&self, further: &[String]) -> Result<Self, cachefs::Error> {
        let mut scopes = self.clone();
        for name in further {
            scopes.add(Scope::new(name.clone())?);
        }
        Ok(scopes)
    }

    /// Adds a scope to search, unless it is present.
    fn add(&mut self, scope: Scope) {
        if scope != self.own && !self.fallback.contains(&scope) {
            self.fallback.push(scope);
        }
    }

    /// All scopes to read, best first.
    pub(crate) fn all(&self) -> Vec<Scope> {
        let own = std::iter::once(&self.own);
        own.chain(&self.fallback).cloned().collect()
    }
}

/// Whether the build is for a pull request with an unknown number: then its branch must not be
/// treated as a branch of this repository.
fn is_proposal(ci: &Ci<'_>) -> bool {
    ci.is_fork()
        || ci
            .get(BuildFact::Event)
            .is_some_and(|event| event.contains("pull_request") || event.contains("merge_request"))
}

/// Makes a scope from a name. If the name is too long, it is truncated, and its hash is appended.
fn fit_scope(whole: String) -> Scope {
    if let Ok(scope) = Scope::new(whole.clone()) {
        return scope;
    }
    let hash = blake3::hash(whole.as_bytes()).to_hex();
    let mut start: String = whole.chars().filter(|c| !c.is_control()).collect();
    loop {
        start.pop();
        if let Ok(scope) = Scope::new(format!("{start}-{}", &hash[..16])) {
            return scope;
        }
    }
}
