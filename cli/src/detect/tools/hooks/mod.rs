//! Code for rules that the table cannot express. `tools.toml` names a hook, and the functions here
//! map the name to code.

mod bazel;
mod javascript;
mod maven;
mod nuget;

use crate::detect::place::DetectedDirectory;
use crate::detect::site::{Site, find_setting_line};

/// The code of `when = [{ hook = "…" }]`.
pub(in crate::detect) type ConditionHook = fn(&Site<'_>) -> bool;

/// The code of `path = [{ hook = "…" }]`. `None` leaves it to the next source.
pub(in crate::detect) type PathHook = fn(&Site<'_>) -> Option<DetectedDirectory>;

pub(in crate::detect) fn condition_hook(name: &str) -> Option<ConditionHook> {
    Some(match name {
        "bazel-without-disk-cache" => |site| bazel::disk_cache(site).is_none(),
        "berry-local-cache" => javascript::has_local_berry_cache,
        "berry-project" => javascript::is_berry_project,
        "bun-project" => |site| javascript::is_managed_by(site, &["bun"]),
        "cabal-directory" => has_cabal_directory,
        "ccache-in-build-files" => mentions_ccache,
        "npm-project" => |site| javascript::is_managed_by(site, &["npm", ""]),
        "pip-project" => is_pip_project,
        "pnpm-project" => |site| javascript::is_managed_by(site, &["pnpm"]),
        "poetry-local-environment" => has_local_poetry_environment,
        "sccache-wrapper" => is_sccache_wrapper,
        "yarn1-project" => javascript::is_yarn1_project,
        "yarn1-root" => javascript::uses_yarn1_of_root,
        _ => return None,
    })
}

pub(in crate::detect) fn path_hook(name: &str) -> Option<PathHook> {
    Some(match name {
        "bazel-disk-cache" => bazel::disk_cache,
        "bazel-repository-cache" => bazel::repository_cache,
        "maven-config" => maven::from_project,
        "maven-settings" => maven::from_settings,
        "nuget-config" => nuget::from_config,
        _ => return None,
    })
}

/// Not a project of Poetry, uv, PDM or pipenv.
fn is_pip_project(site: &Site<'_>) -> bool {
    let others = [
        "poetry.lock",
        "uv.lock",
        "pdm.lock",
        "Pipfile",
        "Pipfile.lock",
    ];
    let tables = ["[tool.poetry", "[tool.uv", "[tool.pdm"];
    !site.has_above(&others) && !site.mentions("pyproject.toml", &tables)
}

fn has_local_poetry_environment(site: &Site<'_>) -> bool {
    let is_true = |value: &str| matches!(value, "true" | "1");
    match site.host.var("POETRY_VIRTUALENVS_IN_PROJECT") {
        Some(value) => is_true(value),
        None => site
            .read("poetry.toml")
            .and_then(|text| find_setting_line(&text, &["in-project"]))
            .is_some_and(|value| is_true(&value)),
    }
}

/// cabal keeps using the directory of its older versions if it exists.
fn has_cabal_directory(site: &Site<'_>) -> bool {
    site.host.home.join(".cabal").is_dir()
}

fn mentions_ccache(site: &Site<'_>) -> bool {
    ["CMakeLists.txt", "CMakePresets.json", "Makefile"]
        .iter()
        .filter_map(|file| site.read(file))
        // `sccache` contains the word too.
        .any(|text| text.replace("sccache", "").contains("ccache"))
}

fn is_sccache_wrapper(site: &Site<'_>) -> bool {
    ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"]
        .iter()
        .filter_map(|name| site.host.var(name))
        .any(|value| value.ends_with("sccache"))
}
