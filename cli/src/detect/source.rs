//! Sources of a cache directory: `path = [{ env = "UV_CACHE_DIR" }, { cache = "uv" }]`.

use std::path::Path;

use serde::Deserialize;

use super::condition::{Condition, any_holds};
use super::place::{DetectedDirectory, Learnt};
use super::site::Site;
use super::tools::{PathHook, path_hook};

/// A source that may know the directory.
#[derive(Debug, Deserialize)]
#[serde(try_from = "SourceEntry")]
pub(crate) struct Source {
    pub(super) origin: SourceOrigin,
    pub(super) when: Vec<Condition>,
    /// A path below the directory.
    pub(super) join: Option<String>,
    /// Whether to drop a last component such as `v10`.
    pub(super) without_version: bool,
    pub(super) note: Option<String>,
}

#[derive(Debug)]
pub(crate) enum SourceOrigin {
    /// An environment variable.
    Variable(String),
    Setting {
        reach: SourceReach,
        file: String,
        keys: Vec<String>,
    },
    /// A command that prints the directory, split at spaces.
    Ask(Vec<String>),
    /// An option such as `-Dsbt.boot.directory=` in the `java-options` of the tool.
    JavaOption(String),
    Hook(PathHook),
    /// Below the `base` of the tool.
    Base(String),
    /// A default of the tool, below a well-known directory.
    Default(SourceRoot, String),
}

/// Where a file with settings is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceReach {
    /// In the project, or else in the nearest parent directory in the workspace.
    ProjectOrParent,
    /// In the project only.
    Project,
    /// In the home directory.
    Home,
}

/// A directory that defaults are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceRoot {
    /// `~`
    Home,
    /// `$XDG_CACHE_HOME`, or `~/.cache`
    Cache,
    /// `$XDG_DATA_HOME`, or `~/.local/share`
    Data,
    /// `$XDG_STATE_HOME`, or `~/.local/state`
    State,
    /// The home directory that Java programs see.
    JavaHome,
    /// The project.
    Own,
    /// `/`
    Absolute,
}

/// The directory that the first source with an answer names.
pub(super) fn first_found<'s>(
    sources: &'s [Source],
    site: &Site<'_>,
) -> Option<(DetectedDirectory, &'s Source)> {
    sources
        .iter()
        .find_map(|source| Some((source.find(site)?, source)))
}

impl Source {
    fn find(&self, site: &Site<'_>) -> Option<DetectedDirectory> {
        if !any_holds(&self.when, site) {
            return None;
        }
        let mut place = self.origin.find(site)?;
        if self.without_version {
            place = without_version(place);
        }
        Some(match &self.join {
            Some(below) => place.join(below),
            None => place,
        })
    }
}

impl SourceOrigin {
    fn find(&self, site: &Site<'_>) -> Option<DetectedDirectory> {
        let host = site.host;
        match self {
            Self::Variable(name) => host.variable(name),
            Self::Setting { reach, file, keys } => match reach {
                SourceReach::ProjectOrParent => site.setting(file, keys),
                SourceReach::Project => site.own_setting(file, keys),
                SourceReach::Home => site.home_setting(file, keys),
            },
            Self::Ask(command) => {
                let words: Vec<&str> = command.iter().map(String::as_str).collect();
                let (program, args) = words.split_first()?;
                host.asked(program, args)
            }
            Self::JavaOption(option) => {
                let base = site.tree.root.join(&site.dir);
                let mut variables = site.tool.java_options.iter();
                variables.find_map(|name| host.option(name, option, &base))
            }
            Self::Hook(hook) => hook(site),
            Self::Base(below) => {
                let (base, _) = first_found(&site.tool.base, site)?;
                Some(base.join(below))
            }
            Self::Default(root, below) => Some(match root {
                SourceRoot::Home => host.home(below),
                SourceRoot::Cache => host.cache(below),
                SourceRoot::Data => host.xdg("XDG_DATA_HOME", ".local/share", below),
                SourceRoot::State => host.xdg("XDG_STATE_HOME", ".local/state", below),
                SourceRoot::JavaHome => host.java_home(&site.tool.java_options, below),
                SourceRoot::Own => site.own(below),
                SourceRoot::Absolute => DetectedDirectory::new(below.into(), Learnt::Default),
            }),
        }
    }
}

