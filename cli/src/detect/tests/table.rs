//! Sample projects for every tool of the table.

use std::collections::BTreeSet;

use super::super::tools::TOOLS;
use super::Bench;

/// A workspace, an environment, and the detected caches.
struct Row {
    files: &'static [&'static str],
    env: &'static [&'static str],
    found: &'static [&'static str],
}

const fn row(
    files: &'static [&'static str],
    env: &'static [&'static str],
    found: &'static [&'static str],
) -> Row {
    Row { files, env, found }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Maven
    row(&["pom.xml", "core/pom.xml"], &[], &["maven- ~/.m2/repository: core/pom.xml pom.xml"]),
    row(
        &["pom.xml", ".mvn/extensions.xml", ".mvn/wrapper/maven-wrapper.properties"],
        &["MAVEN_USER_HOME=~/mvn"],
        &[
            "maven- ~/.m2/repository: .mvn/extensions.xml .mvn/wrapper/maven-wrapper.properties pom.xml",
            "maven/wrapper- ~/mvn/wrapper/dists (from the variable MAVEN_USER_HOME): .mvn/wrapper/maven-wrapper.properties",
        ],
    ),
    row(
        &["pom.xml", ".mvn/maven.config=-T 2\n-Dmaven.repo.local=.repository\n"],
        &["MAVEN_OPTS=-Dmaven.repo.local=/elsewhere"],
        &["maven- .repository (by .mvn/maven.config): pom.xml"],
    ),
    row(
        &["pom.xml"],
        &["MAVEN_OPTS=-Xmx1g -Dmaven.repo.local=${user.home}/repo"],
        &["maven- ~/repo (from the variable MAVEN_OPTS): pom.xml"],
    ),
    // Gradle, sbt, Bazel
    row(
        &["settings.gradle.kts", "app/build.gradle.kts", "gradle/libs.versions.toml",
          "gradle/wrapper/gradle-wrapper.properties", "gradle.properties"],
        &[],
        &[
            "gradle-P- ~/.gradle/caches: app/build.gradle.kts gradle.properties gradle/libs.versions.toml gradle/wrapper/gradle-wrapper.properties settings.gradle.kts",
            "gradle/wrapper- ~/.gradle/wrapper: gradle/wrapper/gradle-wrapper.properties",
        ],
    ),
    row(&["build.gradle"], &["GRADLE_USER_HOME=/g"], &["gradle-P- /g/caches (from the variable GRADLE_USER_HOME): build.gradle"]),
    row(
        &["build.sbt", "project/build.properties", "project/plugins.sbt"],
        &["COURSIER_CACHE=/c"],
        &[
            "sbt- /c (from the variable COURSIER_CACHE): build.sbt project/build.properties project/plugins.sbt",
            "sbt/boot- ~/.sbt/boot: build.sbt project/build.properties project/plugins.sbt",
        ],
    ),
    row(
        &["MODULE.bazel", "MODULE.bazel.lock"],
        &["USER=ada"],
        &["bazel- ~/.cache/bazel/_bazel_ada/cache/repos/v1: MODULE.bazel MODULE.bazel.lock"],
    ),
    row(
        &["WORKSPACE", ".bazelversion=7.0.0",
          ".bazelrc=# --disk_cache=/no\nbuild --disk_cache=~/disk\ncommon --repository_cache /repos\n"],
        &[],
        &[
            "bazel- /repos (by .bazelrc): .bazelrc .bazelversion WORKSPACE",
            "bazel/disk-P- ~/disk (by .bazelrc): .bazelrc .bazelversion WORKSPACE",
            "bazel/bazelisk-P- ~/.cache/bazelisk: .bazelversion",
        ],
    ),
    // JavaScript
    row(
        &["package.json", "package-lock.json"], &[],
        &["npm- ~/.npm/_cacache: package-lock.json", "?npm/node_modules-P- node_modules: package-lock.json"],
    ),
    row(
        &["package.json", "npm-shrinkwrap.json", ".npmrc=registry=https://r\ncache=${HOME}/c\n"], &[],
        &["npm- ~/c/_cacache (by .npmrc): npm-shrinkwrap.json", "?npm/node_modules-P- node_modules: npm-shrinkwrap.json"],
    ),
    row(
        &["package.json", "pnpm-lock.yaml"], &["PNPM_HOME=/p"],
        &["pnpm- /p/store (from the variable PNPM_HOME): pnpm-lock.yaml", "?pnpm/node_modules-P- node_modules: pnpm-lock.yaml"],
    ),
    row(
        &["package.json={\"packageManager\": \"pnpm@9.1.0\"}"], &["XDG_DATA_HOME=/data"],
        &["pnpm- /data/pnpm/store (from the variable XDG_DATA_HOME): package.json", "?pnpm/node_modules-P- node_modules: package.json"],
    ),
    row(
        &["package.json", "yarn.lock=# yarn lockfile v1\n"], &[],
        &["yarn1- ~/.cache/yarn: yarn.lock", "?yarn1/node_modules-P- node_modules: yarn.lock"],
    ),
    row(
        &["package.json", "yarn.lock=__metadata:\n  version: 8\n"], &[],
        &["berry- ~/.yarn/berry/cache: yarn.lock", "?berry/node_modules-P- node_modules: yarn.lock"],
    ),
    row(
        &["web/package.json", "web/yarn.lock=__metadata:\n  version: 6\n"], &[],
        &["berry@web- web/.yarn/cache: web/yarn.lock", "?berry/node_modules@web-P- web/node_modules: web/yarn.lock"],
    ),
    row(
        &["package.json", ".yarnrc.yml=cacheFolder: ./zips\n", "yarn.lock=__metadata:\n  version: 8\n"], &[],
        &["berry- zips (by .yarnrc.yml): .yarnrc.yml yarn.lock", "?berry/node_modules-P- node_modules: .yarnrc.yml yarn.lock"],
    ),
    row(
        &["package.json", "bun.lock"], &["BUN_INSTALL=/b"],
        &["bun- /b/install/cache (from the variable BUN_INSTALL): bun.lock", "?bun/node_modules-P- node_modules: bun.lock"],
    ),
    row(&["deno.json", "deno.lock"], &[], &["deno- ~/.cache/deno: deno.lock"]),
    row(
        &["deno.json={\"nodeModulesDir\": \"auto\"}", "package.json"], &["DENO_DIR=/d"],
        &["deno- /d (from the variable DENO_DIR): deno.json"],
    ),
    // Browsers
    row(
        &["package.json={\"devDependencies\": {\"@playwright/test\": \"1\", \"cypress\": \"13\", \"puppeteer\": \"22\"}}", "package-lock.json"],
        &["CYPRESS_CACHE_FOLDER=/cy"],
        &[
            "npm- ~/.npm/_cacache: package-lock.json",
            "?npm/node_modules-P- node_modules: package-lock.json",
            "playwright-P- ~/.cache/ms-playwright: package-lock.json",
            "cypress-P- /cy (from the variable CYPRESS_CACHE_FOLDER): package-lock.json",
            "puppeteer-P- ~/.cache/puppeteer: package-lock.json",
        ],
    ),
    // Go
    row(
        &["go.mod", "go.sum", "tools/go.mod", "tools/go.sum", ".golangci.yml"], &["GOPATH=/go"],
        &[
            "go- /go/pkg/mod (from the variable GOPATH): go.sum tools/go.sum",
            "go/build-P- ~/.cache/go-build: go.sum tools/go.sum",
            "golangci-lint-P- ~/.cache/golangci-lint: .golangci.yml go.mod go.sum",
        ],
    ),
    row(&["go.mod"], &["GOMODCACHE=/m", "GOCACHE=/b"], &[
        "go- /m (from the variable GOMODCACHE): go.mod",
        "go/build-P- /b (from the variable GOCACHE): go.mod",
    ]),
    // .NET
    row(
        &["App.sln", "src/App/App.csproj", "src/App/packages.lock.json", "src/Lib/Lib.fsproj"], &[],
        &["nuget- ~/.nuget/packages: App.sln src/App/App.csproj src/App/packages.lock.json src/Lib/Lib.fsproj"],
    ),
    row(&["a/A.vbproj"], &["NUGET_PACKAGES=/n"], &["nuget- /n (from the variable NUGET_PACKAGES): a/A.vbproj"]),
    row(
        &["A.csproj", "nuget.config=<add key=\"globalPackagesFolder\" value=\"./packages\" />"], &[],
        &["nuget- packages (by nuget.config): A.csproj"],
    ),
    // Python
    row(
        &["requirements.txt", "requirements-dev.txt", ".python-version"], &[],
        &[
            "pip-P- ~/.cache/pip: .python-version requirements-dev.txt requirements.txt",
            "?pip/venv-P- .venv: .python-version requirements-dev.txt requirements.txt",
        ],
    ),
    row(&["pyproject.toml=[project]\n"], &["PIP_CACHE_DIR=/p"], &[
        "pip-P- /p (from the variable PIP_CACHE_DIR): pyproject.toml",
        "?pip/venv-P- .venv: pyproject.toml",
    ]),
    row(&["Pipfile", "Pipfile.lock"], &["PIPENV_CACHE_DIR=/p", "WORKON_HOME=/v"], &[
        "pipenv-P- /p (from the variable PIPENV_CACHE_DIR): Pipfile.lock",
        "?pipenv/virtualenvs-P- /v (from the variable WORKON_HOME): Pipfile.lock",
    ]),
    row(&["pyproject.toml=[tool.poetry]\n", "poetry.lock"], &[], &[
        "poetry-P- ~/.cache/pypoetry/artifacts: poetry.lock",
        "poetry/metadata- ~/.cache/pypoetry/cache: poetry.lock",
        "?poetry/virtualenvs-P- ~/.cache/pypoetry/virtualenvs: poetry.lock",
    ]),
    row(
        &["pyproject.toml=[tool.poetry]\n", "poetry.toml=cache-dir = \"/pc\"\n[virtualenvs]\nin-project = true\n"], &[],
        &[
            "poetry-P- /pc/artifacts (by poetry.toml): pyproject.toml",
            "poetry/metadata- /pc/cache (by poetry.toml): pyproject.toml",
            "?poetry/virtualenvs-P- .venv: pyproject.toml",
        ],
    ),
    row(&["pyproject.toml=[project]\n", "uv.lock"], &["XDG_CACHE_HOME=/x"], &[
        "uv-P- /x/uv (from the variable XDG_CACHE_HOME): uv.lock",
        "?uv/venv-P- .venv: uv.lock",
    ]),
    row(&["pyproject.toml=[tool.uv]\ncache-dir = \"./.uv\"\n"], &[], &[
        "uv-P- .uv (by pyproject.toml): pyproject.toml",
        "?uv/venv-P- .venv: pyproject.toml",
    ]),
    row(&["pyproject.toml=[tool.pdm]\n", "pdm.lock"], &[], &[
        "pdm-P- ~/.cache/pdm: pdm.lock",
        "?pdm/venv-P- .venv: pdm.lock",
    ]),
    row(&["requirements.txt=transformers==4\n", ".pre-commit-config.yaml"], &["HF_HOME=/hf"], &[
        "pip-P- ~/.cache/pip: requirements.txt",
        "?pip/venv-P- .venv: requirements.txt",
        "huggingface- /hf/hub (from the variable HF_HOME): requirements.txt",
        "pre-commit-P- ~/.cache/pre-commit: .pre-commit-config.yaml",
    ]),
    // Rust
    row(&["Cargo.toml", "Cargo.lock=source = \"git+https://x\"", "core/Cargo.toml", "rust-toolchain.toml"], &["CARGO_HOME=/cargo"], &[
        "cargo/index- /cargo/registry/index (from the variable CARGO_HOME): Cargo.lock rust-toolchain.toml",
        "cargo/crates- /cargo/registry/cache (from the variable CARGO_HOME): Cargo.lock rust-toolchain.toml",
        "cargo/git- /cargo/git/db (from the variable CARGO_HOME): Cargo.lock rust-toolchain.toml",
        "cargo/target-P- target: Cargo.lock rust-toolchain.toml",
    ]),
    row(&["x/Cargo.toml", "x/.cargo/config.toml=[build]\ntarget-dir = \"out\"\nrustc-wrapper = \"sccache\"\n"], &["SCCACHE_DIR=/s"], &[
        "cargo/index- ~/.cargo/registry/index: x/.cargo/config.toml x/Cargo.toml",
        "cargo/crates- ~/.cargo/registry/cache: x/.cargo/config.toml x/Cargo.toml",
        "cargo/target@x-P- x/out (by x/.cargo/config.toml): x/.cargo/config.toml x/Cargo.toml",
        "sccache-P- /s (from the variable SCCACHE_DIR): x/Cargo.toml",
    ]),
    // Ruby, PHP, Elixir, Haskell, R
    row(&["Gemfile", "Gemfile.lock"], &[], &["bundler-P- vendor/bundle: Gemfile.lock"]),
    row(&["Gemfile", ".bundle/config=BUNDLE_PATH: \"gems\"\n"], &[], &["bundler-P- gems (by .bundle/config): Gemfile"]),
    row(&["composer.json", "composer.lock"], &["COMPOSER_HOME=/c"], &[
        "composer- /c/cache (from the variable COMPOSER_HOME): composer.lock",
        "?composer/vendor-P- vendor: composer.lock",
    ]),
    row(&["mix.exs", "mix.lock", "deps/jason/mix.exs", "deps/jason/mix.lock"], &["HEX_HOME=/h"], &[
        "mix- /h/packages (from the variable HEX_HOME): mix.lock",
        "mix/deps-P- deps: mix.lock",
        "mix/build-P- _build: mix.lock",
    ]),
    row(&["app.cabal", "cabal.project"], &[], &[
        "cabal- ~/.cache/cabal/packages: app.cabal cabal.project",
        "cabal/store-P- ~/.local/state/cabal/store: app.cabal cabal.project",
    ]),
    row(&["app.cabal", "stack.yaml", "stack.yaml.lock"], &["STACK_ROOT=/s"], &[
        "stack-P- /s (from the variable STACK_ROOT): app.cabal stack.yaml stack.yaml.lock",
        "stack/work-P- .stack-work: app.cabal stack.yaml stack.yaml.lock",
    ]),
    row(&["renv.lock"], &["RENV_PATHS_ROOT=/r"], &["renv-P- /r/cache (from the variable RENV_PATHS_ROOT): renv.lock"]),
    // Swift, Dart
    row(&["ios/Podfile", "ios/Podfile.lock"], &[], &[
        "cocoapods- ~/Library/Caches/CocoaPods: ios/Podfile.lock",
        "cocoapods/pods@ios-P- ios/Pods: ios/Podfile.lock",
    ]),
    row(&["Package.swift", "Package.resolved"], &[], &[
        "swiftpm- ~/.cache/org.swift.swiftpm: Package.resolved",
        "swiftpm/build-P- .build: Package.resolved",
    ]),
    row(&["pubspec.yaml", "pubspec.lock"], &["PUB_CACHE=/p"], &["dart- /p (from the variable PUB_CACHE): pubspec.lock"]),
    // C and C++
    row(&["CMakeLists.txt=set(CMAKE_C_COMPILER_LAUNCHER ccache)", "conanfile.txt", "vcpkg.json"], &["CONAN_HOME=/c", "CCACHE_DIR=/cc"], &[
        "ccache-P- /cc (from the variable CCACHE_DIR): CMakeLists.txt",
        "conan-P- /c/p (from the variable CONAN_HOME): conanfile.txt",
        "vcpkg-P- ~/.cache/vcpkg/archives: vcpkg.json",
    ]),
    row(&["CMakeLists.txt=set(CMAKE_C_COMPILER_LAUNCHER sccache)"], &[], &["sccache-P- ~/.cache/sccache: CMakeLists.txt"]),
    // Infrastructure and systems
    row(&["main.tf", ".terraform.lock.hcl"], &["TF_PLUGIN_CACHE_DIR=/t"], &["terraform-P- /t (from the variable TF_PLUGIN_CACHE_DIR): .terraform.lock.hcl"]),
    row(&["chart/Chart.yaml", "chart/Chart.lock"], &["HELM_CACHE_HOME=/h"], &["helm- /h (from the variable HELM_CACHE_HOME): chart/Chart.lock"]),
    row(&["flake.nix", "flake.lock"], &[], &["nix- ~/.cache/nix: flake.lock"]),
    row(&["apt.txt"], &[], &["apt-P- /var/cache/apt/archives: apt.txt"]),
];

#[test]
fn every_row_is_found_as_it_should_be() {
    for row in ROWS {
        let lines = Bench::new(row.files).env(row.env).lines();
        assert_eq!(lines, row.found, "files {:?}, env {:?}", row.files, row.env);
    }
}

#[test]
fn every_tool_has_a_row_here() {
    let found: BTreeSet<&str> = ROWS
        .iter()
        .flat_map(|row| row.found)
        .filter_map(|line| line.trim_start_matches('?').split(['/', '@', ' ']).next())
        .map(|start| start.trim_end_matches('-').trim_end_matches("-P"))
        .collect();
    let tools: BTreeSet<&str> = TOOLS.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(found, tools);
}
