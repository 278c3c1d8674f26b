//! Elixir: packages of Hex, and what Mix builds.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static MIX: Tool = Tool {
    name: "mix",
    title: "Elixir",
    locks: &["mix.lock"],
    manifests: &["mix.exs"],
    inputs: &[".tool-versions"],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let hex = host
            .variable(&["HEX_HOME"])
            .unwrap_or_else(|| host.home(".hex"));
        let dependencies = host
            .variable(&["MIX_DEPS_PATH"])
            .unwrap_or_else(|| site.own("deps"));
        let build = host
            .variable(&["MIX_BUILD_ROOT"])
            .unwrap_or_else(|| site.own("_build"));
        vec![
            Draft::main(hex.join("packages")),
            Draft::new("deps", dependencies).compiled(),
            Draft::new("build", build).compiled(),
        ]
    },
};
