//! Values of the plugin's variables, in the forms that the plugin takes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

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

/// Reads a time as Go writes it: `300ms`, `1m30s`, `1.5h`.
pub(super) fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(split);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_go_writes_them() {
        for (text, seconds) in [
            ("3m0s", 180.0),
            ("300ms", 0.3),
            ("1h30m", 5400.0),
            ("1.5m", 90.0),
        ] {
            assert_eq!(
                parse_go_duration(text),
                Some(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for text in ["", "30", "s", "1x", "-1s", "0s", "1s "] {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

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
