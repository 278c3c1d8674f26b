//! Caches with several paths, patterns and exclusions.

use std::fs;
use std::path::Path;

use cachefs_tests::harness::{Cachefs, Invocation};
use serde_json::Value;

use crate::support::{Commands, can_mount, clean, machine, objects, remote_dir};

/// `save` or `restore` of a key at these paths.
fn at(machine: &Cachefs, command: &str, key: &str, paths: &[&str]) -> Invocation {
    let start = machine.command([command, "--key", key, "--strict-errors", "--format", "json"]);
    let paths = paths.iter().flat_map(|path| ["--path", path]);
    paths.fold(start, Invocation::arg)
}

#[track_caller]
fn json(invocation: Invocation) -> Value {
    clean(invocation.run().success()).json()
}

/// The results of several paths, with each path relative to the machine's directories.
fn results(machine: &Cachefs, printed: &Value) -> Vec<(String, String)> {
    let caches = printed["caches"].as_array().unwrap();
    let mut results: Vec<_> = caches
        .iter()
        .map(|cache| {
            let path = cache["path"].as_str().unwrap();
            let work = machine.work().canonicalize().unwrap();
            let path = Path::new(path)
                .strip_prefix(&work)
                .unwrap_or(Path::new(path));
            let result = cache["result"].as_str().unwrap();
            (path.to_string_lossy().into_owned(), result.to_owned())
        })
        .collect();
    results.sort();
    results
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

/// A workspace with modules in three packages, and a cache in the home directory.
fn fill(machine: &Cachefs, version: &str) {
    for package in ["a", "b", "old"] {
        let modules = machine
            .work()
            .join(format!("packages/{package}/node_modules"));
        write(
            &modules.join("lib/index.js"),
            &format!("{package} {version}"),
        );
        write(&modules.join("debug.log"), "noise");
    }
    write(&machine.home().join(".npm/blob"), version);
}

const PATHS: [&str; 4] = [
    "packages/*/node_modules",
    "~/.npm",
    "!packages/old",
    "!**/*.log",
];

#[test]
fn several_paths_are_saved_and_come_back_where_nothing_is() {
    let Some(machine) = machine() else { return };
    fill(&machine, "1");
    let saved = json(at(&machine, "save", "k-1", &PATHS));
    let expected = |result: &str, prefix: &str| {
        [
            "packages/a/node_modules",
            "packages/b/node_modules",
            "~/.npm",
        ]
        .map(|path| (path.replace("~", prefix), result.to_owned()))
    };
    assert_eq!(results(&machine, &saved), expected("saved", "~"));
    let other = machine.second_machine().unwrap();
    let restored = json(at(&other, "restore", "k-1", &PATHS));
    let mut wanted = expected("mounted", other.home().to_str().unwrap());
    wanted.sort();
    assert_eq!(results(&other, &restored), wanted);
    let modules = other.work().join("packages/a/node_modules");
    assert_eq!(read(&modules.join("lib/index.js")), "a 1");
    assert!(!modules.join("debug.log").exists());
    assert!(!other.work().join("packages/old").exists());
    assert_eq!(read(&other.home().join(".npm/blob")), "1");

    // Each path has its own mount with its own changes.
    write(&modules.join("lib/new.js"), "new");
    write(&modules.join("lib/new.log"), "noise");
    let saved = json(at(&other, "save", "k-1", &PATHS));
    let results = results(&other, &saved);
    assert_eq!(results[0].1, "saved");
    assert_eq!(results[1].1, "unchanged");
    assert_eq!(results[2].1, "unchanged");
    assert_eq!(
        saved["caches"].to_string().matches("\"added\":1").count(),
        1
    );

    let copy = machine.second_machine().unwrap();
    let restore = at(&copy, "restore", "k-1", &PATHS);
    json(restore.arg("--mode").arg("copy"));
    let modules = copy.work().join("packages/a/node_modules/lib");
    assert_eq!(fs::read_dir(&modules).unwrap().count(), 2);
}

#[test]
fn all_parts_of_a_restore_come_from_one_key() {
    let Some(machine) = machine() else { return };
    fill(&machine, "1");
    json(at(&machine, "save", "k-1", &PATHS));
    fill(&machine, "2");
    // The newer key has fewer paths; we do not fill in the missing ones from the older key.
    json(at(
        &machine,
        "save",
        "k-2",
        &["packages/a/node_modules", "packages/b/no*"],
    ));
    let other = machine.second_machine().unwrap();
    let restore = at(&other, "restore", "k-3", &PATHS).args(["--restore-key", "k-"]);
    let restored = json(restore);
    assert_eq!(results(&other, &restored).len(), 2, "{restored}");
    for cache in restored["caches"].as_array().unwrap() {
        assert_eq!(cache["matched_key"], "k-2", "{restored}");
        assert_eq!(cache["match"], "prefix", "{restored}");
    }
    assert!(!other.home().join(".npm").exists());
    // A key that has none of the paths is skipped.
    json(at(&machine, "save", "k-4", &["packages/a", "packages/b"]));
    let third = machine.second_machine().unwrap();
    let restore = at(&third, "restore", "k-5", &PATHS).args(["--restore-key", "k-"]);
    assert!(
        json(restore)
            .to_string()
            .contains("\"matched_key\":\"k-2\"")
    );
}

#[test]
fn a_path_is_no_part_of_the_key_of_one() {
    let Some(machine) = machine() else { return };
    write(&machine.work().join("here/file"), "1");
    machine.saved("k", &machine.work().join("here"));
    let there = machine.dir("there");
    machine.restored("k", &there);
    assert_eq!(read(&there.join("file")), "1");
    // But a key of one path does not match a key of several paths.
    let restore = at(&machine, "restore", "k", &["here", "gone"]);
    let missed = json(restore);
    assert_eq!(missed["caches"][0]["result"], "miss", "{missed}");
}

#[test]
fn keys_of_several_paths_in_the_other_commands() {
    let Some(machine) = machine() else { return };
    fill(&machine, "1");
    json(at(&machine, "save", "k-1", &PATHS));
    let printed = |args: &[&str]| {
        let command = machine.command(args).args(["--format", "json"]);
        command.run().success().json()
    };
    let paths = [
        "packages/a/node_modules",
        "packages/b/node_modules",
        "~/.npm",
    ];
    let listed = printed(&["list"]);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["keys"][0]["paths"], serde_json::json!(paths));
    let found = printed(&["lookup", "k-2", "--restore-key", "k-"]);
    assert_eq!(found["matched_key"], "k-1");
    assert_eq!(found["paths"], serde_json::json!(paths));
    let inspected = printed(&["inspect", "k-1"]);
    assert_eq!(inspected["paths"].as_array().unwrap().len(), 3);
    assert_eq!(inspected["paths"][2]["path"], "~/.npm", "{inspected}");
    assert_eq!(printed(&["check"])["findings"], serde_json::json!([]));
    assert_eq!(printed(&["check"])["keys"], 3);
    machine.run(["delete", "k-1"]).success();
    assert!(
        !objects(&remote_dir(&machine))
            .keys()
            .any(|name| name.starts_with("refs/"))
    );
    machine.run(["inspect", "k-1"]).expect_code(3);
}

