//! Volume attributes that a pod can set, and the options that they become.
//!
//! An attribute has the name of an option of `restore` or `save`, in camel case as in Kubernetes.
//! The parser of the options validates the values when the volume is published: an invalid option
//! of the save must not go unnoticed until the job has finished.

use std::collections::BTreeMap;

use super::phase::{Of, Phase};

/// A volume attribute.
#[derive(Debug)]
pub(crate) struct Attribute {
    /// Name of the attribute.
    pub(crate) name: &'static str,
    /// Name of the option.
    pub(super) flag: &'static str,
    /// The commands that have the option.
    pub(super) of: Of,
    /// The type of the value.
    pub(super) takes: Takes,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Any text.
    Text,
    /// A list, separated by newlines or commas.
    List,
    /// `true` or `false`.
    Switch,
}

const fn new_attribute(name: &'static str, flag: &'static str, of: Of, takes: Takes) -> Attribute {
    Attribute {
        name,
        flag,
        of,
        takes,
    }
}

/// The required attribute with the template of the key.
pub(super) const KEY: &str = "key";
/// Templates of fallback prefixes.
pub(super) const RESTORE_KEYS: &str = "restoreKeys";
/// The scope of the key.
pub(super) const SCOPE: &str = "scope";
/// Scopes to search after [`SCOPE`].
pub(super) const FALLBACK_SCOPES: &str = "fallbackScopes";
/// A remote other than the node's.
pub(super) const REMOTE: &str = "remote";

/// All attributes.
pub(crate) const ATTRIBUTES: &[Attribute] = &[
    new_attribute(KEY, "--key", Of::Both, Takes::Text),
    new_attribute(RESTORE_KEYS, "--restore-key", Of::Restore, Takes::List),
    new_attribute(SCOPE, "--scope", Of::Both, Takes::Text),
    new_attribute(
        FALLBACK_SCOPES,
        "--fallback-scope",
        Of::Restore,
        Takes::List,
    ),
    new_attribute(REMOTE, "--remote", Of::Remote, Takes::Text),
    new_attribute("endpoint", "--endpoint", Of::Remote, Takes::Text),
    new_attribute("region", "--region", Of::Remote, Takes::Text),
    new_attribute("pathStyle", "--path-style", Of::Remote, Takes::Switch),
    new_attribute("anonymous", "--anonymous", Of::Remote, Takes::Switch),
    new_attribute("account", "--account", Of::Remote, Takes::Text),
    new_attribute("policy", "--policy", Of::Both, Takes::Text),
    new_attribute("readOnly", "--read-only", Of::Both, Takes::Switch),
    new_attribute("timeout", "--timeout", Of::Both, Takes::Text),
    new_attribute("mode", "--mode", Of::Restore, Takes::Text),
    new_attribute("owner", "--owner", Of::Restore, Takes::Text),
    new_attribute("lower", "--lower", Of::Restore, Takes::Text),
    new_attribute("prefetch", "--prefetch", Of::Restore, Takes::Text),
    new_attribute("noTrace", "--no-trace", Of::Restore, Takes::Switch),
    new_attribute("strictKey", "--strict-key", Of::Restore, Takes::Switch),
    new_attribute(
        "failOnCacheMiss",
        "--fail-on-cache-miss",
        Of::Restore,
        Takes::Switch,
    ),
    new_attribute(
        "strictErrors",
        "--strict-errors",
        Of::Restore,
        Takes::Switch,
    ),
    new_attribute(
        "restoreTimeout",
        "--restore-timeout",
        Of::Restore,
        Takes::Text,
    ),
    new_attribute("saveIf", "--save-if", Of::Save, Takes::Text),
    new_attribute("override", "--override", Of::Save, Takes::Switch),
    new_attribute("ttl", "--ttl", Of::Save, Takes::Text),
    new_attribute("saveTimeout", "--save-timeout", Of::Save, Takes::Text),
    new_attribute("secrets", "--secrets", Of::Save, Takes::Text),
    new_attribute("secretsAllow", "--secrets-allow", Of::Save, Takes::List),
];

/// Finds an attribute by its name.
pub(super) fn find_attribute(name: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|known| known.name == name)
}

/// The names of all attributes, for a message.
pub(super) fn attribute_names() -> String {
    let names: Vec<_> = ATTRIBUTES.iter().map(|known| known.name).collect();
    names.join(", ")
}

/// Splits a list into its items.
pub(super) fn list_items(value: &str) -> impl Iterator<Item = &str> {
    let items = value.split(['\n', ',']).map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// Parses the value of a switch.
pub(super) fn parse_switch(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Converts attributes to the options of a command. Each value is part of its option's argument
/// (`--flag=value`), so it cannot be parsed as another option.
pub(super) fn command_options(attributes: &BTreeMap<String, String>, phase: Phase) -> Vec<String> {
    let mut options = Vec::new();
    for known in ATTRIBUTES {
        let Some(value) = attributes.get(known.name).filter(|_| phase.takes(known.of)) else {
            continue;
        };
        let flag = known.flag;
        match known.takes {
            Takes::Text => options.push(format!("{flag}={value}")),
            Takes::List => options.extend(list_items(value).map(|item| format!("{flag}={item}"))),
            Takes::Switch if parse_switch(value) == Some(true) => options.push(flag.to_owned()),
            Takes::Switch => {}
        }
    }
    options
}
