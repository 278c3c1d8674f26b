//! Terraform and Helm.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static TERRAFORM: Tool = Tool {
    name: "terraform",
    title: "Terraform",
    locks: &[".terraform.lock.hcl"],
    manifests: &["*.tf"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let named = host
            .variable(&["TF_PLUGIN_CACHE_DIR"])
            .or_else(|| site.home_setting(".terraformrc", &["plugin_cache_dir"]))
            .or_else(|| site.home_setting(".tofurc", &["plugin_cache_dir"]));
        let draft = match named {
            Some(place) => Draft::main(place),
            None => Draft::main(host.home(".terraform.d/plugin-cache")).note(
                "Terraform caches plugins only if configured: set TF_PLUGIN_CACHE_DIR=$HOME/.terraform.d/plugin-cache",
            ),
        };
        vec![draft.compiled()]
    },
};

pub(super) static HELM: Tool = Tool {
    name: "helm",
    title: "Helm",
    locks: &["Chart.lock"],
    manifests: &["Chart.yaml"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let cache = site
            .host
            .variable(&["HELM_CACHE_HOME"])
            .unwrap_or_else(|| site.host.cache("helm"));
        vec![Draft::main(cache)]
    },
};
