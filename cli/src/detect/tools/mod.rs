//! The table of tools, one file for each family.

mod browsers;
mod compilers;
mod dotnet;
mod elixir;
mod go;
mod haskell;
mod infrastructure;
mod javascript;
mod jvm;
mod maven;
mod php;
mod python;
mod r;
mod ruby;
mod rust;
mod swift;
mod system;

use globset::GlobSet;

use super::pattern_set::set_of;
use super::tool::Tool;

/// Every tool, in the order in which it is shown.
pub(super) static TOOLS: &[&Tool] = &[
    &maven::MAVEN,
    &jvm::GRADLE,
    &jvm::SBT,
    &jvm::BAZEL,
    &javascript::NPM,
    &javascript::PNPM,
    &javascript::YARN,
    &javascript::BERRY,
    &javascript::BUN,
    &javascript::DENO,
    &browsers::PLAYWRIGHT,
    &browsers::CYPRESS,
    &browsers::PUPPETEER,
    &go::GO,
    &go::GOLANGCI_LINT,
    &dotnet::DOTNET,
    &python::PIP,
    &python::PIPENV,
    &python::POETRY,
    &python::UV,
    &python::PDM,
    &python::HUGGING_FACE,
    &python::PRE_COMMIT,
    &rust::CARGO,
    &ruby::BUNDLER,
    &php::COMPOSER,
    &elixir::MIX,
    &haskell::CABAL,
    &haskell::STACK,
    &r::RENV,
    &swift::COCOAPODS,
    &swift::SWIFTPM,
    &swift::DART,
    &compilers::CCACHE,
    &compilers::SCCACHE,
    &compilers::CONAN,
    &compilers::VCPKG,
    &infrastructure::TERRAFORM,
    &infrastructure::HELM,
    &system::NIX,
    &system::APT,
];

/// The names of all files that any tool looks for.
pub(super) fn marker_names() -> GlobSet {
    let patterns = TOOLS.iter().flat_map(|tool| {
        let lists = [tool.locks, tool.manifests, tool.inputs];
        lists.into_iter().flatten()
    });
    let name = |pattern: &&str| pattern.rsplit('/').next().unwrap_or(pattern).to_owned();
    set_of(patterns.map(name))
}
