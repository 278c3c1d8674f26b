//! Attributes that a pod may set for its volume, and the options that they become.
//!
//! An attribute has the name of an option of `restore` or `save`, in the spelling of Kubernetes.
//! The parser of the options validates the values when the volume is published, because a mistake
//! in an option of the save must not surface after the job.

use std::collections::BTreeMap;

use super::phase::{Of, Phase};

/// One attribute.
#[derive(Debug)]
pub(crate) struct Attribute {
    /// Name of the attribute.
    pub(crate) name: &'static str,
    /// Name of the option.
    pub(super) flag: &'static str,
    /// Which commands take it.
    pub(super) of: Of,
    /// Kind of the value.
    pub(super) takes: Takes,
}

/// Kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Itself.
    Text,
    /// Several, on lines of their own or with commas between them.
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

/// The attribute that every volume has.
pub(super) const KEY: &str = "key";
/// Its prefixes, templates like it.
pub(super) const RESTORE_KEYS: &str = "restoreKeys";
/// The scope of the key.
pub(super) const SCOPE: &str = "scope";
/// Where else to look.
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

/// The attribute of a name.
pub(super) fn find_attribute(name: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|known| known.name == name)
}

/// The names of all attributes, for a message.
pub(super) fn attribute_names() -> String {
    let names: Vec<_> = ATTRIBUTES.iter().map(|known| known.name).collect();
    names.join(", ")
}

/// The items of a list.
pub(super) fn list_items(value: &str) -> impl Iterator<Item = &str> {
    let items = value.split(['\n', ',']).map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// The value of a switch.
pub(super) fn parse_switch(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The options that attributes come to in one of the commands. A value is never an argument of its
/// own, so none can be taken for another option.
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
