//! Maven, and its wrapper.

use crate::detect::host::option_of;
use crate::detect::place::{DetectedDirectory, Learnt};
use crate::detect::site::{Site, read_start};
use crate::detect::tool::{Draft, Tool, any_project};

const OPTION: &str = "-Dmaven.repo.local=";
/// Variables with options for the JVM or for Maven.
const OPTIONS: [&str; 2] = ["MAVEN_ARGS", "MAVEN_OPTS"];
const WRAPPER: &str = ".mvn/wrapper/maven-wrapper.properties";

pub(super) static MAVEN: Tool = Tool {
    name: "maven",
    title: "Maven",
    locks: &[],
    manifests: &["pom.xml"],
    inputs: &[".mvn/extensions.xml", WRAPPER],
    is_project: any_project,
    caches,
};

fn caches(site: &Site<'_>) -> Vec<Draft> {
    let mut drafts = vec![Draft::main(local_repository(site))];
    if site.has(WRAPPER) {
        let home = site
            .host
            .variable(&["MAVEN_USER_HOME"])
            .unwrap_or_else(|| site.host.java_home(&OPTIONS, ".m2"));
        drafts.push(Draft::new("wrapper", home.join("wrapper/dists")).of(&[WRAPPER]));
    }
    drafts
}

/// The local repository: options of the project come before those of the environment, as Maven
/// has it, and the settings last.
fn local_repository(site: &Site<'_>) -> DetectedDirectory {
    let project = [".mvn/maven.config", ".mvn/jvm.config"];
    project
        .iter()
        .find_map(|file| {
            let text = site.read(file)?;
            let value = option_of(&text, OPTION)?.to_owned();
            let root = site.tree.root.join(&site.dir);
            let value = [
                "${session.rootDirectory}",
                "${maven.multiModuleProjectDirectory}",
            ]
            .iter()
            .fold(value, |value, name| {
                value.replace(name, &root.to_string_lossy())
            });
            site.named(file, &value)
        })
        .or_else(|| {
            let base = site.tree.root.join(&site.dir);
            OPTIONS
                .iter()
                .find_map(|name| site.host.option(name, OPTION, &base))
        })
        .or_else(|| from_settings(site))
        .unwrap_or_else(|| site.host.java_home(&OPTIONS, ".m2/repository"))
}

fn from_settings(site: &Site<'_>) -> Option<DetectedDirectory> {
    let file = ".m2/settings.xml";
    let home = site.host.java_home(&OPTIONS, "").path;
    let text = read_start(&home.join(file))?;
    let (_, rest) = text.split_once("<localRepository>")?;
    let (value, _) = rest.split_once("</localRepository>")?;
    let path = site.host.resolve(&home, value)?;
    Some(DetectedDirectory::new(
        path,
        Learnt::File(format!("~/{file}")),
    ))
}
