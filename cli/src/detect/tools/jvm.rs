//! Gradle, sbt and Bazel.

use crate::detect::place::DetectedDirectory;
use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool, any_project};

const WRAPPER: &str = "gradle/wrapper/gradle-wrapper.properties";

pub(super) static GRADLE: Tool = Tool {
    name: "gradle",
    title: "Gradle",
    locks: &[],
    manifests: &[
        "settings.gradle",
        "settings.gradle.kts",
        "build.gradle",
        "build.gradle.kts",
    ],
    inputs: &[
        "**/*.gradle",
        "**/*.gradle.kts",
        "**/gradle.properties",
        "**/gradle.lockfile",
        "gradle/*.versions.toml",
        WRAPPER,
    ],
    is_project: any_project,
    caches: gradle_caches,
};

fn gradle_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    let home = host
        .variable(&["GRADLE_USER_HOME"])
        .or_else(|| option_directory(site, &["GRADLE_OPTS", "JAVA_OPTS"], "-Dgradle.user.home="))
        .unwrap_or_else(|| host.java_home(&["GRADLE_OPTS", "JAVA_OPTS"], ".gradle"));
    let caches = Draft::main(home.join("caches"))
        .compiled()
        .note("a Gradle daemon keeps writing after the build: run Gradle with --no-daemon, or `gradle --stop` before the save");
    let mut drafts = vec![caches];
    if site.has(WRAPPER) {
        drafts.push(Draft::new("wrapper", home.join("wrapper")).of(&[WRAPPER]));
    }
    drafts
}

pub(super) static SBT: Tool = Tool {
    name: "sbt",
    title: "sbt",
    locks: &[],
    manifests: &["build.sbt"],
    inputs: &["**/*.sbt", "project/*.scala", "project/build.properties"],
    is_project: any_project,
    caches: sbt_caches,
};

fn sbt_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    let options = ["SBT_OPTS", "JAVA_OPTS"];
    let coursier = host
        .variable(&["COURSIER_CACHE"])
        .unwrap_or_else(|| host.cache("coursier/v1"));
    let boot = option_directory(site, &options, "-Dsbt.boot.directory=")
        .unwrap_or_else(|| host.java_home(&options, ".sbt/boot"));
    vec![Draft::main(coursier), Draft::new("boot", boot)]
}

pub(super) static BAZEL: Tool = Tool {
    name: "bazel",
    title: "Bazel",
    locks: &[],
    manifests: &["MODULE.bazel", "WORKSPACE", "WORKSPACE.bazel"],
    inputs: &["MODULE.bazel.lock", ".bazelversion", ".bazelrc"],
    is_project: any_project,
    caches: bazel_caches,
};

fn bazel_caches(site: &Site<'_>) -> Vec<Draft> {
    let repositories = bazelrc_flag(site, "--repository_cache").unwrap_or_else(|| {
        let user = site.host.var("USER").unwrap_or("root");
        site.host
            .cache(&format!("bazel/_bazel_{user}/cache/repos/v1"))
    });
    let mut drafts = vec![Draft::main(repositories).note(
        "the output user root is not cached: its links lead out of it, and Bazel holds it open",
    )];
    match bazelrc_flag(site, "--disk_cache") {
        Some(disk) => drafts.push(Draft::new("disk", disk).compiled()),
        None => {
            if let Some(main) = drafts.first_mut() {
                main.notes
                    .push("results of actions are also cached if .bazelrc sets --disk_cache");
            }
        }
    }
    if site.has(".bazelversion") {
        let home = site
            .host
            .variable(&["BAZELISK_HOME"])
            .unwrap_or_else(|| site.host.cache("bazelisk"));
        drafts.push(
            Draft::new("bazelisk", home)
                .compiled()
                .of(&[".bazelversion"]),
        );
    }
    drafts
}

/// The value of a flag in `.bazelrc`.
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

/// A directory that an option in one of these variables names.
fn option_directory(
    site: &Site<'_>,
    variables: &[&str],
    option: &str,
) -> Option<DetectedDirectory> {
    let base = site.tree.root.join(&site.dir);
    variables
        .iter()
        .find_map(|name| site.host.option(name, option, &base))
}
