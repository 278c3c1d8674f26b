//! Ruby: gems, where Bundler installs them.

use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static BUNDLER: Tool = Tool {
    name: "bundler",
    title: "Bundler",
    locks: &["Gemfile.lock", "gems.locked"],
    manifests: &["Gemfile", "gems.rb"],
    inputs: &[".ruby-version"],
    is_project: any_project,
    caches: gem_caches,
};

fn gem_caches(site: &Site<'_>) -> Vec<Draft> {
    let host = site.host;
    let named = host
        .variable(&["BUNDLE_PATH"])
        .or_else(|| site.setting(".bundle/config", &["BUNDLE_PATH"]))
        .or_else(|| site.home_setting(".bundle/config", &["BUNDLE_PATH"]))
        .or_else(|| host.variable(&["GEM_HOME"]));
    let draft = match named {
        Some(place) => Draft::main(place),
        None => Draft::main(site.own("vendor/bundle"))
            .note("Bundler installs there only if configured: set BUNDLE_PATH=vendor/bundle"),
    };
    vec![draft.compiled()]
}
