//! The caches that `.bazelrc` names.

use crate::detect::place::DetectedDirectory;
use crate::detect::site::Site;

/// Where `.bazelrc` says, or Bazel's default, which contains the name of the user.
pub(super) fn repository_cache(site: &Site<'_>) -> Option<DetectedDirectory> {
    bazelrc_flag(site, "--repository_cache").or_else(|| {
        let user = site.host.var("USER").unwrap_or("root");
        let below = format!("bazel/_bazel_{user}/cache/repos/v1");
        Some(site.host.cache(&below))
    })
}

/// Bazel has a disk cache only if it is configured.
pub(super) fn disk_cache(site: &Site<'_>) -> Option<DetectedDirectory> {
    bazelrc_flag(site, "--disk_cache")
}

fn bazelrc_flag(site: &Site<'_>, flag: &str) -> Option<DetectedDirectory> {
    let text = site.read(".bazelrc")?;
    let words: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let value =
        words
            .iter()
            .enumerate()
            .find_map(|(at, word)| match word.strip_prefix(flag)? {
                "" => words.get(at + 1).copied(),
                rest => rest.strip_prefix('='),
            })?;
    let root = site.tree.root.join(&site.dir);
    let value = value.replace("%workspace%", &root.to_string_lossy());
    site.named(".bazelrc", &value)
}