#[test]
fn what_is_excluded_later_goes_from_the_cache() {
    let Some(machine) = machine() else { return };
    let dir = machine.work().join("deps");
    for file in ["keep", "secret/token", "a/b/x.log", "a/b/keep"] {
        write(&dir.join(file), file);
    }
    let has = |key: &str, file: &str| {
        let copy = machine.dir(&format!("copy-{}", fastrand::u64(..)));
        let restore = machine.restore(key, &copy).args(["--mode", "copy"]);
        restore.arg("--strict-errors").run().success();
        copy.join(file).exists()
    };
    json(at(&machine, "save", "plain", &["deps"]));
    assert!(has("plain", "secret/token"));
    let exclude = ["deps", "!secret", "!**/*.log"];
    // A directory that was never restored removes nothing by itself.
    json(at(&machine, "save", "plain", &exclude));
    // On a mount, the upper does not contain files that the job has not touched.
    json(at(&machine, "save", "mounted", &["deps"]));
    let mount = machine.dir("mount");
    machine.restored("mounted", &mount);
    write(&mount.join("secret/new"), "new");
    fs::rename(mount.join("a"), mount.join("moved")).unwrap();
    let saved = json(at(
        &machine,
        "save",
        "mounted",
        &["mount", "!secret", "!**/*.log"],
    ));
    assert_eq!(saved["result"], "saved", "{saved}");
    for (key, kept) in [("plain", "a/b/keep"), ("mounted", "moved/b/keep")] {
        assert!(has(key, "keep") && has(key, kept), "{key}");
        for gone in ["secret/token", "secret", "a/b/x.log", "moved/b/x.log"] {
            assert!(!has(key, gone), "{key}: {gone}");
        }
    }
    // The directories themselves are unchanged.
    assert!(mount.join("secret/token").exists() && mount.join("moved/b/x.log").exists());
    let again = json(at(
        &machine,
        "save",
        "mounted",
        &["mount", "!secret", "!**/*.log"],
    ));
    assert_eq!(again["result"], "unchanged", "{again}");
}

