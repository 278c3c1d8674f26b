//! Tests of whole expansions; each on a workspace of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::{Context, Expanded, KeyError, PartKind, expand};

/// A workspace, an environment and the options of an expansion.
struct Bench {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    allow_missing: bool,
    skip: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: BTreeMap::new(),
            allow_missing: false,
            skip: Vec::new(),
        }
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("ws")
    }

    fn file(self, path: &str, content: &str) -> Self {
        let full = self.workspace().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, content).unwrap();
        self
    }

    fn link(self, path: &str, target: impl AsRef<Path>) -> Self {
        let full = self.workspace().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        symlink(target, full).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn allow_missing(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    fn expand(&self, template: &str) -> Result<Expanded, KeyError> {
        let workspace = self.workspace();
        fs::create_dir_all(&workspace).unwrap();
        let context = Context {
            workspace: &workspace,
            env: &self.env,
            now: UNIX_EPOCH + Duration::from_millis(1_700_000_000_900),
            allow_missing: self.allow_missing,
            skip: &self.skip,
        };
        expand(template, &context)
    }

    #[track_caller]
    fn key(&self, template: &str) -> String {
        match self.expand(template) {
            Ok(expanded) => expanded.key,
            Err(error) => panic!("{error}\n{}", error.pointer()),
        }
    }

    #[track_caller]
    fn error(&self, template: &str) -> KeyError {
        match self.expand(template) {
            Ok(expanded) => panic!("{template:?} gave the key {:?}", expanded.key),
            Err(error) => error,
        }
    }

    /// The paths that a template's only hash covers.
    #[track_caller]
    fn inputs(&self, template: &str) -> Vec<String> {
        let expanded = self.expand(template).unwrap();
        expanded.parts[0]
            .files
            .iter()
            .map(|file| file.path.clone())
            .collect()
    }
}

fn short(content: &[u8]) -> String {
    blake3::hash(content).to_hex()[..32].to_owned()
}

/// The documented combination of several files, computed independently.
fn together(files: &[(&str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (path, content) in files {
        bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(1);
        bytes.extend_from_slice(blake3::hash(content.as_bytes()).as_bytes());
    }
    short(&bytes)
}

#[test]
fn plain_text_is_its_own_key() {
    assert_eq!(Bench::new().key("m2-v1"), "m2-v1");
}

#[test]
fn keys_are_trimmed_and_backslashes_become_slashes() {
    assert_eq!(Bench::new().key(" \n feature\\x \t\n"), "feature/x");
}

#[test]
fn a_lone_brace_or_dollar_is_text() {
    assert_eq!(Bench::new().key("a{b}$c${d}"), "a{b}$c${d}");
}

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
    // Said by the template itself, it is meant.
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
    assert_eq!(serde_json::from_str::<Expanded>(&json).unwrap(), expanded);
}

#[test]
fn platform_and_clock() {
    let bench = Bench::new();
    assert_eq!(bench.key("{{ epoch }}"), "1700000000");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert_eq!(bench.key("{{ os }}-{{ arch }}"), "linux-amd64");
        assert_eq!(
            bench.key("${{ runner.os }}-${{ runner.arch }}"),
            "Linux-X64"
        );
    }
    let bench = Bench::new().env("RUNNER_OS", "Windows");
    assert_eq!(bench.key("${{ runner.os }}"), "Windows");
}

#[test]
fn environment_in_every_spelling() {
    let bench = Bench::new()
        .env("X", "v")
        .env("EMPTY", "")
        .env("GITHUB_REF_NAME", "main");
    for template in [
        "{{ env \"X\" }}",
        "{{ .Environment.X }}",
        "${{ env.X }}",
        "{{ env('X') }}",
    ] {
        assert_eq!(bench.key(template), "v", "{template}");
    }
    assert_eq!(bench.key("a{{ env \"EMPTY\" }}"), "a");
    assert_eq!(bench.key("${{ github.ref_name }}"), "main");
}

#[test]
fn unset_variables_are_errors_unless_accepted() {
    let error = Bench::new().error("a-{{ env \"NOPE\" }}");
    assert_eq!(error.to_string(), "environment variable `NOPE` is not set");
    assert_eq!(error.pointer(), "a-{{ env \"NOPE\" }}\n         ^^^^^^");
    let bench = Bench::new().allow_missing();
    assert_eq!(bench.key("a-{{ env \"NOPE\" }}"), "a-");
    assert_eq!(bench.key("a-{{ .Branch }}"), "a-");
}

#[test]
fn builds_are_recognised_in_every_system() {
    let systems: &[(&str, &[(&str, &str)], &str)] = &[
        (
            "github push",
            &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_HEAD_REF", ""),
                ("GITHUB_REF_NAME", "b"),
                ("GITHUB_SHA", "r"),
                ("GITHUB_RUN_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "github pull request",
            &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_HEAD_REF", "topic"),
                ("GITHUB_REF_NAME", "12/merge"),
                ("GITHUB_SHA", "r"),
                ("GITHUB_RUN_NUMBER", "7"),
            ],
            "topic r 7",
        ),
        (
            "gitlab",
            &[
                ("GITLAB_CI", "true"),
                ("CI_COMMIT_BRANCH", "b"),
                ("CI_COMMIT_SHA", "r"),
                ("CI_PIPELINE_IID", "7"),
            ],
            "b r 7",
        ),
        (
            "circleci",
            &[
                ("CIRCLECI", "true"),
                ("CIRCLE_BRANCH", "b"),
                ("CIRCLE_SHA1", "r"),
                ("CIRCLE_BUILD_NUM", "7"),
            ],
            "b r 7",
        ),
        (
            "buildkite",
            &[
                ("BUILDKITE", "true"),
                ("BUILDKITE_BRANCH", "b"),
                ("BUILDKITE_COMMIT", "r"),
                ("BUILDKITE_BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "drone pull request",
            &[
                ("DRONE", "true"),
                ("DRONE_BRANCH", "main"),
                ("DRONE_SOURCE_BRANCH", "b"),
                ("DRONE_COMMIT_SHA", "r"),
                ("DRONE_BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "harness",
            &[
                ("HARNESS_BUILD_ID", "7"),
                ("DRONE_COMMIT_BRANCH", "b"),
                ("DRONE_COMMIT_SHA", "r"),
            ],
            "b r 7",
        ),
        (
            "jenkins",
            &[
                ("JENKINS_URL", "u"),
                ("GIT_BRANCH", "origin/b"),
                ("GIT_COMMIT", "r"),
                ("BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
        (
            "azure",
            &[
                ("TF_BUILD", "True"),
                ("BUILD_SOURCEBRANCH", "refs/heads/a/b"),
                ("BUILD_SOURCEVERSION", "r"),
                ("BUILD_BUILDID", "7"),
            ],
            "a/b r 7",
        ),
        (
            "bitbucket",
            &[
                ("BITBUCKET_BUILD_NUMBER", "7"),
                ("BITBUCKET_BRANCH", "b"),
                ("BITBUCKET_COMMIT", "r"),
            ],
            "b r 7",
        ),
        (
            "travis",
            &[
                ("TRAVIS", "true"),
                ("TRAVIS_BRANCH", "b"),
                ("TRAVIS_COMMIT", "r"),
                ("TRAVIS_BUILD_NUMBER", "7"),
            ],
            "b r 7",
        ),
    ];
    for (system, env, expected) in systems {
        let bench = env
            .iter()
            .fold(Bench::new(), |bench, (name, value)| bench.env(name, value));
        let key = bench.key("{{ .Branch }} {{ .Revision }} {{ .BuildNum }}");
        assert_eq!(key, *expected, "{system}");
    }
}

#[test]
fn drone_metadata_and_its_likes() {
    let bench = Bench::new()
        .env("DRONE", "true")
        .env("DRONE_REPO", "octo/app")
        .env("DRONE_COMMIT_BRANCH", "b")
        .env("DRONE_COMMIT_SHA", "r");
    assert_eq!(
        bench.key("{{ .Repo.Name }}-{{ .Repo.Owner }}-{{ .Commit.Branch }}-{{ .Commit.Sha }}"),
        "app-octo-b-r"
    );
    let bench = Bench::new()
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "octo/app")
        .env("GITHUB_REF", "refs/pull/12/merge")
        .env("GITHUB_BASE_REF", "main");
    assert_eq!(
        bench.key("{{ .Repo.Name }}-{{ .PullRequest }}-{{ .BaseBranch }}"),
        "app-12-main"
    );
}

#[test]
fn our_own_variables_come_first() {
    let bench = Bench::new()
        .env("GITLAB_CI", "1")
        .env("CI_COMMIT_BRANCH", "b")
        .env("CACHEFS_BRANCH", "o");
    assert_eq!(bench.key("{{ .Branch }}"), "o");
    assert_eq!(
        Bench::new().env("CACHEFS_BRANCH", "o").key("{{ .Branch }}"),
        "o"
    );
}

#[test]
fn what_no_system_reports_is_an_error() {
    let error = Bench::new().error("x-{{ .Branch }}");
    assert_eq!(
        error.to_string(),
        "`.Branch` is not known outside of a CI system that is recognised"
    );
    assert_eq!(error.hint(), "set one of CACHEFS_BRANCH");
    let error = Bench::new()
        .env("TRAVIS", "true")
        .env("TRAVIS_PULL_REQUEST", "false");
    let error = error.error("{{ .PullRequest }}");
    assert_eq!(
        error.to_string(),
        "`.PullRequest` is not known in Travis CI"
    );
    assert_eq!(
        error.hint(),
        "set one of CACHEFS_PULL_REQUEST, TRAVIS_PULL_REQUEST"
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
        "use `hashFiles('dir/**')` for what is in a directory"
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
    let context = Context {
        workspace: &gone,
        env: &bench.env,
        now: UNIX_EPOCH,
        allow_missing: false,
        skip: &[],
    };
    let error = expand("hashFiles('x')", &context).unwrap_err();
    assert!(error.to_string().starts_with("cannot read"), "{error}");
}

#[test]
fn faults_point_at_the_character() {
    let cases: &[(&str, usize, &str)] = &[
        ("ab{{ arch", 2, "`{{` is never closed"),
        ("ab${{ arch", 2, "`${{` is never closed"),
        ("hashFiles('a'", 0, "`hashFiles(` is never closed"),
        ("hashFiles(", 0, "`hashFiles(` is never closed"),
        ("ab}}", 2, "`}}` closes nothing"),
        ("{{ }}", 3, "empty expression"),
        ("é{{ arhc }}", 4, "unknown function `arhc`"),
        ("{{ .Brnch }}", 3, "unknown variable `Brnch`"),
        ("{{ matrix.os }}", 3, "unknown variable `matrix.os`"),
        ("{{ .Environment }}", 3, "unknown variable `Environment`"),
        ("{{ . }}", 5, "expected a name, found `}}`"),
        (
            "{{ checksum }}",
            3,
            "`checksum` takes one or more files, not 0",
        ),
        (
            "{{ env \"a\" \"b\" }}",
            3,
            "`env` takes the name of one variable, not 2",
        ),
        ("{{ arch \"a\" }}", 3, "`arch` takes no argument, not 1"),
        ("{{ checksum pom.xml }}", 12, "expected `}}`, found `pom`"),
        (
            "{{ checksum \"pom.xml }}",
            12,
            "string is never closed by \"",
        ),
        (
            "{{ checksum \u{201c}pom.xml\u{201d} }}",
            12,
            "unexpected character '“'",
        ),
        ("{{ checksum \"a\\q\" }}", 14, "unknown escape `\\q`"),
        ("{{ arch | upper }}", 8, "unexpected character '|'"),
        ("{{ arch }", 8, "unexpected character '}'"),
        (
            "hashFiles('a' 'b')",
            14,
            "expected `,` or `)`, found string \"b\"",
        ),
        ("hashFiles(a)", 10, "expected a quoted string, found `a`"),
        ("hashFiles('a',)", 14, "expected a quoted string, found `)`"),
        (
            "hashFiles('[a')",
            10,
            "bad pattern `[a`: unclosed character class; missing ']'",
        ),
        (
            "{{ \"a\" }}",
            3,
            "expected a function or a variable, found string \"a\"",
        ),
        ("ok-\u{7}", 3, "key contains the control character '\\u{7}'"),
        ("a\nb", 1, "key contains the control character '\\n'"),
    ];
    let bench = Bench::new();
    for (template, column, message) in cases {
        let error = bench.error(template);
        assert_eq!(error.to_string(), *message, "{template}");
        assert_eq!(error.column(), *column, "{template}: {}", error.pointer());
        assert!(!error.hint().is_empty());
        assert!(error.pointer().ends_with('^'), "{template}");
    }
}

#[test]
fn the_pointer_stands_under_the_fault() {
    let error = Bench::new().error("ä\tb-{{ nope }}");
    assert_eq!(error.pointer(), "ä b-{{ nope }}\n       ^^^^");
    let error = Bench::new().error("first\nsecond {{ nope }}\nthird");
    assert_eq!(error.pointer(), "second {{ nope }}\n          ^^^^");
}

#[test]
fn keys_are_bounded_and_not_empty() {
    let bench = Bench::new().env("E", "").env("NL", "a\nb");
    for empty in ["", "  \n", "{{ env \"E\" }}"] {
        assert_eq!(bench.error(empty).to_string(), "key is empty", "{empty:?}");
    }
    assert_eq!(bench.key(&"ä".repeat(512)).chars().count(), 512);
    assert_eq!(
        bench.error(&"ä".repeat(513)).to_string(),
        "key has 513 characters, more than 512"
    );
    let error = bench.error("x-{{ env \"NL\" }}-y");
    assert_eq!(
        error.to_string(),
        "key contains the control character '\\n'"
    );
    assert_eq!(error.pointer(), "x-{{ env \"NL\" }}-y\n  ^^^^^^^^^^^^^^");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(template in ".*") {
        check(&template)?;
    }

    #[test]
    fn text_made_of_syntax_never_panics(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("{{"), Just("}}"), Just("${{"), Just("hashFiles("), Just("hashFiles"),
                Just("checksum"), Just("env"), Just(".Branch"), Just("."), Just("'"), Just("\""),
                Just("\\"), Just("("), Just(")"), Just(","), Just(" "), Just("\n"), Just("é"),
                Just("'a'"), Just("'**'"), Just("'!'"), Just("'[a'"), Just("\"x\""), Just("`"),
            ],
            0..16,
        ),
    ) {
        check(&pieces.concat())?;
    }
}

/// Whatever the template: a valid key with parts that cover it, or an error that can be shown.
fn check(template: &str) -> Result<(), TestCaseError> {
    let bench = Bench::new().allow_missing();
    match bench.expand(template) {
        Ok(expanded) => {
            prop_assert!(!expanded.key.is_empty());
            prop_assert!(expanded.key.chars().count() <= 512);
            prop_assert!(!expanded.key.chars().any(char::is_control));
            let spelled: String = expanded
                .parts
                .iter()
                .map(|part| part.name.as_str())
                .collect();
            prop_assert_eq!(spelled, template);
        }
        Err(error) => {
            let lines = error.pointer();
            prop_assert_eq!(lines.lines().count().max(2), 2);
            prop_assert!(!error.to_string().is_empty() && !error.hint().is_empty());
        }
    }
    Ok(())
}
