//! What a machine says about where tools keep their caches: its environment, its home, and the
//! tools themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ask::Ask;
use super::place::{Learnt, Place};

/// The machine that is asked.
pub(crate) struct Host<'a> {
    /// The home directory, absolute.
    pub(crate) home: PathBuf,
    /// The environment.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// How installed tools are asked.
    pub(crate) ask: &'a dyn Ask,
}

impl Host<'_> {
    /// A variable that is set to something.
    pub(super) fn var(&self, name: &str) -> Option<&str> {
        self.env
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The directory that the first variable of these names, where one is set.
    pub(super) fn variable(&self, names: &[&str]) -> Option<Place> {
        names.iter().find_map(|name| {
            let path = self.resolve(Path::new("/"), self.var(name)?)?;
            Some(Place::new(path, Learnt::Variable((*name).to_owned())))
        })
    }

    /// The answer of an installed tool, when it is the path of a directory.
    pub(super) fn asked(&self, program: &str, args: &[&str]) -> Option<Place> {
        let answer = self.ask.ask(program, args)?;
        let path = PathBuf::from(answer.trim());
        let is_path = path.is_absolute() && !answer.trim().contains('\n');
        is_path.then(|| {
            let question = format!("{program} {}", args.join(" "));
            Place::new(path, Learnt::Asked(question))
        })
    }

    /// A directory in the home: the tool's own default.
    pub(super) fn home(&self, below: &str) -> Place {
        Place::new(self.home.join(below), Learnt::Default)
    }

    /// A directory where tools keep caches: below `XDG_CACHE_HOME`, or `~/.cache`.
    pub(super) fn cache(&self, below: &str) -> Place {
        self.xdg("XDG_CACHE_HOME", ".cache", below)
    }

    /// A directory where tools keep data: below `XDG_DATA_HOME`, or `~/.local/share`.
    pub(super) fn data(&self, below: &str) -> Place {
        self.xdg("XDG_DATA_HOME", ".local/share", below)
    }

    /// A directory below a base directory of the desktop's conventions.
    pub(super) fn xdg(&self, variable: &str, default: &str, below: &str) -> Place {
        self.variable(&[variable])
            .unwrap_or_else(|| self.home(default))
            .join(below)
    }

    /// The path that a setting means, read in the directory `base`; `None` when it names a
    /// variable that is not set.
    ///
    /// `~`, `$HOME`, `${NAME}`, `${NAME:-default}` and Java's `${user.home}` are understood.
    pub(super) fn resolve(&self, base: &Path, value: &str) -> Option<PathBuf> {
        let mut text = String::new();
        let mut rest = value.trim();
        if let Some(below) = rest
            .strip_prefix('~')
            .filter(|below| below.is_empty() || below.starts_with('/'))
        {
            text.push_str(self.home.to_str()?);
            rest = below;
        }
        while let Some(start) = rest.find('$') {
            text.push_str(&rest[..start]);
            rest = &rest[start + 1..];
            if let Some(inner) = rest.strip_prefix('{') {
                let end = inner.find('}')?;
                text.push_str(&self.substitute(&inner[..end])?);
                rest = &inner[end + 1..];
            } else {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                text.push_str(&self.substitute(&rest[..end])?);
                rest = &rest[end..];
            }
        }
        text.push_str(rest);
        (!text.is_empty()).then(|| normal(&base.join(text)))
    }

    fn substitute(&self, name: &str) -> Option<String> {
        let home = || self.home.to_str().map(str::to_owned);
        let (name, default) = match name.split_once(":-").or_else(|| name.split_once('-')) {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (name, None),
        };
        match name {
            "user.home" => home(),
            "HOME" => self.var(name).map(str::to_owned).or_else(home),
            _ => self
                .var(name.strip_prefix("env.").unwrap_or(name))
                .map(str::to_owned)
                .or(default),
        }
    }
}

/// A path without `.` and `..`, as far as its words alone tell.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}
