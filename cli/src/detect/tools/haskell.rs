//! Haskell: cabal and Stack.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static CABAL: Tool = Tool {
    name: "cabal",
    title: "cabal",
    locks: &["cabal.project.freeze"],
    manifests: &["cabal.project", "*.cabal"],
    inputs: &["cabal.project", "**/*.cabal"],
    is_project: |site| !site.has("stack.yaml"),
    caches: |site| {
        let host = site.host;
        let old = host.home(".cabal");
        let [packages, store] = match host.variable(&["CABAL_DIR"]) {
            Some(dir) => [dir.join("packages"), dir.join("store")],
            // cabal stays with the directory of its older versions where there is one.
            None if old.path.is_dir() => [old.join("packages"), old.join("store")],
            None => [
                host.cache("cabal/packages"),
                host.xdg("XDG_STATE_HOME", ".local/state", "cabal/store"),
            ],
        };
        vec![Draft::main(packages), Draft::new("store", store).compiled()]
    },
};

pub(super) static STACK: Tool = Tool {
    name: "stack",
    title: "Stack",
    locks: &["stack.yaml.lock"],
    manifests: &["stack.yaml"],
    inputs: &["stack.yaml", "**/package.yaml", "**/*.cabal"],
    is_project: any_project,
    caches: |site| {
        let root = site
            .host
            .variable(&["STACK_ROOT"])
            .unwrap_or_else(|| site.host.home(".stack"));
        vec![
            Draft::main(root).compiled(),
            Draft::new("work", site.own(".stack-work")).compiled(),
        ]
    },
};