#[test]
fn patterns_of_keys_do_not_look_into_the_cached_paths() {
    let Some(machine) = machine() else { return };
    write(&machine.work().join("a/package-lock.json"), "1");
    let key = "k-hashFiles('**/package-lock.json')";
    let paths = ["*/node_modules", "~/.npm"];
    write(&machine.home().join(".npm/x"), "x");
    let before = json(at(&machine, "save", key, &paths));
    write(
        &machine.work().join("a/node_modules/b/package-lock.json"),
        "2",
    );
    let after = json(at(&machine, "save", key, &paths));
    assert_eq!(before["caches"][0]["key"], after["caches"][0]["key"]);
    // The same holds for a single plain path in any spelling.
    let one = json(at(&machine, "save", key, &["./a/node_modules"]));
    assert_eq!(one["key"], before["caches"][0]["key"], "{one}");
}

#[test]
fn several_paths_in_a_file() {
    let machine = Cachefs::new().unwrap();
    fill(&machine, "1");
    let file = r#"
        [cache.npm]
        key = "k"
        paths = ["packages/*/node_modules", "~/.npm", "!packages/old", "!*.log"]
        save-if = "missing"
        mode = "copy"
    "#;
    write(&machine.work().join("cachefs.toml"), file);
    let run = |machine: &Cachefs, command: &str| {
        let args = [command, "npm", "--strict-errors", "--format", "json"];
        json(machine.command(args))
    };
    let outcomes = |printed: &Value| -> Vec<String> {
        let all = results(&machine, printed);
        all.into_iter().map(|(_, result)| result).collect()
    };
    assert_eq!(outcomes(&run(&machine, "save")), ["saved"; 3]);
    assert_eq!(outcomes(&run(&machine, "save")), ["kept"; 3]);
    let other = machine.second_machine().unwrap();
    write(&other.work().join("cachefs.toml"), file);
    assert_eq!(outcomes(&run(&other, "restore")), ["copied"; 3]);
    assert_eq!(read(&other.home().join(".npm/blob")), "1");
    let modules = other.work().join("packages/b/node_modules");
    assert_eq!(read(&modules.join("lib/index.js")), "b 1");
    assert!(!modules.join("debug.log").exists());
}

#[test]
fn dangerous_and_useless_paths_are_refused() {
    let machine = Cachefs::new().unwrap();
    for command in ["save", "restore"] {
        for path in ["/", "~", "~/", "/*/../*", "a/[b/*"] {
            let output = at(&machine, command, "k", &[path]).run().expect_code(2);
            assert!(output.stderr().contains("hint: "), "{output}");
        }
        let only = at(&machine, command, "k", &["!x", "!y"])
            .run()
            .expect_code(2);
        assert!(only.stderr().contains("no path given"), "{only}");
    }
    let output = at(&machine, "save", "k", &["gone", "none*"]).run();
    let output = output.expect_code(2);
    assert!(
        output.stderr().contains("no directory matches gone, none*"),
        "{output}"
    );
}

/// On a fresh machine, we cannot know whether such a path is a name or a pattern.
#[test]
fn a_directory_called_like_a_pattern_comes_back_on_a_fresh_machine() {
    for mode in ["copy", "mount"] {
        if mode == "mount" && !can_mount() {
            continue;
        }
        let machine = Cachefs::new().unwrap();
        for name in ["{a,b}", "st*r", "q?x", "[", "**", "!excl", "[ab]", "d/*"] {
            write(&machine.work().join(name).join("f"), name);
            let saved = at(&machine, "save", "k", &[name]).arg("--override");
            saved.run().success();
            let other = machine.second_machine().unwrap();
            let restore = at(&other, "restore", "k", &[name]);
            restore.args(["--mode", mode]).run().success();
            assert_eq!(read(&other.work().join(name).join("f")), name, "{mode}");
            other.run(["umount", "--all"]);
            // The pattern `x*` must not restore the other path into a directory named `x*`.
            if name.contains('*') {
                let fresh = machine.second_machine().unwrap();
                let restore = at(&fresh, "restore", "k", &["x*"]);
                restore.args(["--mode", mode]).run().success();
                assert!(!fresh.work().join("x*").exists(), "{name}");
            }
        }
    }
}
