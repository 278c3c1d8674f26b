//! Gradle: one class with a dependency that Debian packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::file_server::FileServer;
use super::maven::{JVM, REPOSITORY};
use super::{PLACE, Project, Recipe, quoted, shown};
use crate::harness::Invocation;

/// The newest Java that Debian's patched Gradle 4.4.1 supports; the machine's default may be newer.
const JAVA: &str = "java-17-openjdk";
/// Directory of Debian's Java installations.
const JAVAS: &str = "/usr/lib/jvm";
/// Property with the repository URL, whose port differs between runs.
const SOURCE: &str = "repository";
/// File that stores the property. Gradle keys artifacts by repository URL, so builds need the same
/// one.
const ADDRESS: &str = "gradle.properties";

const FILES: &[(&str, &str)] = &[
    (
        "build.gradle",
        include_str!("../../data/gradle/build.gradle"),
    ),
    ("settings.gradle", "rootProject.name = 'demo'\n"),
    (
        "src/main/java/demo/Extension.java",
        include_str!("../../data/maven/Extension.java"),
    ),
];

pub(super) struct Gradle;

impl Recipe for Gradle {
    fn name(&self) -> &'static str {
        "gradle"
    }

    fn lacks(&self) -> Option<String> {
        if !Path::new("/usr/bin/gradle").exists() {
            return Some("gradle (apt: gradle)".into());
        }
        if !rustix::process::geteuid().is_root() {
            return Some("root, to have its cache where it was filled".into());
        }
        if !java().is_some_and(|java| java.join("bin/javac").exists()) {
            return Some("Java 17 (apt: openjdk-17-jdk-headless)".into());
        }
        let artifact = Path::new(REPOSITORY).join("commons-io/commons-io/debian");
        (!artifact.is_dir()).then(|| "commons-io (apt: libcommons-io-java)".into())
    }

    fn write(&self, project: &Project) -> Result<()> {
        for (name, content) in FILES {
            let path = project.source().join(name);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, content)?;
        }
        Ok(())
    }

    // Serve over HTTP: Gradle does not copy artifacts from file repositories into its cache.
    fn serve(&self) -> Result<Option<FileServer>> {
        FileServer::start(Path::new(REPOSITORY)).map(Some)
    }

    fn fill(
        &self,
        project: &Project,
        cache: &Path,
        source: Option<&FileServer>,
    ) -> Vec<Invocation> {
        let address = source.map(FileServer::url).unwrap_or_default();
        let script = format!(
            "echo {SOURCE}={address} > {ADDRESS} && {}",
            command(PLACE, "")
        );
        vec![shown(project, cache, &script)]
    }

    fn offline(&self, cache: &str) -> String {
        command(cache, "--offline")
    }

    fn keeps_paths(&self) -> bool {
        true
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["build", ".gradle"]
    }

    fn product(&self) -> &'static str {
        "build/libs/demo.jar"
    }

    fn complaint(&self) -> &'static str {
        "available for offline mode"
    }
}

fn command(cache: &str, option: &str) -> String {
    let java = java().unwrap_or_default();
    format!(
        "JAVA_HOME={} GRADLE_OPTS='{JVM}' gradle --no-daemon -g {cache} {option} jar",
        quoted(&java)
    )
}

fn java() -> Option<PathBuf> {
    let javas = fs::read_dir(JAVAS).ok()?.flatten();
    javas
        .map(|java| java.path())
        .find(|java| java.to_string_lossy().contains(JAVA))
}
