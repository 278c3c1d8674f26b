//! Go, and golangci-lint.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static GO: Tool = Tool {
    name: "go",
    title: "Go",
    locks: &["go.sum"],
    manifests: &["go.mod", "go.work"],
    inputs: &["go.work", "go.work.sum"],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let modules = host
            .variable(&["GOMODCACHE"])
            .or_else(|| host.asked("go", &["env", "GOMODCACHE"]))
            .or_else(|| Some(host.variable(&["GOPATH"])?.join("pkg/mod")))
            .unwrap_or_else(|| host.home("go/pkg/mod"));
        let build = host
            .variable(&["GOCACHE"])
            .or_else(|| host.asked("go", &["env", "GOCACHE"]))
            .unwrap_or_else(|| host.cache("go-build"));
        vec![Draft::main(modules), Draft::new("build", build).compiled()]
    },
};

pub(super) static GOLANGCI_LINT: Tool = Tool {
    name: "golangci-lint",
    title: "golangci-lint",
    locks: &[],
    manifests: &[
        ".golangci.yml",
        ".golangci.yaml",
        ".golangci.toml",
        ".golangci.json",
    ],
    inputs: &["go.sum", "go.mod"],
    is_project: any_project,
    caches: |site| {
        let cache = site
            .host
            .variable(&["GOLANGCI_LINT_CACHE"])
            .unwrap_or_else(|| site.host.cache("golangci-lint"));
        vec![Draft::main(cache).compiled()]
    },
};
