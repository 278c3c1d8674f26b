//! npm, pnpm, Yarn, Bun and Deno.

use std::path::Path;

use crate::detect::place::{DetectedDirectory, Learnt};
use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool, any_project};

const NPM_LOCKS: &[&str] = &["package-lock.json", "npm-shrinkwrap.json"];
/// The locks of all tools that read `package.json`.
const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
];

pub(super) static NPM: Tool = Tool {
    name: "npm",
    title: "npm",
    locks: NPM_LOCKS,
    manifests: &["package.json"],
    inputs: &[],
    is_project: |site| {
        NPM_LOCKS.iter().any(|lock| site.has(lock)) || is_without_lock(site, &["npm", ""])
    },
    caches: npm_caches,
};

fn npm_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    let cache = host
        .variable(&["npm_config_cache", "NPM_CONFIG_CACHE"])
        .or_else(|| site.setting(".npmrc", &["cache"]))
        .or_else(|| host.asked("npm", &["config", "get", "cache"]))
        .or_else(|| site.home_setting(".npmrc", &["cache"]))
        .unwrap_or_else(|| host.home(".npm"));
    vec![
        // Not the logs beside it, which would make every save one with changes.
        Draft::main(cache.join("_cacache")),
        node_modules_cache(site)
            .optional("`npm ci` empties it first; restore it for `npm install`, or to run `npm ci` only after a miss"),
    ]
}

pub(super) static PNPM: Tool = Tool {
    name: "pnpm",
    title: "pnpm",
    locks: &["pnpm-lock.yaml"],
    manifests: &["package.json"],
    inputs: &[],
    is_project: |site| site.has("pnpm-lock.yaml") || is_without_lock(site, &["pnpm"]),
    caches: pnpm_caches,
};

fn pnpm_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    let store = host
        .variable(&[
            "npm_config_store_dir",
            "NPM_CONFIG_STORE_DIR",
            "pnpm_config_store_dir",
            "PNPM_CONFIG_STORE_DIR",
        ])
        .or_else(|| site.setting("pnpm-workspace.yaml", &["storeDir"]))
        .or_else(|| site.setting(".npmrc", &["store-dir"]))
        .or_else(|| host.asked("pnpm", &["store", "path"]).map(without_version))
        .or_else(|| host.variable(&["PNPM_HOME"]).map(|home| home.join("store")))
        .unwrap_or_else(|| host.data("pnpm/store"));
    vec![
        Draft::main(store).note(
            "hard links do not cross mounts: pnpm copies from the store; package-import-method=copy in .npmrc avoids failed attempts",
        ),
        node_modules_cache(site).optional("pnpm creates it from the store, by copying if the two are separate mounts"),
    ]
}

pub(super) static YARN: Tool = Tool {
    name: "yarn1",
    title: "Yarn 1",
    locks: &["yarn.lock"],
    manifests: &["package.json"],
    inputs: &[],
    is_project: |site| match site.has("yarn.lock") {
        true => berry_lock(site).is_none() && !site.has(".yarnrc.yml"),
        false => is_without_lock(site, &["yarn@1"]),
    },
    caches: yarn_caches,
};

fn yarn_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    let cache = host
        .variable(&["YARN_CACHE_FOLDER", "npm_config_yarn_cache_folder"])
        .or_else(|| site.setting(".yarnrc", &["cache-folder", "--cache-folder"]))
        .or_else(|| host.asked("yarn", &["cache", "dir"]).map(without_version))
        .or_else(|| site.home_setting(".yarnrc", &["cache-folder"]))
        .unwrap_or_else(|| match host.var("XDG_CACHE_HOME") {
            // Yarn 1 takes this for the home of root.
            None if host.is_root => {
                DetectedDirectory::new("/usr/local/share/.cache/yarn".into(), Learnt::Default)
            }
            _ => host.cache("yarn"),
        });
    vec![
        Draft::main(cache),
        node_modules_cache(site).optional("`yarn install` creates it from the cache"),
    ]
}

pub(super) static BERRY: Tool = Tool {
    name: "berry",
    title: "Yarn Berry",
    locks: &["yarn.lock"],
    manifests: &["package.json"],
    inputs: &[".yarnrc.yml"],
    is_project: |site| match site.has("yarn.lock") {
        true => berry_lock(site).is_some() || site.has(".yarnrc.yml"),
        false => is_without_lock(site, &["yarn"]) && !is_without_lock(site, &["yarn@1"]),
    },
    caches: yarn_berry_caches,
};

fn yarn_berry_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    // A project's own Yarn is code of the project, so nobody is asked.
    let is_local = match site
        .read(".yarnrc.yml")
        .and_then(|text| crate::detect::site::find_setting_line(&text, &["enableGlobalCache"]))
    {
        Some(value) => value == "false",
        // Yarn 4 writes locks of version 8, and is the first to share its cache by default.
        None => berry_lock(site).is_some_and(|version| version < 8),
    };
    let cache = host
        .variable(&["YARN_CACHE_FOLDER"])
        .or_else(|| site.setting(".yarnrc.yml", &["cacheFolder"]))
        .unwrap_or_else(|| match is_local {
            true => site.own(".yarn/cache"),
            false => host
                .variable(&["YARN_GLOBAL_FOLDER"])
                .or_else(|| site.setting(".yarnrc.yml", &["globalFolder"]))
                .unwrap_or_else(|| host.home(".yarn/berry"))
                .join("cache"),
        });
    vec![
        Draft::main(cache),
        node_modules_cache(site).optional("`yarn install` creates it from the cache"),
    ]
}

pub(super) static BUN: Tool = Tool {
    name: "bun",
    title: "Bun",
    locks: &["bun.lock", "bun.lockb"],
    manifests: &["package.json"],
    inputs: &[],
    is_project: |site| {
        site.has("bun.lock") || site.has("bun.lockb") || is_without_lock(site, &["bun"])
    },
    caches: |site| {
        let host = site.host;
        let cache = host
            .variable(&["BUN_INSTALL_CACHE_DIR"])
            .or_else(|| {
                let home = host.variable(&["BUN_INSTALL"])?;
                Some(home.join("install/cache"))
            })
            .unwrap_or_else(|| host.home(".bun/install/cache"));
        vec![
            Draft::main(cache).note(
                "hard links do not cross mounts: `bun install --backend=copyfile` avoids failed attempts",
            ),
            node_modules_cache(site).optional("`bun install` creates it from the cache"),
        ]
    },
};

pub(super) static DENO: Tool = Tool {
    name: "deno",
    title: "Deno",
    locks: &["deno.lock"],
    manifests: &["deno.json", "deno.jsonc"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let cache = site
            .host
            .variable(&["DENO_DIR"])
            .unwrap_or_else(|| site.host.cache("deno"));
        vec![Draft::main(cache)]
    },
};

fn node_modules_cache(site: &Site<'_>) -> Draft {
    Draft::new("node_modules", site.own("node_modules")).compiled()
}

/// Whether a `package.json` without any lock names one of these tools; the empty name stands for
/// none at all.
fn is_without_lock(site: &Site<'_>, tools: &[&str]) -> bool {
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

/// The version of a lock of Yarn Berry; `None` for one of Yarn 1.
fn berry_lock(site: &Site<'_>) -> Option<u32> {
    let text = site.read("yarn.lock")?;
    let (_, rest) = text.split_once("__metadata:")?;
    crate::detect::site::find_setting_line(rest, &["version"])?
        .parse()
        .ok()
}

/// Takes off the version of the layout that a tool appends: another version of the tool, or a
/// machine where it cannot be asked, must come to the same path.
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
