//! R: the packages that renv has installed.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static RENV: Tool = Tool {
    name: "renv",
    title: "R (renv)",
    locks: &["renv.lock"],
    manifests: &[],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let cache = host
            .variable(&["RENV_PATHS_CACHE"])
            .or_else(|| Some(host.variable(&["RENV_PATHS_ROOT"])?.join("cache")))
            .unwrap_or_else(|| host.cache("R/renv/cache"));
        vec![Draft::main(cache).compiled()]
    },
};
