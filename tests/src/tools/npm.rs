//! npm: two direct dependencies and a dozen transitive ones, installed and then used.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::file_server::FileServer;
use super::{Project, Recipe, runs, step};
use crate::harness::Invocation;

/// Options that make npm send requests unrelated to dependencies; we turn them off.
const QUIET: [&str; 3] = ["audit", "fund", "update_notifier"];

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

    fn fill(&self, project: &Project, cache: &Path, _: Option<&FileServer>) -> Vec<Invocation> {
        let npm = |words: [&'static str; 2]| {
            let mut args: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
            args.extend([OsStr::new("--cache"), cache.as_os_str()]);
            let npm = step(project, "npm", &args);
            QUIET
                .iter()
                .fold(npm, |npm, option| npm.env(variable(option), "false"))
        };
        vec![
            npm(["install", "--package-lock-only"]),
            npm(["ci", "--prefer-online"]),
        ]
    }

    fn offline(&self, cache: &str) -> String {
        let quiet = QUIET.map(|option| format!("export {}=false\n", variable(option)));
        // Installs the locked packages from the cache alone, then builds.
        format!(
            "{}npm ci --offline --cache {cache} && npm run build --offline --cache {cache}",
            quiet.concat()
        )
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

fn variable(option: &str) -> String {
    format!("npm_config_{option}")
}
