//! Caches of compilers, and package managers of C and C++.

use crate::detect::tool::{Draft, Tool, any_project};

pub(super) static CCACHE: Tool = Tool {
    name: "ccache",
    title: "ccache",
    locks: &[],
    manifests: &[
        "ccache.conf",
        "CMakeLists.txt",
        "CMakePresets.json",
        "meson.build",
        "Makefile",
    ],
    inputs: &[],
    is_project: |site| {
        site.has("ccache.conf")
            || site.host.var("CCACHE_DIR").is_some()
            || ["CMakeLists.txt", "CMakePresets.json", "Makefile"]
                .iter()
                // Not `sccache`.
                .any(|file| {
                    site.read(file)
                        .is_some_and(|text| text.replace("sccache", "").contains("ccache"))
                })
    },
    caches: |site| {
        let cache = site
            .host
            .variable(&["CCACHE_DIR"])
            .or_else(|| site.home_setting(".config/ccache/ccache.conf", &["cache_dir"]))
            .unwrap_or_else(|| site.host.cache("ccache"));
        vec![
            Draft::main(cache)
                .compiled()
                .note("set CCACHE_BASEDIR to the workspace where its path differs from job to job"),
        ]
    },
};

pub(super) static SCCACHE: Tool = Tool {
    name: "sccache",
    title: "sccache",
    locks: &["Cargo.lock"],
    manifests: &["Cargo.toml", "CMakeLists.txt", "CMakePresets.json"],
    inputs: &["rust-toolchain", "rust-toolchain.toml"],
    is_project: |site| {
        let is_wrapper = |name| {
            site.host
                .var(name)
                .is_some_and(|value| value.ends_with("sccache"))
        };
        let files = [".cargo/config.toml", "CMakeLists.txt", "CMakePresets.json"];
        is_wrapper("RUSTC_WRAPPER")
            || is_wrapper("CARGO_BUILD_RUSTC_WRAPPER")
            || files.iter().any(|file| site.mentions(file, &["sccache"]))
    },
    caches: |site| {
        let cache = site
            .host
            .variable(&["SCCACHE_DIR"])
            .unwrap_or_else(|| site.host.cache("sccache"));
        vec![Draft::main(cache).compiled().note(
            "its server keeps writing after the build: `sccache --stop-server` before the save",
        )]
    },
};

pub(super) static CONAN: Tool = Tool {
    name: "conan",
    title: "Conan",
    locks: &["conan.lock"],
    manifests: &["conanfile.txt", "conanfile.py"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let packages = host
            .variable(&["CONAN_HOME"])
            .unwrap_or_else(|| host.home(".conan2"))
            .join("p");
        vec![Draft::main(packages).compiled()]
    },
};

pub(super) static VCPKG: Tool = Tool {
    name: "vcpkg",
    title: "vcpkg",
    locks: &[],
    manifests: &["vcpkg.json"],
    inputs: &["vcpkg-configuration.json"],
    is_project: any_project,
    caches: |site| {
        let archives = site
            .host
            .variable(&["VCPKG_DEFAULT_BINARY_CACHE"])
            .unwrap_or_else(|| site.host.cache("vcpkg/archives"));
        vec![Draft::main(archives).compiled()]
    },
};
