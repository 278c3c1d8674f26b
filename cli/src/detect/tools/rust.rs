//! Rust: what cargo downloads, and what it builds.

use crate::detect::place::DetectedDirectory;
use crate::detect::site::{Site, find_setting_line};
use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static CARGO: Tool = Tool {
    name: "cargo",
    title: "Rust",
    locks: &["Cargo.lock"],
    manifests: &["Cargo.toml"],
    inputs: &[
        "rust-toolchain",
        "rust-toolchain.toml",
        ".cargo/config.toml",
    ],
    is_project: any_project,
    caches: |site| {
        let home = site
            .host
            .variable(&["CARGO_HOME"])
            .unwrap_or_else(|| site.host.home(".cargo"));
        // Not registry/src, which cargo unpacks from registry/cache, and not the credentials.
        let mut drafts = vec![
            Draft::new("index", home.join("registry/index")),
            Draft::new("crates", home.join("registry/cache")),
        ];
        if site.mentions("Cargo.lock", &["\"git+"]) || site.mentions("Cargo.toml", &["git ="]) {
            drafts.push(Draft::new("git", home.join("git/db")));
        }
        drafts.push(Draft::new("target", target_directory(site)).compiled());
        drafts
    },
};

fn target_directory(site: &Site<'_>) -> DetectedDirectory {
    let configured = || {
        let file = ".cargo/config.toml";
        let value = find_setting_line(&site.read(file)?, &["target-dir"])?;
        site.named(file, &value)
    };
    site.host
        .variable(&["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"])
        .or_else(configured)
        .unwrap_or_else(|| site.own("target"))
}
