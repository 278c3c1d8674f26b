//! Maven: one class with one test and dependencies that Debian packages.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::file_server::FileServer;
use super::{Project, Recipe, runs, step};
use crate::harness::Invocation;

/// Debian's artifact repository in Maven layout.
pub(super) const REPOSITORY: &str = "/usr/share/maven-repo";

/// One artifact of each plugin in the build, to check whether its Debian package is installed.
const PLUGINS: &[&str] = &[
    "org/apache/maven/plugins/maven-resources-plugin",
    "org/apache/maven/plugins/maven-compiler-plugin",
    "org/apache/maven/plugins/maven-surefire-plugin",
    "org/apache/maven/plugins/maven-jar-plugin",
    "commons-io/commons-io",
    "junit/junit",
];

/// JVM options for a fast start: no run is long enough for the optimising compiler to pay off.
pub(super) const JVM: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";

const FILES: &[(&str, &str)] = &[
    ("pom.xml", include_str!("../../data/maven/pom.xml")),
    (
        "src/main/java/demo/Extension.java",
        include_str!("../../data/maven/Extension.java"),
    ),
    (
        "src/test/java/demo/ExtensionTest.java",
        include_str!("../../data/maven/ExtensionTest.java"),
    ),
];

pub(super) struct Maven;

impl Recipe for Maven {
    fn name(&self) -> &'static str {
        "maven"
    }

    fn lacks(&self) -> Option<String> {
        if !runs("mvn") {
            return Some("mvn (apt: maven)".into());
        }
        let repository = Path::new(REPOSITORY);
        PLUGINS
            .iter()
            .find(|artifact| !repository.join(artifact).is_dir())
            .map(|artifact| format!("Debian's package of {artifact}"))
    }

    fn write(&self, project: &Project) -> Result<()> {
        for (name, content) in FILES {
            let path = project.source().join(name);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, content)?;
        }
        let settings = format!(
            "<settings><mirrors><mirror><id>debian</id><mirrorOf>*</mirrorOf>\
             <url>file://{REPOSITORY}</url></mirror></mirrors></settings>\n"
        );
        // Use the same settings for both builds: the cache records the mirror that each artifact
        // came from.
        fs::write(project.source().join("settings.xml"), settings)?;
        Ok(())
    }

    fn fill(&self, project: &Project, cache: &Path, _: Option<&FileServer>) -> Vec<Invocation> {
        let mut local = OsString::from("-Dmaven.repo.local=");
        local.push(cache);
        let words = ["-q", "-B", "-s", "settings.xml"].map(OsStr::new);
        let args: Vec<&OsStr> = words
            .into_iter()
            .chain([local.as_os_str(), OsStr::new("package")])
            .collect();
        vec![step(project, "mvn", &args).env("MAVEN_OPTS", JVM)]
    }

    fn offline(&self, cache: &str) -> String {
        format!("MAVEN_OPTS='{JVM}' mvn -o -B -s settings.xml -Dmaven.repo.local={cache} package")
    }

    fn hidden(&self) -> Option<&'static str> {
        Some(REPOSITORY)
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["target"]
    }

    fn product(&self) -> &'static str {
        "target/demo-1.0.jar"
    }

    fn complaint(&self) -> &'static str {
        "offline mode"
    }
}
