//! The machine's information about the caches of tools: its environment, its home, and the
//! tools themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ask::Ask;
use super::place::{DetectedDirectory, Learnt};

/// The machine that is asked.
pub(crate) struct Host<'a> {
    /// The home directory, absolute.
    pub(crate) home: PathBuf,
    /// The home directory by the table of users, absolute: Java knows no other, whatever `HOME`
    /// says.
    pub(crate) account: PathBuf,
    /// Whether we are root, for which some tools have places of their own.
    pub(crate) is_root: bool,
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

    /// The directory that a variable names, if it is set.
    pub(super) fn variable(&self, name: &str) -> Option<DetectedDirectory> {
        let path = self.resolve(Path::new("/"), self.var(name)?)?;
        Some(DetectedDirectory::new(
            path,
            Learnt::Variable(name.to_owned()),
        ))
    }

    /// The answer of an installed tool, when it is the path of a directory.
    pub(super) fn asked(&self, program: &str, args: &[&str]) -> Option<DetectedDirectory> {
        let answer = self.ask.ask(program, args)?;
        let path = PathBuf::from(answer.trim());
        let is_path = path.is_absolute() && !answer.trim().contains('\n');
        is_path.then(|| {
            let question = format!("{program} {}", args.join(" "));
            DetectedDirectory::new(path, Learnt::Asked(question))
        })
    }

    /// A directory in the home: the tool's own default.
    pub(super) fn home(&self, below: &str) -> DetectedDirectory {
        DetectedDirectory::new(self.home.join(below), Learnt::Default)
    }

    /// A directory in the home that Java programs see: the value of `-Duser.home` in one of these
    /// variables says, or the account's.
    pub(super) fn java_home(&self, variables: &[String], below: &str) -> DetectedDirectory {
        let option = "-Duser.home=";
        let named = variables
            .iter()
            .map(String::as_str)
            .chain(["JAVA_TOOL_OPTIONS"])
            .find_map(|name| self.option(name, option, Path::new("/")));
        named
            .unwrap_or_else(|| DetectedDirectory::new(self.account.clone(), Learnt::Default))
            .join(below)
    }

    /// The directory that an option in a variable names, read in the directory `base`.
    pub(super) fn option(
        &self,
        variable: &str,
        option: &str,
        base: &Path,
    ) -> Option<DetectedDirectory> {
        let value = option_of(self.var(variable)?, option)?;
        let path = self.resolve(base, value)?;
        Some(DetectedDirectory::new(
            path,
            Learnt::Variable(variable.to_owned()),
        ))
    }

    /// A directory where tools keep caches: below `XDG_CACHE_HOME`, or `~/.cache`.
    pub(super) fn cache(&self, below: &str) -> DetectedDirectory {
        self.xdg("XDG_CACHE_HOME", ".cache", below)
    }

    /// A directory below a base directory of the desktop's conventions.
    pub(super) fn xdg(&self, variable: &str, default: &str, below: &str) -> DetectedDirectory {
        self.variable(variable)
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
        (!text.is_empty()).then(|| normal_path(&base.join(text)))
    }

    fn substitute(&self, name: &str) -> Option<String> {
        let text = |path: &Path| path.to_str().map(str::to_owned);
        let (name, default) = match name.split_once(":-").or_else(|| name.split_once('-')) {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (name, None),
        };
        match name {
            "user.home" => text(&self.account),
            "HOME" => text(&self.home),
            _ => self
                .var(name.strip_prefix("env.").unwrap_or(name))
                .map(str::to_owned)
                .or(default),
        }
    }
}

/// The value of the last word that begins with an option: of several, tools take the last.
pub(super) fn option_of<'a>(text: &'a str, option: &str) -> Option<&'a str> {
    text.split_whitespace()
        .filter_map(|word| word.trim_matches(['"', '\'']).strip_prefix(option))
        .next_back()
}

/// The home of this process's user by the table of users.
pub(super) fn account_home() -> Option<PathBuf> {
    let table = std::fs::read_to_string("/etc/passwd").ok()?;
    home_in(&table, rustix::process::getuid().as_raw())
}

fn home_in(table: &str, user: u32) -> Option<PathBuf> {
    // name:password:uid:gid:comment:home:shell
    let fields = |line: &str| -> Vec<String> { line.split(':').map(str::to_owned).collect() };
    let is_user = |fields: &Vec<String>| fields.get(2) == Some(&user.to_string());
    let line = table.lines().map(fields).find(is_user)?;
    Some(PathBuf::from(line.get(5)?)).filter(|home| home.is_absolute())
}

/// A path without `.` and `..`, as far as its words alone tell.
fn normal_path(path: &Path) -> PathBuf {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_by_the_table_of_users() {
        let table =
            "root:x:0:0:root:/root:/bin/sh\nada:x:7:7:Ada,,,:/home/ada:/bin/sh\nno:x:8:8::none:\n";
        assert_eq!(home_in(table, 7), Some("/home/ada".into()));
        assert_eq!(home_in(table, 8), None);
        assert_eq!(home_in(table, 9), None);
    }
}
