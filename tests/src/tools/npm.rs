//! npm: two dependencies with a dozen of their own, installed and then used.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Project, Recipe, runs, step};
use crate::harness::Invocation;

/// Installs what the lock file says from the cache alone, then builds.
const OFFLINE: &str = r#"npm ci --offline --cache "$1" && npm run build --offline --cache "$1""#;

const FILES: &[(&str, &str)] = &[
    ("package.json", include_str!("../../data/npm/package.json")),
    ("build.js", include_str!("../../data/npm/build.js")),
];

pub(super) struct Npm;

impl Recipe for Npm {
    fn name(&self) -> &'static str {
        "npm"
    }

    fn lacks(&self) -> Option<String> {
        (!(runs("npm") && runs("node"))).then(|| "npm and node".into())
    }

    fn write(&self, project: &Project) -> Result<()> {
        for (name, content) in FILES {
            fs::write(project.source().join(name), content)?;
        }
        Ok(())
    }

    fn fill(&self, project: &Project, cache: &Path) -> Vec<Invocation> {
        let npm = |words: [&'static str; 2]| {
            let mut args: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
            args.extend([OsStr::new("--cache"), cache.as_os_str()]);
            quiet(step(project, "npm", &args))
        };
        vec![
            npm(["install", "--package-lock-only"]),
            npm(["ci", "--prefer-online"]),
        ]
    }

    fn offline(&self, project: &Project, cache: &Path) -> Invocation {
        let words = ["-c", OFFLINE, "sh"].map(OsStr::new);
        let args: Vec<&OsStr> = words.into_iter().chain([cache.as_os_str()]).collect();
        quiet(step(project, "sh", &args))
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["node_modules", "dist"]
    }

    fn product(&self) -> &'static str {
        "dist/version"
    }

    fn complaint(&self) -> &'static str {
        "ENOTCACHED"
    }
}

/// Keeps npm from asking for what is no dependency.
fn quiet(invocation: Invocation) -> Invocation {
    ["audit", "fund", "update_notifier"]
        .iter()
        .fold(invocation, |invocation, option| {
            invocation.env(format!("npm_config_{option}"), "false")
        })
}
