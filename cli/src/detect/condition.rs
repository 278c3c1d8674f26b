//! Conditions of the table: `when = [{ has = "uv.lock" }, …]`.

use serde::Deserialize;

use super::site::Site;
use super::tools::{ConditionHook, condition_hook};

/// Something that is true or false for a directory of the workspace.
#[derive(Debug, Deserialize)]
#[serde(try_from = "ConditionEntry")]
pub(crate) enum Condition {
    /// The directory contains this file, and git does not ignore it.
    Has(String),
    /// The opposite of [`Condition::Has`].
    Lacks(String),
    /// One of the files in the directory, ignored or not, contains one of the texts.
    Mentions {
        texts: Vec<String>,
        files: Vec<String>,
    },
    /// The environment variable is set and not empty.
    Variable(String),
    Hook(ConditionHook),
}

impl Condition {
    fn holds(&self, site: &Site<'_>) -> bool {
        match self {
            Self::Has(file) => site.has(file),
            Self::Lacks(file) => !site.has(file),
            Self::Mentions { texts, files } => files.iter().any(|file| site.mentions(file, texts)),
            Self::Variable(name) => site.host.var(name).is_some(),
            Self::Hook(hook) => hook(site),
        }
    }
}

/// Whether one of the conditions holds, or there is none.
pub(super) fn any_holds(conditions: &[Condition], site: &Site<'_>) -> bool {
    conditions.is_empty() || conditions.iter().any(|condition| condition.holds(site))
}

/// A condition as the table spells it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ConditionEntry {
    has: Option<String>,
    lacks: Option<String>,
    mentions: Option<Vec<String>>,
    #[serde(rename = "in", default)]
    files: Vec<String>,
    env: Option<String>,
    hook: Option<String>,
}

impl TryFrom<ConditionEntry> for Condition {
    type Error = String;

    fn try_from(entry: ConditionEntry) -> Result<Self, String> {
        if entry.mentions.is_some() == entry.files.is_empty() {
            return Err("a condition with `mentions` lists its files as `in`".to_owned());
        }
        let files = entry.files;
        let hook = match entry.hook {
            Some(name) => Some(
                condition_hook(&name).ok_or_else(|| format!("no condition hook is `{name}`"))?,
            ),
            None => None,
        };
        let mut kinds = [
            entry.has.map(Self::Has),
            entry.lacks.map(Self::Lacks),
            entry.mentions.map(|texts| Self::Mentions { texts, files }),
            entry.env.map(Self::Variable),
            hook.map(Self::Hook),
        ]
        .into_iter()
        .flatten();
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) => Ok(kind),
            _ => Err(
                "a condition has exactly one of `has`, `lacks`, `mentions`, `env`, `hook`"
                    .to_owned(),
            ),
        }
    }
}
