//! Tests of files: permitted settings, positions of errors, and precedence.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use super::file::{ConfigFile, read_config};
use super::find::{ConfigLevel, Surroundings};
use super::setting_names::{Known, anchor_path};
use super::{ConfigError, trusted_settings};
use crate::args::Cli;

fn project(text: &str) -> Result<ConfigFile, ConfigError> {
    let known = Known::of(&Cli::command());
    read_config(
        Path::new("/w/cachefs.toml"),
        ConfigLevel::Project,
        text,
        &known,
    )
}

#[track_caller]
fn fails(text: &str, message: &str, hint: &str, marked: &str) {
    let error = project(text).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert!(error.hint().contains(hint), "{}", error.hint());
    let pointer = error.pointer();
    let (line, carets) = pointer.split_once('\n').unwrap();
    let start = carets.len() - carets.trim_start().len();
    let shown: String = line
        .chars()
        .skip(start)
        .take(carets.len() - start)
        .collect();
    assert_eq!(shown, marked, "{pointer}");
}

#[test]
fn settings_are_the_options_of_the_commands() {
    let file = project(
        "remote = \"s3://b/p\"\ncache-limit = 1000\nstrict-errors = true\nfallback-scopes = [\"a\", \"b\"]\nmode = 'copy'\n",
    )
    .unwrap();
    let values = |name: &str| file.settings[name].values.join(" ");
    assert_eq!(values("remote"), "s3://b/p");
    assert_eq!(values("cache-limit"), "1000");
    assert_eq!(values("strict-errors"), "true");
    assert_eq!(values("fallback-scope"), "a b");
    assert_eq!(values("mode"), "copy");
    assert_eq!(file.settings["mode"].place.to_string(), "/w/cachefs.toml:5");
}

#[test]
fn caches_keep_their_order_and_their_layers() {
    let file = project(
        "[cache.zig]\nkey = 'z'\npath = 'zig-cache'\nrestore-keys = 'z-'\n\
         [cache.maven]\nkey = 'm'\npaths = ['./m2']\nprefetch = 'all'\n\
         [[cache.maven.layer]]\nname = 'base'\nkey = 'b'\n\
         [[cache.maven.layer]]\nname = 'deps'\nkey = 'd'\nrestore-keys = ['d-', 'e-']\n",
    )
    .unwrap();
    let [zig, maven] = &file.caches[..] else {
        panic!("{file:?}")
    };
    assert_eq!((zig.name.as_str(), zig.place.line), ("zig", 1));
    assert_eq!(zig.settings["path"].values, ["/w/zig-cache"]);
    assert_eq!(zig.settings["restore-key"].values, ["z-"]);
    assert_eq!(maven.settings["path"].values, ["/w/m2"]);
    assert_eq!(maven.settings["prefetch"].values, ["all"]);
    let layers: Vec<_> = maven.layers.iter().map(|(layer, _)| layer).collect();
    assert_eq!(layers[0].name, "base");
    assert_eq!(layers[1].key, "d");
    assert_eq!(layers[1].restore_keys, ["d-", "e-"]);
}

#[test]
fn faults_are_pointed_at() {
    fails(
        "scope = 'x'\nremot = 'y'\n",
        "/w/cachefs.toml:2:1: unknown setting `remot`",
        "did you mean `remote`?",
        "remot",
    );
    fails(
        "zzz = 1\n",
        "/w/cachefs.toml:1:1: unknown setting `zzz`",
        "settings here are account, acl, allow-empty, allow-missing, allow-privileged, anonymous,",
        "zzz",
    );
    fails(
        "[cache.m]\nkey = 'k'\npath = 'p'\nrestore_keys = ['r']\n",
        "/w/cachefs.toml:4:1: unknown setting `restore_keys` of a cache",
        "did you mean `restore-keys`?",
        "restore_keys",
    );
    fails(
        "[cache.m]\nkey = 'k'\npath = 'p'\nlayer = [{ name = 'b', kee = 'x' }]\n",
        "/w/cachefs.toml:4:24: unknown setting `kee` of a layer",
        "did you mean `key`?",
        "kee",
    );
    fails(
        "scope = dev\n",
        "/w/cachefs.toml:1:9: string values must be quoted, expected literal string",
        "the file is TOML",
        "dev",
    );
    fails(
        "[cache.m]\npath = 'p'\n",
        "/w/cachefs.toml:1:8: cache `m` has no `key`",
        "for example key =",
        "m",
    );
    fails(
        "[cache.m]\nkey = 'k'\npath = 'p'\npaths = ['q']\n",
        "/w/cachefs.toml:4:1: `path` is set twice",
        "keep one",
        "paths",
    );
}