/// Drops the layout version that a tool appends. Otherwise another version of the tool, or a
/// machine without it, would use another path.
fn without_version(place: DetectedDirectory) -> DetectedDirectory {
    let is_version = |name: &str| {
        name.strip_prefix('v')
            .is_some_and(|digits| digits.parse::<u32>().is_ok())
    };
    let name = place.path.file_name().and_then(|name| name.to_str());
    match (name.is_some_and(is_version), place.path.parent()) {
        (true, Some(parent)) => DetectedDirectory::new(Path::to_owned(parent), place.learnt),
        _ => place,
    }
}

/// A source as the table spells it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SourceEntry {
    env: Option<String>,
    setting: Option<String>,
    own_setting: Option<String>,
    home_setting: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    ask: Option<String>,
    java_option: Option<String>,
    hook: Option<String>,
    base: Option<String>,
    home: Option<String>,
    cache: Option<String>,
    data: Option<String>,
    state: Option<String>,
    java_home: Option<String>,
    own: Option<String>,
    absolute: Option<String>,
    #[serde(default)]
    when: Vec<Condition>,
    join: Option<String>,
    #[serde(default)]
    without_version: bool,
    note: Option<String>,
}

impl TryFrom<SourceEntry> for Source {
    type Error = String;

    fn try_from(entry: SourceEntry) -> Result<Self, String> {
        let settings = [
            (SourceReach::ProjectOrParent, entry.setting),
            (SourceReach::Project, entry.own_setting),
            (SourceReach::Home, entry.home_setting),
        ];
        if settings.iter().any(|(_, file)| file.is_some()) == entry.keys.is_empty() {
            return Err("a source with a setting, and no other, has `keys`".to_owned());
        }
        let hook = match entry.hook {
            Some(name) => {
                Some(path_hook(&name).ok_or_else(|| format!("no path hook is `{name}`"))?)
            }
            None => None,
        };
        let named = [
            entry.env.map(SourceOrigin::Variable),
            entry
                .ask
                .map(|command| SourceOrigin::Ask(command.split(' ').map(str::to_owned).collect())),
            entry.java_option.map(SourceOrigin::JavaOption),
            hook.map(SourceOrigin::Hook),
            entry.base.map(SourceOrigin::Base),
        ];
        let settings = settings.into_iter().filter_map(|(reach, file)| {
            Some(SourceOrigin::Setting {
                reach,
                file: file?,
                keys: entry.keys.clone(),
            })
        });
        let defaults = [
            (SourceRoot::Home, entry.home),
            (SourceRoot::Cache, entry.cache),
            (SourceRoot::Data, entry.data),
            (SourceRoot::State, entry.state),
            (SourceRoot::JavaHome, entry.java_home),
            (SourceRoot::Own, entry.own),
            (SourceRoot::Absolute, entry.absolute),
        ];
        let defaults = defaults
            .into_iter()
            .filter_map(|(root, below)| Some(SourceOrigin::Default(root, below?)));
        let mut origins: Vec<SourceOrigin> = named
            .into_iter()
            .flatten()
            .chain(settings)
            .chain(defaults)
            .collect();
        match (origins.pop(), origins.is_empty()) {
            (Some(origin), true) => Ok(Self {
                origin,
                when: entry.when,
                join: entry.join,
                without_version: entry.without_version,
                note: entry.note,
            }),
            (None, _) => Err("a source names no place, such as `env` or `home`".to_owned()),
            (Some(_), false) => Err("a source names two places: write two sources".to_owned()),
        }
    }
}
