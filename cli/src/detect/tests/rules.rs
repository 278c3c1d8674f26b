//! Separating projects, directories that are not searched, and precedence.

use super::super::tools::marker_names;
use super::super::{Host, Learnt, WorkspaceTree, detect_caches};
use super::Bench;

#[test]
fn projects_share_what_lies_in_the_home_and_not_what_is_theirs() {
    let bench = Bench::new(&[
        "a/package.json",
        "a/package-lock.json",
        "b/c/package.json",
        "b/c/package-lock.json",
    ]);
    assert_eq!(
        bench.lines(),
        [
            "npm- ~/.npm/_cacache: a/package-lock.json b/c/package-lock.json",
            "?npm/node_modules@a-P- a/node_modules: a/package-lock.json",
            "?npm/node_modules@b/c-P- b/c/node_modules: b/c/package-lock.json",
        ]
    );
    let names: Vec<String> = bench
        .detect()
        .caches
        .into_iter()
        .map(|found| found.name)
        .collect();
    assert_eq!(names, ["npm", "npm-node_modules-a", "npm-node_modules-b-c"]);
}

#[test]
fn projects_with_other_paths_are_apart() {
    let bench = Bench::new(&[
        "a/pom.xml",
        "b/pom.xml",
        "b/.mvn/maven.config=-Dmaven.repo.local=/b",
    ]);
    assert_eq!(
        bench.lines(),
        [
            "maven- ~/.m2/repository: a/pom.xml",
            "maven@b- /b (by b/.mvn/maven.config): b/pom.xml",
        ]
    );
}

#[test]
fn a_lock_below_another_one_is_a_project_of_its_own() {
    let bench = Bench::new(&[
        "Cargo.toml",
        "Cargo.lock",
        "fuzz/Cargo.toml",
        "fuzz/Cargo.lock",
    ]);
    let lines = bench.lines();
    assert_eq!(
        lines[0],
        "cargo/index- ~/.cargo/registry/index: Cargo.lock fuzz/Cargo.lock"
    );
    assert_eq!(
        lines[3],
        "cargo/target@fuzz-P- fuzz/target: fuzz/Cargo.lock"
    );
}

#[test]
fn members_of_a_workspace_are_not() {
    let bench = Bench::new(&[
        "package.json",
        "package-lock.json",
        "packages/a/package.json",
    ]);
    assert_eq!(bench.lines().len(), 2);
}

#[test]
fn what_tools_filled_and_what_is_ignored_is_not_seen() {
    let bench = Bench::new(&[
        "pom.xml",
        ".gitignore=/out\n*.gen/\n",
        "node_modules/x/package-lock.json",
        "target/classes/META-INF/maven/pom.xml",
        "vendor/y/go.mod",
        "out/pom.xml",
        "a.gen/pom.xml",
        "env/pyvenv.cfg",
        "env/lib/requirements.txt",
        "made/CACHEDIR.TAG",
        "made/Cargo.lock",
    ]);
    assert_eq!(bench.lines(), ["maven- ~/.m2/repository: pom.xml"]);
}

#[test]
fn an_ignored_lock_is_no_part_of_the_key() {
    let bench = Bench::new(&["Cargo.toml", "Cargo.lock", ".gitignore=Cargo.lock\n"]);
    assert!(bench.lines()[0].ends_with(": Cargo.toml"));
}

#[test]
fn a_build_does_not_change_what_is_found() {
    let bench = Bench::new(&[
        "pom.xml",
        "web/package.json",
        "web/package-lock.json",
        "py/requirements.txt",
    ]);
    let before = bench.lines();
    bench.write(
        bench.root.path(),
        &[
            "target/generated/pom.xml",
            "web/node_modules/dep/package.json",
            "web/node_modules/dep/yarn.lock",
            "py/.venv/lib/dep/pyproject.toml",
        ],
    );
    assert_eq!(bench.lines(), before);
}

#[test]
fn links_are_not_followed() {
    let bench = Bench::new(&["real/pom.xml"]);
    let root = bench.root.path();
    std::os::unix::fs::symlink("real", root.join("again")).unwrap();
    std::os::unix::fs::symlink("real/pom.xml", root.join("pom.xml")).unwrap();
    assert_eq!(bench.lines(), ["maven- ~/.m2/repository: real/pom.xml"]);
}

#[test]
fn the_search_ends_and_says_so() {
    let bench = Bench::new(&["a/pom.xml", "b/pom.xml", "c/pom.xml"]);
    let tree = WorkspaceTree::scan_at_most(bench.root.path(), &marker_names(), 2);
    assert!(tree.cut_short);
    let host = Host {
        home: bench.home.path().to_owned(),
        account: bench.home.path().to_owned(),
        env: &bench.env,
        is_root: false,
        ask: &bench.answers,
    };
    let notes = detect_caches(&tree, &host, "").notes;
    assert!(
        notes.iter().any(|note| note.contains("only the first")),
        "{notes:?}"
    );
    assert!(!WorkspaceTree::scan(bench.root.path(), &marker_names()).cut_short);
}

