//! Nix, and the packages of Debian.

use crate::detect::place::{DetectedDirectory, Learnt};
use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static NIX: Tool = Tool {
    name: "nix",
    title: "Nix",
    locks: &["flake.lock"],
    manifests: &["flake.nix", "shell.nix", "default.nix"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        vec![Draft::main(site.host.cache("nix")).note(
            "downloads and evaluations of Nix; use a binary cache for /nix/store, which has its own database",
        )]
    },
};

pub(super) static APT: Tool = Tool {
    name: "apt",
    title: "apt",
    locks: &[],
    manifests: &["Aptfile", "apt.txt", "apt-packages.txt"],
    inputs: &[],
    is_project: any_project,
    caches: |_| {
        let archives = DetectedDirectory::new("/var/cache/apt/archives".into(), Learnt::Default);
        vec![Draft::main(archives).compiled().note(
            "container images often delete packages after each install: remove /etc/apt/apt.conf.d/docker-clean",
        )]
    },
};
