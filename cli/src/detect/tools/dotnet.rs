//! .NET: the packages that NuGet has unpacked.

use crate::detect::place::DetectedDirectory;
use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool, any_project};

const CONFIGS: &[&str] = &["nuget.config", "NuGet.config", "NuGet.Config"];

pub(super) static DOTNET: Tool = Tool {
    name: "nuget",
    title: ".NET",
    locks: &[],
    manifests: &["*.sln", "*.slnx", "*.csproj", "*.fsproj", "*.vbproj"],
    inputs: &[
        "**/*.csproj",
        "**/*.fsproj",
        "**/*.vbproj",
        "**/packages.lock.json",
        "**/Directory.Packages.props",
        "global.json",
    ],
    is_project: any_project,
    caches: |site| {
        let packages = site
            .host
            .variable(&["NUGET_PACKAGES"])
            .or_else(|| configured_packages(site))
            .unwrap_or_else(|| site.host.home(".nuget/packages"));
        vec![Draft::main(packages)]
    },
};

fn configured_packages(site: &Site<'_>) -> Option<DetectedDirectory> {
    CONFIGS.iter().find_map(|file| {
        let text = site.read(file)?;
        let (_, rest) = text.split_once("\"globalPackagesFolder\"")?;
        let (_, rest) = rest.split_once("value=\"")?;
        site.named(file, rest.split('"').next()?)
    })
}
