//! `detect` and `auto` with real tools: the cache paths that tools report, and a round trip from a
//! first build to an offline build on a machine that has only the remote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cachefs_tests::harness::{Cachefs, Invocation, Output};
use serde_json::Value;

use crate::support::{clean, machine};

/// Maximum time for one step of a tool, even on a slow network.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Runs a tool in a machine's workspace with the machine's home. Otherwise it gets the environment
/// of the tests, which may configure access to a registry.
fn step(machine: &Cachefs, env: &[(&str, String)], words: &[&str]) -> Invocation {
    let mut invocation = Invocation::new(words[0], &words[1..])
        .cwd(machine.work())
        .timeout(TIMEOUT);
    for (name, value) in std::env::vars_os() {
        invocation = invocation.env(name, value);
    }
    // Remove variables that would point a tool outside the sandbox.
    for name in [
        "CARGO_HOME",
        "CARGO_TARGET_DIR",
        "PIP_CACHE_DIR",
        "XDG_CACHE_HOME",
    ] {
        invocation = invocation.without_env(name);
    }
    with(invocation.env("HOME", machine.home()), env)
}

fn with(invocation: Invocation, env: &[(&str, String)]) -> Invocation {
    env.iter().fold(invocation, |invocation, (name, value)| {
        invocation.env(name, value)
    })
}

fn cachefs(machine: &Cachefs, env: &[(&str, String)], words: &[&str]) -> Output {
    let words = words.iter().chain(&["--format", "json", "--strict-errors"]);
    clean(with(machine.command(words), env).run()).success()
}

/// Parses the caches that a command printed.
fn caches(output: &Output) -> Vec<Value> {
    output.json()["caches"].as_array().unwrap().clone()
}

fn runs(program: &str) -> bool {
    ["--version", "version"].iter().any(|question| {
        Command::new(program)
            .arg(question)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

fn all_run(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !runs(program)).collect();
    if !missing.is_empty() {
        cachefs_skip::skip(missing[0], "it is not installed");
    }
    missing.is_empty()
}

/// A tool that reports its cache path: a file that marks its project, the command that prints the
/// path, the suffix that we add to the path, and whether we strip its last component.
struct Asked {
    cache: &'static str,
    mark: &'static str,
    question: &'static [&'static str],
    below: &'static str,
    layout: bool,
}

const ASKED: &[Asked] = &[
    asked(
        "npm",
        "package-lock.json",
        &["npm", "config", "get", "cache"],
        "_cacache",
        false,
    ),
    asked(
        "pnpm",
        "pnpm-lock.yaml",
        &["pnpm", "store", "path"],
        "",
        true,
    ),
    asked("yarn1", "yarn.lock", &["yarn", "cache", "dir"], "", true),
    asked("bun", "bun.lock", &["bun", "pm", "cache"], "", false),
    asked(
        "pip",
        "requirements.txt",
        &["python3", "-m", "pip", "cache", "dir"],
        "",
        false,
    ),
    asked("uv", "uv.lock", &["uv", "cache", "dir"], "", false),
    asked(
        "poetry",
        "poetry.lock",
        &["poetry", "config", "cache-dir"],
        "artifacts",
        false,
    ),
    asked("go", "go.sum", &["go", "env", "GOMODCACHE"], "", false),
    asked("go-build", "go.sum", &["go", "env", "GOCACHE"], "", false),
    asked(
        "composer",
        "composer.lock",
        &["composer", "config", "--global", "cache-dir"],
        "",
        false,
    ),
];

const fn asked(
    cache: &'static str,
    mark: &'static str,
    question: &'static [&'static str],
    below: &'static str,
    layout: bool,
) -> Asked {
    Asked {
        cache,
        mark,
        question,
        below,
        layout,
    }
}

#[test]
fn tools_cache_where_detect_says() {
    for tool in ASKED {
        if !all_run(&tool.question[..1]) {
            continue;
        }
        let machine = Cachefs::new().unwrap();
        fs::write(machine.work().join("package.json"), "{\"name\": \"demo\"}").unwrap();
        fs::write(machine.work().join(tool.mark), "").unwrap();
        let answer = step(&machine, &[], tool.question).run().success().stdout();
        let mut expected = PathBuf::from(answer.trim());
        if tool.layout {
            expected.pop();
        }
        if !tool.below.is_empty() {
            expected.push(tool.below);
        }
        // We get the same path from the tool and with `--no-ask`, because nothing moves it from its
        // default here.
        for way in [&[] as &[&str], &["--no-ask"]] {
            let words = [&["detect"], way].concat();
            let found = caches(&cachefs(&machine, &[], &words));
            let found = found.iter().find(|cache| cache["name"] == tool.cache);
            let path = found.unwrap_or_else(|| panic!("no {}", tool.cache))["path"].clone();
            assert_eq!(path, expected.to_str().unwrap(), "{} {way:?}", tool.cache);
        }
        println!("{}: {}", tool.cache, expected.display());
    }
}

