//! Values of the plugin's variables, in the forms that the plugin takes.

use std::collections::BTreeMap;
use std::fmt;

/// Variables to set (or to remove) before anything else. Its `Debug` shows the names only, because
/// values can be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Variables(BTreeMap<&'static str, Option<String>>);

impl Variables {
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.insert(name, Some(value.into()));
    }

    pub(super) fn remove(&mut self, name: &'static str) {
        self.0.insert(name, None);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (*name, value.as_deref()))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The environment of the plugin; a variable that is empty counts as not set.
pub(super) struct Values<'a>(pub(super) &'a BTreeMap<String, String>);

impl Values<'_> {
    /// The first of these variables that is set.
    pub(super) fn get(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .filter_map(|name| self.0.get(*name))
            .map(String::as_str)
            .find(|value| !value.is_empty())
    }

    pub(super) fn is_true(&self, name: &str, default: bool) -> Result<bool, cachefs::Error> {
        let Some(value) = self.get(&[name]) else {
            return Ok(default);
        };
        match value {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err(cachefs::Error::usage(
                format!("{name} is neither true nor false"),
                format!("write {name}=true or {name}=false"),
            )),
        }
    }

    /// The parts of a list, which commas separate.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(&[name]).unwrap_or_default();
        value
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let mut variables = Variables::default();
        variables.set("AWS_SECRET_ACCESS_KEY", "hunter2");
        let shown = format!("{variables:?}");
        assert!(
            shown.contains("AWS_SECRET") && !shown.contains("hunter"),
            "{shown}"
        );
    }
}
