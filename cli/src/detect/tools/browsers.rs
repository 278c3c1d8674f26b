//! Browsers that tests download: Playwright, Cypress, Puppeteer.

use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool};

/// The versions of browsers follow from the versions of the packages.
const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
    "poetry.lock",
    "uv.lock",
    "Pipfile.lock",
];
const MANIFESTS: &[&str] = &[
    "package.json",
    "requirements*.txt",
    "pyproject.toml",
    "Pipfile",
];

/// Whether the project itself names one of these packages; its lock would name them too where
/// they came in by another package.
fn names_package(site: &Site<'_>, packages: &[&str]) -> bool {
    [
        "package.json",
        "requirements.txt",
        "requirements-dev.txt",
        "pyproject.toml",
        "Pipfile",
    ]
    .iter()
    .any(|file| site.mentions(file, packages))
}

pub(super) static PLAYWRIGHT: Tool = Tool {
    name: "playwright",
    title: "Playwright",
    locks: LOCKS,
    manifests: MANIFESTS,
    inputs: &[],
    is_project: |site| names_package(site, &["playwright"]),
    caches: |site| {
        let browsers = site
            .host
            .variable(&["PLAYWRIGHT_BROWSERS_PATH"])
            .unwrap_or_else(|| site.host.cache("ms-playwright"));
        vec![Draft::main(browsers).compiled().note(
            "libraries of the system are not part of it: `playwright install-deps` where the image lacks them",
        )]
    },
};

pub(super) static CYPRESS: Tool = Tool {
    name: "cypress",
    title: "Cypress",
    locks: LOCKS,
    manifests: MANIFESTS,
    inputs: &[],
    is_project: |site| site.mentions("package.json", &["\"cypress\""]),
    caches: |site| {
        let binary = site
            .host
            .variable(&["CYPRESS_CACHE_FOLDER"])
            .unwrap_or_else(|| site.host.cache("Cypress"));
        vec![Draft::main(binary).compiled()]
    },
};

pub(super) static PUPPETEER: Tool = Tool {
    name: "puppeteer",
    title: "Puppeteer",
    locks: LOCKS,
    manifests: MANIFESTS,
    inputs: &[],
    is_project: |site| site.mentions("package.json", &["\"puppeteer\""]),
    caches: |site| {
        let browsers = site
            .host
            .variable(&["PUPPETEER_CACHE_DIR"])
            .unwrap_or_else(|| site.host.cache("puppeteer"));
        vec![Draft::main(browsers).compiled()]
    },
};
