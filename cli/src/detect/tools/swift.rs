//! CocoaPods, the Swift Package Manager, and Dart.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static COCOAPODS: Tool = Tool {
    name: "cocoapods",
    title: "CocoaPods",
    locks: &["Podfile.lock"],
    manifests: &["Podfile"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let downloads = host
            .variable(&["CP_CACHE_DIR"])
            .unwrap_or_else(|| host.home("Library/Caches/CocoaPods"));
        vec![
            Draft::main(downloads),
            Draft::new("pods", site.own("Pods")).compiled(),
        ]
    },
};

pub(super) static SWIFTPM: Tool = Tool {
    name: "swiftpm",
    title: "SwiftPM",
    locks: &["Package.resolved"],
    manifests: &["Package.swift"],
    inputs: &[".swift-version"],
    is_project: any_project,
    caches: |site| {
        vec![
            Draft::main(site.host.cache("org.swift.swiftpm")),
            Draft::new("build", site.own(".build")).compiled(),
        ]
    },
};

pub(super) static DART: Tool = Tool {
    name: "dart",
    title: "Dart, Flutter",
    locks: &["pubspec.lock"],
    manifests: &["pubspec.yaml"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let cache = site
            .host
            .variable(&["PUB_CACHE"])
            .unwrap_or_else(|| site.host.home(".pub-cache"));
        vec![Draft::main(cache)]
    },
};