/// A project that builds offline from its cache.
struct Project<'a> {
    files: &'a [(&'a str, String)],
    /// Environment variables that the tools of a machine need.
    env: &'a dyn Fn(&Cachefs) -> Vec<(&'static str, String)>,
    /// Fills the caches over the network.
    install: &'a [&'a [&'a str]],
    /// Works only with filled caches.
    offline: &'a [&'a str],
    /// The caches that must be hits, by name.
    hits: &'a [&'a str],
    /// Options for `auto`.
    options: &'a [&'a str],
}

impl Project<'_> {
    fn auto(&self, machine: &Cachefs, action: &str) -> Vec<Value> {
        let words = [&["auto", action], self.options].concat();
        caches(&cachefs(machine, &(self.env)(machine), &words))
    }

    fn steps(&self, machine: &Cachefs, steps: &[&[&str]]) {
        for words in steps {
            step(machine, &(self.env)(machine), words).run().success();
        }
    }

    /// A miss, an install and a save; then, on a fresh machine, an offline build that fails, a hit,
    /// and an offline build that works.
    fn goes_round(&self) {
        let Some(first) = machine() else { return };
        write(self.files, &first);
        for restored in self.auto(&first, "restore") {
            assert_eq!(restored["match"], "miss", "{restored}");
        }
        self.steps(&first, self.install);
        for saved in self.auto(&first, "save") {
            assert_eq!(saved["result"], "saved", "{saved}");
        }

        let second = first.second_machine().unwrap();
        write(self.files, &second);
        let env = (self.env)(&second);
        let without = step(&second, &env, self.offline).run();
        assert!(!without.status.success(), "it needs no cache\n{without}");
        // A new machine would not have files of the failed build.
        for dir in [second.home(), second.work()] {
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
        }
        write(self.files, &second);
        let restored = self.auto(&second, "restore");
        for name in self.hits {
            let is_hit = |cache: &&Value| {
                cache["cache"] == *name && cache["match"] == "exact" && cache["result"] == "mounted"
            };
            assert!(
                restored.iter().any(|cache| is_hit(&cache)),
                "{name} in {restored:?}"
            );
        }
        self.steps(&second, &[self.offline]);
        second.run(["umount", "--all"]).success();
    }
}

fn no_env(_: &Cachefs) -> Vec<(&'static str, String)> {
    Vec::new()
}

fn file(name: &'static str, text: &str) -> (&'static str, String) {
    (name, text.to_owned())
}