#[test]
fn names_that_no_template_can_hold_are_passed_over() {
    let bench = Bench::new(&["a\"b/pom.xml", "plain/pom.xml"]);
    assert_eq!(bench.lines(), ["maven- ~/.m2/repository: plain/pom.xml"]);
}

#[test]
fn a_variable_comes_before_the_tool_and_the_tool_before_the_default() {
    let files = ["requirements.txt"];
    let bench = Bench::new(&files).answer("pip cache dir", "/told\n");
    assert!(bench.lines()[0].starts_with("pip-P- /told (from `pip cache dir`)"));
    let bench = bench.env(&["PIP_CACHE_DIR=/set"]);
    assert!(bench.lines()[0].starts_with("pip-P- /set (from the variable PIP_CACHE_DIR)"));
    for nonsense in ["", "caching is off", "relative/path", "/a\n/b"] {
        let bench = Bench::new(&files).answer("pip cache dir", nonsense);
        assert_eq!(bench.lines()[0], "pip-P- ~/.cache/pip: requirements.txt");
    }
}

#[test]
fn a_layout_that_a_tool_appends_is_taken_off() {
    let bench = Bench::new(&["pnpm-lock.yaml"]).answer("pnpm store path", "/store/v10");
    assert!(bench.lines()[0].starts_with("pnpm- /store (from"));
}

#[test]
fn settings_of_the_home_count_too() {
    let settings =
        ".m2/settings.xml=<settings><localRepository>${user.home}/r</localRepository></settings>";
    let bench = Bench::new(&["pom.xml"]).at_home(&[settings]);
    assert_eq!(
        bench.lines(),
        ["maven- ~/r (by ~/.m2/settings.xml): pom.xml"]
    );
    let bench = Bench::new(&["flake.nix", "a.cabal"]).at_home(&[".cabal/config"]);
    assert_eq!(bench.lines()[0], "cabal- ~/.cabal/packages: a.cabal");
}

#[test]
fn what_holds_more_than_a_cache_is_none() {
    for path in ["/", "~", "~/.."] {
        let bench = Bench::new(&["go.mod"]).env(&[&format!("GOMODCACHE={path}"), "GOCACHE=/b"]);
        let detection = bench.detect();
        assert_eq!(detection.caches.len(), 1, "{path}");
        assert!(
            detection.notes[0].contains("contains other files"),
            "{:?}",
            detection.notes
        );
    }
}

#[test]
fn a_key_by_patterns_goes_with_new_files() {
    let bench = Bench::new(&["pom.xml", "core/pom.xml"]);
    let found = bench.detect().caches.remove(0);
    assert_eq!(
        found.key,
        "auto-maven-{{ checksum \"core/pom.xml\" \"pom.xml\" }}"
    );
    assert_eq!(
        found.key_by_patterns.unwrap(),
        "auto-maven-{{ hashFiles('**/pom.xml', '!**/.venv', '!**/node_modules', '!**/target', '!**/vendor') }}"
    );
    assert_eq!(found.place.learnt, Learnt::Default);
    let one = Bench::new(&["package-lock.json"]).detect().caches.remove(0);
    assert_eq!(one.key, "auto-npm-{{ checksum \"package-lock.json\" }}");
    assert_eq!(one.key_by_patterns, None);
}

#[test]
fn a_prefix_is_put_before_every_key() {
    let bench = Bench::new(&["pom.xml"]);
    let host = Host {
        home: bench.home.path().to_owned(),
        account: bench.home.path().to_owned(),
        env: &bench.env,
        is_root: false,
        ask: &bench.answers,
    };
    let found = detect_caches(
        &WorkspaceTree::scan(bench.root.path(), &marker_names()),
        &host,
        "shop/",
    )
    .caches
    .remove(0);
    assert_eq!(
        (found.name.as_str(), found.restore_key.as_str()),
        ("maven", "shop/auto-maven-")
    );
}

#[test]
fn java_has_a_home_of_its_own() {
    let mut bench = Bench::new(&["pom.xml", "package-lock.json"]);
    bench.account = Some("/account".into());
    let lines = bench.lines();
    assert_eq!(lines[0], "maven- /account/.m2/repository: pom.xml");
    assert_eq!(lines[1], "npm- ~/.npm/_cacache: package-lock.json");
    let bench = bench.env(&["JAVA_TOOL_OPTIONS=-Xmx1g -Duser.home=~"]);
    let expected = "maven- ~/.m2/repository (from the variable JAVA_TOOL_OPTIONS): pom.xml";
    assert_eq!(bench.lines()[0], expected);
}

#[test]
fn yarn_has_a_place_of_its_own_for_root() {
    let mut bench = Bench::new(&["yarn.lock"]);
    bench.is_root = true;
    assert_eq!(
        bench.lines()[0],
        "yarn1- /usr/local/share/.cache/yarn: yarn.lock"
    );
    let bench = bench.env(&["XDG_CACHE_HOME=/x"]);
    assert!(bench.lines()[0].starts_with("yarn1- /x/yarn (from"));
}