#[test]
fn values_have_the_types_of_the_options() {
    fails(
        "remote = 3\n",
        "/w/cachefs.toml:1:10: `remote` takes a string, not a number",
        "write remote = \"...\"",
        "3",
    );
    fails(
        "strict-errors = \"yes\"\n",
        "/w/cachefs.toml:1:17: `strict-errors` takes true or false, not a string",
        "write strict-errors = true",
        "\"yes\"",
    );
    fails(
        "fallback-scopes = ['a', 1]\n",
        "/w/cachefs.toml:1:25: `fallback-scope` takes a string or a list of strings, not a number",
        "write fallback-scopes = [\"...\"]",
        "1",
    );
    fails(
        "cache-limit = '10X'\n",
        "/w/cachefs.toml:1:15: invalid `cache-limit`: `10X` is not a size such as 500M or 10G",
        "--cache-limit",
        "'10X'",
    );
    fails(
        "[cache.m]\nkey = 'k'\npath = 'p'\nmode = 'fast'\n",
        "/w/cachefs.toml:4:8: invalid value `fast` for `mode`",
        "use one of auto, mount, copy",
        "'fast'",
    );
    fails(
        "cache = 'm2'\n",
        "/w/cachefs.toml:1:9: `cache` takes tables such as [cache.maven], not a string",
        "docs/configuration.md",
        "'m2'",
    );
}

#[test]
fn a_project_does_not_choose_directories_of_the_machine() {
    fails(
        "store = '/etc'\n",
        "/w/cachefs.toml:1:1: `store` cannot be set by a project",
        "--store",
        "store",
    );
    let known = Known::of(&Cli::command());
    let user = read_config(
        Path::new("/u/config.toml"),
        ConfigLevel::User,
        "store = 'x'\n",
        &known,
    )
    .unwrap();
    assert_eq!(user.settings["store"].values, ["/u/x"]);
    let caches = read_config(
        Path::new("/u/config.toml"),
        ConfigLevel::User,
        "[cache.m]\n",
        &known,
    );
    let error = caches.unwrap_err();
    assert!(
        error.to_string().contains("only a project's file"),
        "{error}"
    );
}

#[test]
fn an_endpoint_needs_a_remote_of_the_same_project() {
    let servers = |text: &str, given: bool| {
        let mut file = project(text).unwrap();
        trusted_settings::take_servers(&mut file.settings, given).len()
    };
    assert_eq!(servers("endpoint = 'http://e'\n", false), 1);
    assert_eq!(
        servers("endpoint = 'http://e'\nremote = 's3://b'\n", false),
        0
    );
    assert_eq!(
        servers("endpoint = 'http://e'\nremote = 's3://b'\n", true),
        1
    );
    assert_eq!(servers("remote = 's3://b'\n", true), 0);
}

#[test]
fn paths_start_from_the_file_or_the_home_directory() {
    let home = std::env::home_dir().unwrap();
    let home = home.to_str().unwrap();
    for (path, expected) in [
        ("node_modules", "/w/node_modules".to_owned()),
        ("./a/./b/", "/w/a/b".to_owned()),
        ("/abs", "/abs".to_owned()),
        ("!target/tmp", "!target/tmp".to_owned()),
        ("~/.m2", format!("{home}/.m2")),
        ("~", home.to_owned()),
        ("~other", "/w/~other".to_owned()),
    ] {
        assert_eq!(anchor_path(path, Path::new("/w")), expected, "{path}");
    }
}

#[test]
fn the_projects_file_is_found_upwards_and_not_outside() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let repo = root.join("home/repo");
    let inner = repo.join("a/b");
    fs::create_dir_all(&inner).unwrap();
    let look = |current: &Path| {
        let surroundings = Surroundings {
            current: current.to_owned(),
            home: Some(root.join("home")),
            config_home: None,
            system: root.join("etc.toml"),
        };
        let files = surroundings.files(None);
        assert_eq!(files[1].path, root.join("home/.config/cachefs/config.toml"));
        files.get(2).map(|file| file.path.clone())
    };
    // A file in the home directory is a project's only if the project is there.
    fs::write(root.join("home/cachefs.toml"), "").unwrap();
    assert_eq!(look(&inner), None);
    assert_eq!(
        look(&root.join("home")),
        Some(root.join("home/cachefs.toml"))
    );
    fs::write(repo.join("cachefs.toml"), "").unwrap();
    assert_eq!(look(&inner), Some(repo.join("cachefs.toml")));
    // A repository below it is a separate project.
    fs::create_dir(repo.join("a/.git")).unwrap();
    assert_eq!(look(&inner), None);
    fs::write(repo.join("a/cachefs.toml"), "").unwrap();
    assert_eq!(look(&inner), Some(repo.join("a/cachefs.toml")));
    // World-writable.
    fs::remove_dir(repo.join("a/.git")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(repo.join("a"), open).unwrap();
    assert_eq!(look(&inner), None);
}
