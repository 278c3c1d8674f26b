//! Nix, and the packages of Debian.

use crate::detect::place::{Learnt, Place};
use crate::detect::tool::{Draft, Tool, always};

pub(super) static NIX: Tool = Tool {
    name: "nix",
    title: "Nix",
    locks: &["flake.lock"],
    manifests: &["flake.nix", "shell.nix", "default.nix"],
    inputs: &[],
    is_project: always,
    caches: |site| {
        vec![Draft::main(site.host.cache("nix")).note(
            "this is what Nix fetches and evaluates; /nix/store has a database beside it, and is the business of a binary cache",
        )]
    },
};

pub(super) static APT: Tool = Tool {
    name: "apt",
    title: "apt",
    locks: &[],
    manifests: &["Aptfile", "apt.txt", "apt-packages.txt"],
    inputs: &[],
    is_project: always,
    caches: |_| {
        let archives = Place::new("/var/cache/apt/archives".into(), Learnt::Default);
        vec![Draft::main(archives).compiled().note(
            "container images often delete packages after each install: remove /etc/apt/apt.conf.d/docker-clean",
        )]
    },
};