fn write(files: &[(&str, String)], machine: &Cachefs) {
    for (name, text) in files {
        let path = machine.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Runs a tool on a separate machine and returns the lock file that it writes.
fn locked(
    files: &[(&str, String)],
    env: &[(&str, String)],
    words: &[&str],
    lock: &'static str,
) -> (&'static str, String) {
    let machine = Cachefs::new().unwrap();
    write(files, &machine);
    step(&machine, env, words).run().success();
    let text = fs::read_to_string(machine.work().join(lock)).unwrap();
    (lock, text)
}

const PACKAGE: &str = r#"{"name": "demo", "version": "1.0.0", "private": true, "dependencies": {"semver": "7.6.3", "yargs": "17.7.2"}}"#;
const USE_PACKAGE: &str = "require('semver').valid('1.0.0') && require('yargs')";

#[test]
fn npm_goes_round() {
    if !all_run(&["npm", "node"]) {
        return;
    }
    let mut files = vec![file("package.json", PACKAGE)];
    let words = ["npm", "install", "--package-lock-only"];
    files.push(locked(&files, &[], &words, "package-lock.json"));
    let project = Project {
        files: &files,
        env: &no_env,
        install: &[&["npm", "ci", "--prefer-online", "--no-audit", "--no-fund"]],
        offline: &[
            "sh",
            "-c",
            &format!("npm ci --offline && node -e \"{USE_PACKAGE}\""),
        ],
        hits: &["npm"],
        options: &[],
    };
    project.goes_round();
    // `npm ci` empties node_modules, which also works on a mount.
    let with_modules = Project {
        hits: &["npm", "npm-node_modules"],
        options: &["--all"],
        ..project
    };
    with_modules.goes_round();
    let without_install = Project {
        offline: &["node", "-e", USE_PACKAGE],
        hits: &["npm-node_modules"],
        ..with_modules
    };
    without_install.goes_round();
}

#[test]
fn cargo_goes_round() {
    if !all_run(&["cargo"]) {
        return;
    }
    let manifest = "[package]\nname = \"demo\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"1\"\n[workspace]\n";
    let main = "fn main() { println!(\"{}\", itoa::Buffer::new().format(7)); }";
    let mut files = vec![file("Cargo.toml", manifest), file("src/main.rs", main)];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    // The user's own configuration may name a registry to use.
    if let Some(text) = home.and_then(|home| fs::read_to_string(home.join("config.toml")).ok()) {
        files.push(file(".cargo/config.toml", &text));
    }
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| {
        let home = std::env::home_dir().unwrap_or_default();
        home.join(".rustup").to_string_lossy().into_owned()
    });
    let env = |_: &Cachefs| vec![("RUSTUP_HOME", rustup.clone())];
    let words = ["cargo", "generate-lockfile"];
    files.push(locked(
        &files,
        &[("RUSTUP_HOME", rustup.clone())],
        &words,
        "Cargo.lock",
    ));
    Project {
        files: &files,
        env: &env,
        install: &[&["cargo", "build", "--locked"]],
        offline: &["cargo", "run", "--offline", "--locked"],
        hits: &["cargo-index", "cargo-crates", "cargo-target"],
        options: &[],
    }
    .goes_round();
}

#[test]
fn maven_goes_round() {
    let repository = Path::new("/usr/share/maven-repo");
    if !all_run(&["mvn"]) || !rustix::process::geteuid().is_root() {
        return;
    }
    if !repository
        .join("org/apache/maven/plugins/maven-surefire-plugin")
        .is_dir()
    {
        cachefs_skip::skip(
            "maven",
            "Debian's artifacts of Maven's plugins are not installed",
        );
        return;
    }
    let settings = "<settings><mirrors><mirror><id>debian</id><mirrorOf>*</mirrorOf><url>file:///usr/share/maven-repo</url></mirror></mirrors></settings>";
    let files = [
        file("pom.xml", include_str!("../../../tests/data/maven/pom.xml")),
        file(
            "src/main/java/demo/Extension.java",
            include_str!("../../../tests/data/maven/Extension.java"),
        ),
        file(
            "src/test/java/demo/ExtensionTest.java",
            include_str!("../../../tests/data/maven/ExtensionTest.java"),
        ),
        file("settings.xml", settings),
        file("nothing/here", ""),
    ];
    // Java reads the home directory from the passwd database, but these machines have their own.
    let env = |machine: &Cachefs| {
        let home = machine.home();
        vec![(
            "MAVEN_OPTS",
            format!("-XX:TieredStopAtLevel=1 -Duser.home={}", home.display()),
        )]
    };
    // Hide the repository that filled the cache.
    let offline =
        "mount --bind nothing /usr/share/maven-repo && exec mvn -o -q -B -s settings.xml package";
    Project {
        files: &files,
        env: &env,
        install: &[&["mvn", "-q", "-B", "-s", "settings.xml", "package"]],
        offline: &["unshare", "--mount", "sh", "-c", offline],
        hits: &["maven"],
        options: &[],
    }
    .goes_round();
}

#[test]
fn pip_goes_round() {
    if !all_run(&["python3"]) {
        return;
    }
    // pip reuses wheels that it built without asking the index, but queries the index again for
    // everything else. So we need a package without a published wheel, for example docopt 0.6.2, to
    // show that the cache came along.
    let install = "python3 -m venv env && env/bin/pip install --no-cache-dir -q setuptools wheel && env/bin/pip install -q --no-build-isolation -r requirements.txt && rm -rf env build";
    let files = [file("requirements.txt", "docopt==0.6.2\n")];
    Project {
        files: &files,
        env: &no_env,
        install: &[&["sh", "-c", install]],
        offline: &[
            "sh",
            "-c",
            "wheel=$(find \"$HOME/.cache/pip/wheels\" -name 'docopt-*.whl') && python3 -m venv env && env/bin/pip install -q --no-index \"$wheel\" && env/bin/python -c 'import docopt'",
        ],
        hits: &["pip"],
        options: &[],
    }
    .goes_round();
}
