//! Maven, and its wrapper.

use crate::detect::place::{Learnt, Place};
use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool, always};

const OPTION: &str = "-Dmaven.repo.local=";
const WRAPPER: &str = ".mvn/wrapper/maven-wrapper.properties";

pub(super) static MAVEN: Tool = Tool {
    name: "maven",
    title: "Maven",
    locks: &[],
    manifests: &["pom.xml"],
    inputs: &[".mvn/extensions.xml", WRAPPER],
    is_project: always,
    caches,
};

fn caches(site: &Site<'_>) -> Vec<Draft> {
    let mut drafts = vec![Draft::main(repository(site))];
    if site.has(WRAPPER) {
        let home = site
            .host
            .variable(&["MAVEN_USER_HOME"])
            .unwrap_or_else(|| site.host.home(".m2"));
        drafts.push(Draft::new("wrapper", home.join("wrapper/dists")).of(&[WRAPPER]));
    }
    drafts
}

/// The local repository: options of the project come before those of the environment, as Maven
/// has it, and the settings last.
fn repository(site: &Site<'_>) -> Place {
    let project = [".mvn/maven.config", ".mvn/jvm.config"];
    project
        .iter()
        .find_map(|file| {
            let value = option(&site.read(file)?)?;
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
            ["MAVEN_ARGS", "MAVEN_OPTS"].iter().find_map(|name| {
                let value = option(site.host.var(name)?)?;
                let base = site.tree.root.join(&site.dir);
                let path = site.host.resolve(&base, &value)?;
                Some(Place::new(path, Learnt::Variable((*name).to_owned())))
            })
        })
        .or_else(|| from_settings(site))
        .unwrap_or_else(|| site.host.home(".m2/repository"))
}

fn option(text: &str) -> Option<String> {
    text.split_whitespace()
        .filter_map(|word| word.trim_matches(['"', '\'']).strip_prefix(OPTION))
        .next_back()
        .map(str::to_owned)
}

fn from_settings(site: &Site<'_>) -> Option<Place> {
    let file = ".m2/settings.xml";
    let text = std::fs::read_to_string(site.host.home.join(file)).ok()?;
    let (_, rest) = text.split_once("<localRepository>")?;
    let (value, _) = rest.split_once("</localRepository>")?;
    let path = site.host.resolve(&site.host.home, value)?;
    Some(Place::new(path, Learnt::File(format!("~/{file}"))))
}
