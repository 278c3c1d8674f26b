//! Looks facts up.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::event;
use super::fact::BuildFact;
use super::systems::{CiSystem, SYSTEMS};

/// A fact's value and its variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The value, normalised across systems.
    pub(crate) value: String,
    /// The variable, or the one with the path of the event file.
    pub(crate) variable: &'static str,
}

/// The sources of a fact that had no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreported {
    /// The system, such as "in GitLab"; or that no system was recognised.
    pub(crate) place: String,
    /// The variables that could supply it, best first.
    pub(crate) variables: Vec<&'static str>,
}

/// The facts about the build in an environment.
#[derive(Debug)]
pub(crate) struct Ci<'a> {
    env: &'a BTreeMap<String, String>,
    system: Option<&'static CiSystem>,
    event: OnceCell<Value>,
}

impl<'a> Ci<'a> {
    /// Detects the system; reads no files yet.
    pub(crate) fn new(env: &'a BTreeMap<String, String>) -> Self {
        let is_marked = |system: &&CiSystem| {
            system
                .markers
                .iter()
                .any(|name| set_variable(env, name).is_some())
        };
        Self {
            env,
            system: SYSTEMS.iter().find(is_marked),
            event: OnceCell::new(),
        }
    }

    /// The system's name; `None` if it is unknown.
    pub(crate) fn system(&self) -> Option<&'static str> {
        self.system.map(|system| system.name)
    }

    /// The value of a fact; `None` if it is not reported.
    pub(crate) fn get(&self, fact: BuildFact) -> Option<String> {
        self.report(fact).ok().map(|reported| reported.value)
    }

    /// Whether the build is known to be for a pull request from another repository.
    pub(crate) fn is_fork(&self) -> bool {
        self.get(BuildFact::Fork).is_some()
            || match (
                self.get(BuildFact::SourceRepository),
                self.get(BuildFact::Repository),
            ) {
                (Some(source), Some(own)) => !source.eq_ignore_ascii_case(&own),
                _ => false,
            }
    }

    /// A fact with its source, or the sources that had no value.
    pub(crate) fn report(&self, fact: BuildFact) -> Result<Reported, Unreported> {
        let own = fact.own_variable();
        let sources = self
            .system
            .map_or(&[][..], |system| fact_sources(system, fact));
        let sources = std::iter::once(own).chain(sources.iter().copied());
        let reported = sources.clone().find_map(|source| {
            let told = if source.starts_with('/') {
                event::event_text(self.event(), source)?
            } else {
                set_variable(self.env, source)?.to_owned()
            };
            Some(Reported {
                value: clean_value(fact, source, &told)?,
                variable: source_variable(source),
            })
        });
        reported.ok_or_else(|| Unreported {
            place: self.system().map_or_else(
                || "outside of a recognised CI system".to_owned(),
                |name| format!("in {name}"),
            ),
            variables: sources.map(source_variable).collect(),
        })
    }

    fn event(&self) -> &Value {
        self.event.get_or_init(|| event::read_event(self.env))
    }
}

/// The variable of a source.
fn source_variable(source: &'static str) -> &'static str {
    if source.starts_with('/') {
        event::VARIABLE
    } else {
        source
    }
}

/// The sources of a fact in a system, best first.
fn fact_sources(system: &CiSystem, fact: BuildFact) -> &'static [&'static str] {
    system
        .facts
        .iter()
        .find_map(|(known, sources)| (*known == fact).then_some(*sources))
        .unwrap_or_default()
}

/// The value of a variable, unless it is empty: systems leave inapplicable variables empty.
fn set_variable<'a>(env: &'a BTreeMap<String, String>, variable: &str) -> Option<&'a str> {
    env.get(variable)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// Normalises a value across systems; `None` if it means that there is none.
fn clean_value(fact: BuildFact, source: &str, value: &str) -> Option<String> {
    let value = match fact {
        BuildFact::Branch | BuildFact::BaseBranch | BuildFact::DefaultBranch => {
            let name = value.strip_prefix("refs/heads/").unwrap_or(value);
            match source {
                "GIT_BRANCH" => name.strip_prefix("origin/").unwrap_or(name),
                _ => name,
            }
        }
        BuildFact::Tag if matches!(source, "GITHUB_REF" | "BUILD_SOURCEBRANCH") => {
            value.strip_prefix("refs/tags/")?
        }
        BuildFact::PullRequest if source == "GITHUB_REF" => {
            value.strip_prefix("refs/pull/")?.split('/').next()?
        }
        // CircleCI sets `false` without a pull request, otherwise a URL.
        BuildFact::PullRequest if value == "false" => return None,
        BuildFact::PullRequest => value.rsplit('/').next()?,
        BuildFact::Fork if value.eq_ignore_ascii_case("false") => return None,
        BuildFact::Fork => "true",
        BuildFact::Repository | BuildFact::SourceRepository => return repository_name(value),
        BuildFact::RepoName => value.rsplit('/').next()?,
        BuildFact::RepoOwner => value.rsplit_once('/').map_or(value, |(owner, _)| owner),
        _ => value,
    };
    (!value.is_empty()).then(|| value.to_owned())
}

/// Extracts `octo/app` from a name or a git URL: the path without `.git`.
fn repository_name(value: &str) -> Option<String> {
    let path = match value.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        // git@host:octo/app.git
        None => value.rsplit_once(':').map_or(value, |(_, path)| path),
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (!path.is_empty()).then(|| path.to_owned())
}
