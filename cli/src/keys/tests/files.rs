//! Functions that read files: results and errors.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::UNIX_EPOCH;

use super::super::{ExpandedKey, KeyContext, PartKind, Reach, expand_template};
use super::{Bench, short, together};

#[test]
fn checksum_of_one_file_is_the_hash_of_its_content() {
    let bench = Bench::new().file("pom.xml", "<project/>");
    let hash = short(b"<project/>");
    assert_eq!(
        bench.key(r#"m2-{{ checksum "pom.xml" }}"#),
        format!("m2-{hash}")
    );
    for same in [
        "{{checksum 'pom.xml'}}",
        "{{ checksum `pom.xml` }}",
        "{{ checksum(\"pom.xml\") }}",
    ] {
        assert_eq!(bench.key(same), hash, "{same}");
    }
}

#[test]
fn checksum_of_several_files_covers_names_and_contents_in_order() {
    let bench = Bench::new().file("a", "1").file("b", "2");
    assert_eq!(
        bench.key(r#"{{ checksum "a" "b" }}"#),
        together(&[("a", "1"), ("b", "2")])
    );
    assert_eq!(
        bench.key(r#"{{ checksum "b" "a" }}"#),
        together(&[("b", "2"), ("a", "1")])
    );
}

#[test]
fn checksum_takes_patterns_but_prefers_a_file_of_that_name() {
    let bench = Bench::new()
        .file("x.lock", "1")
        .file("y.lock", "2")
        .file("[z]", "3");
    assert_eq!(
        bench.key("{{ checksum '*.lock' }}"),
        together(&[("x.lock", "1"), ("y.lock", "2")])
    );
    assert_eq!(bench.inputs("{{ checksum '[z]' }}"), ["[z]"]);
}

#[test]
fn hash_files_means_the_same_in_every_spelling() {
    let bench = Bench::new().file("pom.xml", "1").file("sub/pom.xml", "2");
    let hash = together(&[("pom.xml", "1"), ("sub/pom.xml", "2")]);
    for template in [
        "hashFiles('**/pom.xml')",
        "${{ hashFiles('**/pom.xml') }}",
        "{{ hashFiles('**/pom.xml') }}",
        "{{ hashFiles \"**/pom.xml\" }}",
        "hashFiles( \"./**/pom.xml\" )",
        "hashFiles('pom.xml', 'sub/pom.xml')",
        "hashFiles('sub/pom.xml', 'pom.xml')",
    ] {
        assert_eq!(bench.key(template), hash, "{template}");
    }
    assert_eq!(
        bench.key("m2-hashFiles('**/pom.xml')-x"),
        format!("m2-{hash}-x")
    );
}

#[test]
fn hash_files_inside_a_longer_word_is_text() {
    assert_eq!(Bench::new().key("myhashFiles('x')"), "myhashFiles('x')");
}

#[test]
fn patterns_apply_in_order() {
    let bench = Bench::new()
        .file("a/x", "1")
        .file("b/x", "2")
        .file("b/keep/x", "3")
        .file("x", "4");
    assert_eq!(bench.inputs("hashFiles('**/x', '!b')"), ["a/x", "x"]);
    assert_eq!(
        bench.inputs("hashFiles('**/x', '!b', 'b/keep/x')"),
        ["a/x", "b/keep/x", "x"]
    );
    assert_eq!(
        bench.inputs("hashFiles('!b', '**/x')"),
        ["a/x", "b/keep/x", "b/x", "x"]
    );
}

#[test]
fn a_pattern_for_a_directory_covers_what_is_below() {
    let bench = Bench::new()
        .file("src/a", "1")
        .file("src/deep/.hidden", "2")
        .file("other", "3");
    assert_eq!(
        bench.inputs("hashFiles('src')"),
        ["src/a", "src/deep/.hidden"]
    );
    assert_eq!(
        bench.inputs("hashFiles('src/**')"),
        ["src/a", "src/deep/.hidden"]
    );
    assert_eq!(
        bench.inputs("hashFiles('src/*')"),
        ["src/a", "src/deep/.hidden"]
    );
}

#[test]
fn an_absolute_pattern_works_inside_the_workspace_only() {
    let bench = Bench::new().file("a/x", "1");
    let inside = format!("hashFiles('{}/**/x')", bench.workspace().display());
    assert_eq!(bench.inputs(&inside), ["a/x"]);
    let outside = bench.error("hashFiles('/etc/*')");
    assert_eq!(
        outside.to_string(),
        "bad pattern `/etc/*`: it starts outside the workspace"
    );
    let above = bench.error("hashFiles('a/../../*')");
    assert!(
        above
            .to_string()
            .ends_with("it leads out of the workspace by `..`"),
        "{above}"
    );
}

#[test]
fn files_are_sorted_by_the_bytes_of_their_paths() {
    let bench = Bench::new()
        .file("a/x", "1")
        .file("a-b/x", "2")
        .file("a.x", "3")
        .file("B", "4");
    assert_eq!(
        bench.inputs("hashFiles('**')"),
        ["B", "a-b/x", "a.x", "a/x"]
    );
}

#[test]
fn repository_metadata_is_searched_only_by_name() {
    let bench = Bench::new()
        .file(".git/x", "1")
        .file("sub/.git/x", "2")
        .file("x", "3");
    assert_eq!(bench.inputs("hashFiles('**/x')"), ["x"]);
    assert_eq!(bench.inputs("hashFiles('.git/x')"), [".git/x"]);
}

#[test]
fn the_paths_of_the_cache_are_not_searched() {
    let mut bench = Bench::new().file("package-lock.json", "1");
    let empty = bench.key("hashFiles('**/package-lock.json')");
    bench = bench.file("node_modules/dep/package-lock.json", "2");
    assert_ne!(bench.key("hashFiles('**/package-lock.json')"), empty);
    bench.skip.push(bench.workspace().join("node_modules"));
    assert_eq!(bench.key("hashFiles('**/package-lock.json')"), empty);
    assert!(
        bench
            .expand("hashFiles('node_modules/**/package-lock.json')")
            .is_err()
    );
}

#[test]
fn links_are_followed_to_files_inside_only() {
    let bench = Bench::new()
        .file("real/x", "1")
        .link("link-x", "real/x")
        .link("dangling-x", "gone");
    fs::write(bench.dir.path().join("secret-x"), "s").unwrap();
    let outside = bench.dir.path().join("secret-x");
    let bench = bench
        .link("out-x", &outside)
        .link("up", "..")
        .link("loop", ".")
        .link("linked-dir", "real");
    let expanded = bench.expand("hashFiles('**/*x')").unwrap();
    let part = &expanded.parts[0];
    let files: Vec<&str> = part.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["link-x", "real/x"]);
    assert_eq!(part.skipped, ["dangling-x", "out-x"]);

    let error = bench.error("a-{{ checksum 'out-x' }}");
    assert_eq!(error.to_string(), "`out-x` is a link out of the workspace");
    assert_eq!(bench.key("{{ checksum 'link-x' }}"), short(b"1"));
    // A template may name a file outside the workspace directly.
    assert_eq!(bench.key("{{ checksum '../secret-x' }}"), short(b"s"));
    let absolute = format!("{{{{ checksum '{}' }}}}", outside.display());
    assert_eq!(bench.key(&absolute), short(b"s"));
}

#[test]
fn contents_renames_and_new_files_change_the_hash() {
    let hash = |bench: Bench| bench.key("hashFiles('**/*.toml')");
    let base = hash(Bench::new().file("a.toml", "1"));
    assert_eq!(
        hash(Bench::new().file("a.toml", "1").file("a.txt", "9")),
        base
    );
    assert_ne!(hash(Bench::new().file("a.toml", "2")), base);
    assert_ne!(hash(Bench::new().file("b.toml", "1")), base);
    assert_ne!(
        hash(Bench::new().file("a.toml", "1").file("b.toml", "")),
        base
    );
}

#[test]
fn parts_tell_which_files_with_which_hashes() {
    let bench = Bench::new().file("a.lock", "1").env("CI_X", "v");
    let expanded = bench
        .expand("x-hashFiles('*.lock')-{{ env \"CI_X\" }}")
        .unwrap();
    let kinds: Vec<PartKind> = expanded.parts.iter().map(|part| part.kind).collect();
    assert_eq!(
        kinds,
        [
            PartKind::Text,
            PartKind::HashFiles,
            PartKind::Text,
            PartKind::Environment
        ]
    );
    let file = &expanded.parts[1].files[0];
    assert_eq!(file.path, "a.lock");
    assert_eq!(file.bytes, 1);
    assert_eq!(
        file.blake3.as_deref(),
        Some(blake3::hash(b"1").to_hex().as_str())
    );
    assert_eq!(expanded.parts[1].name, "hashFiles('*.lock')");
    assert_eq!(expanded.parts[3].variable.as_deref(), Some("CI_X"));
    let json = serde_json::to_string(&expanded).unwrap();
    assert_eq!(
        serde_json::from_str::<ExpandedKey>(&json).unwrap(),
        expanded
    );
}

#[test]
fn missing_files_are_errors_unless_accepted() {
    let bench = Bench::new();
    let workspace = bench.workspace();
    let error = bench.error(r#"m2-{{ checksum "pom.xml" }}"#);
    assert_eq!(
        error.to_string(),
        format!("no file `pom.xml` in {}", workspace.display())
    );
    assert_eq!(
        error.pointer(),
        "m2-{{ checksum \"pom.xml\" }}\n               ^^^^^^^^^"
    );
    let error = bench.error("hashFiles('**/a', '!b')");
    assert_eq!(
        error.to_string(),
        format!("no file matches `**/a`, `!b` in {}", workspace.display())
    );
    assert!(
        bench
            .error("hashFiles('!b')")
            .to_string()
            .starts_with("no file matches")
    );

    let bench = Bench::new()
        .file("here", "1")
        .file("empty", "")
        .allow_missing();
    assert_eq!(bench.key("{{ checksum 'gone' }}"), "missing");
    assert_eq!(bench.key("hashFiles('gone*')"), "missing");
    assert_eq!(bench.key("{{ checksum 'empty' }}"), short(b""));
    let with = bench.key("{{ checksum 'here' 'gone' }}");
    assert_ne!(with, bench.key("{{ checksum 'here' 'empty' }}"));
    assert_ne!(with, bench.key("{{ checksum 'here' }}"));
}

#[test]
fn what_is_no_file_is_refused_without_opening_it() {
    let bench = Bench::new().file("dir/x", "1");
    let error = bench.error("{{ checksum 'dir' }}");
    assert_eq!(error.to_string(), "`dir` is a directory, not a file");
    assert_eq!(
        error.hint(),
        "use `hashFiles('dir/**')` for the files in a directory"
    );
    let pipe = bench.workspace().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert_eq!(
        bench.error("{{ checksum 'pipe' }}").to_string(),
        "`pipe` is a pipe, not a file"
    );
    assert!(bench.expand("hashFiles('p*')").is_err());
}

#[test]
fn a_missing_workspace_is_named() {
    let bench = Bench::new();
    let gone = bench.workspace().join("gone");
    let context = KeyContext {
        workspace: &gone,
        env: &bench.env,
        now: UNIX_EPOCH,
        allow_missing: false,
        skip: &|_| false,
        reach: &Reach::All,
    };
    let error = expand_template("hashFiles('x')", &context).unwrap_err();
    assert!(error.to_string().starts_with("cannot read"), "{error}");
}

#[test]
fn a_name_with_brackets_that_exists_is_that_name() {
    let bench = Bench::new()
        .file("app/[slug]/a.lock", "1")
        .file("app/s/a.lock", "2")
        .file("app/x/a.lock", "3");
    let slug = ["app/[slug]/a.lock"];
    assert_eq!(bench.inputs("hashFiles('app/[slug]/a.lock')"), slug);
    assert_eq!(bench.inputs("hashFiles('app/[slug]/*.lock')"), slug);
    assert_eq!(bench.inputs("hashFiles('app/[slug]')"), slug);
    assert_eq!(bench.inputs("hashFiles('app/[sx]/*.lock')").len(), 2);
    // The exclusion must not apply to `app/s`, or the key would lose that file.
    assert_eq!(
        bench.inputs("hashFiles('app/**', '!app/[slug]/**')"),
        ["app/s/a.lock", "app/x/a.lock"]
    );
}

#[test]
fn an_absolute_pattern_may_reach_the_workspace_through_a_link() {
    let bench = Bench::new().file("a/x", "1");
    symlink(bench.workspace(), bench.dir.path().join("logical")).unwrap();
    let logical = bench.dir.path().join("logical");
    let pattern = format!("hashFiles('{}/**/x')", logical.display());
    assert_eq!(bench.inputs(&pattern), ["a/x"]);
}

#[test]
fn a_directory_without_anything_to_select_is_not_opened() {
    let bench = Bench::new().file("lock", "1").file("pgdata/x/lock", "2");
    for exclusion in [
        "!pgdata",
        "!pgdata/",
        "!pgdata/**",
        "!pgdata/*",
        "!**/pgdata/**/*",
    ] {
        let template = format!("hashFiles('**/lock', '{exclusion}')");
        assert_eq!(bench.inputs(&template), ["lock"], "{exclusion}");
    }
    let taken_back = "hashFiles('!pgdata/**', '**/lock')";
    assert_eq!(bench.inputs(taken_back), ["lock", "pgdata/x/lock"]);
    let part = "hashFiles('**/lock', '!pgdata/y/**')";
    assert_eq!(bench.inputs(part), ["lock", "pgdata/x/lock"]);
}
