//! The local repository of Maven.

use crate::detect::host::option_of;
use crate::detect::place::{DetectedDirectory, Learnt};
use crate::detect::site::{Site, read_start};

/// From the options that the project sets.
pub(super) fn from_project(site: &Site<'_>) -> Option<DetectedDirectory> {
    [".mvn/maven.config", ".mvn/jvm.config"]
        .iter()
        .find_map(|file| {
            let text = site.read(file)?;
            let value = option_of(&text, "-Dmaven.repo.local=")?.to_owned();
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
}

/// From the settings of the user.
pub(super) fn from_settings(site: &Site<'_>) -> Option<DetectedDirectory> {
    let file = ".m2/settings.xml";
    let home = site.host.java_home(&site.tool.java_options, "").path;
    let text = read_start(&home.join(file))?;
    let (_, rest) = text.split_once("<localRepository>")?;
    let (value, _) = rest.split_once("</localRepository>")?;
    let path = site.host.resolve(&home, value)?;
    Some(DetectedDirectory::new(
        path,
        Learnt::File(format!("~/{file}")),
    ))
}
