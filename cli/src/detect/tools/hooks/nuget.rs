//! The packages directory that a `nuget.config` names.

use crate::detect::place::DetectedDirectory;
use crate::detect::site::Site;

/// The spellings that NuGet finds on Linux.
const CONFIGS: &[&str] = &["nuget.config", "NuGet.config", "NuGet.Config"];

pub(super) fn from_config(site: &Site<'_>) -> Option<DetectedDirectory> {
    CONFIGS.iter().find_map(|file| {
        let text = site.read(file)?;
        let (_, rest) = text.split_once("\"globalPackagesFolder\"")?;
        let (_, rest) = rest.split_once("value=\"")?;
        site.named(file, rest.split('"').next()?)
    })
}
