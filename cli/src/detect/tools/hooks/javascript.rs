//! npm, pnpm, Yarn and Bun: all read `package.json`.

use crate::detect::site::{Site, find_setting_line};

/// The locks of all tools that read `package.json`.
const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
];

/// Whether a `package.json` without any lock names one of these tools as its `packageManager`.
/// The empty name stands for a manifest that names none.
pub(super) fn is_managed_by(site: &Site<'_>, tools: &[&str]) -> bool {
    if site.has_above(LOCKS) || site.has_above(&["deno.json", "deno.jsonc"]) {
        return false;
    }
    let manager = site
        .read("package.json")
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|manifest| Some(manifest.get("packageManager")?.as_str()?.to_owned()))
        .unwrap_or_default();
    tools.iter().any(|tool| match *tool {
        "" => manager.is_empty(),
        tool => manager
            .strip_prefix(tool)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '.'])),
    })
}

pub(super) fn is_yarn1_project(site: &Site<'_>) -> bool {
    match site.has("yarn.lock") {
        true => berry_lock(site).is_none() && !site.has(".yarnrc.yml"),
        false => is_managed_by(site, &["yarn@1"]),
    }
}

pub(super) fn is_berry_project(site: &Site<'_>) -> bool {
    match site.has("yarn.lock") {
        true => berry_lock(site).is_some() || site.has(".yarnrc.yml"),
        false => is_managed_by(site, &["yarn"]) && !is_managed_by(site, &["yarn@1"]),
    }
}

/// Yarn 1 uses `/usr/local/share` as the home of root.
pub(super) fn uses_yarn1_of_root(site: &Site<'_>) -> bool {
    site.host.is_root && site.host.var("XDG_CACHE_HOME").is_none()
}

pub(super) fn has_local_berry_cache(site: &Site<'_>) -> bool {
    match site
        .read(".yarnrc.yml")
        .and_then(|text| find_setting_line(&text, &["enableGlobalCache"]))
    {
        Some(value) => value == "false",
        // Yarn 4 is the first to share its cache by default, and writes locks of version 8.
        None => berry_lock(site).is_some_and(|version| version < 8),
    }
}

/// The version of a lock of Yarn Berry; `None` for one of Yarn 1.
fn berry_lock(site: &Site<'_>) -> Option<u32> {
    let text = site.read("yarn.lock")?;
    let (_, rest) = text.split_once("__metadata:")?;
    find_setting_line(rest, &["version"])?.parse().ok()
}
