//! `cachefs.toml`: precedence of values, several caches in one command, and stacks.

use std::fs;
use std::path::Path;

use cachefs_tests::harness::{Cachefs, Invocation};
use serde_json::Value;

use crate::support::{Commands, clean, machine};

/// Two caches, one mounted and one copied, below a directory of sources.
const PROJECT: &str = r#"
[cache.libs]
key = 'libs-{{ checksum "lock" }}'
restore-keys = ["libs-"]
path = "libs"
mode = "mount"

[cache.tools]
key = "tools-1"
paths = ["out/tools"]
mode = "copy"
"#;

/// A stack of three layers, with a job's own layer on top.
const STACK: &str = r#"
[cache.libs]
key = "libs-job"
path = "libs"
mode = "mount"
[[cache.libs.layer]]
name = "base"
key = '{{ env "BASE" }}'
[[cache.libs.layer]]
name = "dependencies"
key = "libs-dependencies"
[[cache.libs.layer]]
name = "branch"
key = "libs-branch"
"#;

/// A machine with a project in its working directory.
fn project(text: &str) -> Option<Cachefs> {
    let machine = machine()?.with_env("BASE", "libs-base-1");
    fs::create_dir(machine.work().join(".git")).unwrap();
    fs::write(machine.work().join("cachefs.toml"), text).unwrap();
    fs::write(machine.work().join("lock"), "1").unwrap();
    machine.dir("libs");
    machine.dir("out/tools");
    Some(machine)
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a command that must succeed, and returns the objects of its caches.
#[track_caller]
fn caches(invocation: Invocation) -> Vec<Value> {
    let output = invocation
        .arg("--strict-errors")
        .arg("--format")
        .arg("json");
    let printed = clean(output.run().success()).json();
    assert_eq!(printed["version"], 1);
    printed["caches"].as_array().unwrap().clone()
}

#[track_caller]
fn setting(machine: &Cachefs, invocation: Invocation, name: &str) -> Value {
    let printed = invocation
        .arg("--format")
        .arg("json")
        .run()
        .success()
        .json();
    let settings = printed["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["name"] == name);
    let mut found = found.unwrap().clone();
    // The location of the machine differs between runs.
    if let Some(file) = found["file"].as_str() {
        let root = machine.work().parent().unwrap().display().to_string();
        found["file"] = file.replace(&root, "").into();
    }
    found
}

#[test]
fn one_command_saves_and_restores_all_caches_of_a_project() {
    let Some(machine) = project(PROJECT) else {
        return;
    };
    let (libs, tools) = (
        machine.work().join("libs"),
        machine.work().join("out/tools"),
    );
    write(&libs, "a.jar", "a");
    write(&tools, "cc", "cc");
    let saved = caches(machine.command(["save"]));
    assert_eq!(saved.len(), 2);
    assert_eq!(
        (&saved[0]["cache"], &saved[0]["result"]),
        (&"libs".into(), &"saved".into())
    );
    assert_eq!(
        (&saved[1]["cache"], &saved[1]["key"]),
        (&"tools".into(), &"tools-1".into())
    );

    fs::remove_file(libs.join("a.jar")).unwrap();
    fs::remove_file(tools.join("cc")).unwrap();
    fs::write(machine.work().join("lock"), "2").unwrap();
    // Subdirectories resolve to the same project.
    let output = clean(machine.command(["restore"]).cwd(&tools).run().success());
    assert_eq!(fs::read_to_string(libs.join("a.jar")).unwrap(), "a");
    assert_eq!(fs::read_to_string(tools.join("cc")).unwrap(), "cc");
    let told = output.stderr();
    let told: Vec<_> = told.lines().collect();
    let lines = |name: &str| told.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(
        (
            lines("libs: partial hit libs-"),
            lines("tools: hit tools-1")
        ),
        (1, 1),
        "{output}"
    );
    let mounted = machine.stats()["restored"].as_array().unwrap().len();
    assert_eq!(mounted, 2);
}

#[test]
fn caches_are_chosen_by_name_and_flags_count_before_the_file() {
    let Some(machine) = project(PROJECT) else {
        return;
    };
    let tools = machine.work().join("out/tools");
    write(&tools, "cc", "cc");
    let saved = caches(machine.command(["save", "tools"]));
    assert_eq!(saved.len(), 1);
    let restored = caches(machine.command(["restore", "tools", "--mode", "mount"]));
    assert_eq!(restored[0]["result"], "mounted");
    machine
        .run(["restore", "tool"])
        .expect_code(2)
        .stderr_has("did you mean `tools`?");
    // `--key` defines a cache of its own, so the caches in the file do not apply.
    let alone = machine.restored("tools-1", &machine.dir("elsewhere"));
    assert_eq!(alone["result"], "mounted");
    assert!(alone.get("caches").is_none() && alone.get("cache").is_none());
    machine
        .run(["restore", "tools", "--key", "k"])
        .expect_code(2);
}

#[test]
fn what_fails_in_one_cache_leaves_the_others_alone() {
    let Some(machine) = project(PROJECT) else {
        return;
    };
    write(&machine.work().join("out/tools"), "cc", "cc");
    fs::remove_file(machine.work().join("lock")).unwrap();
    let output = machine.command(["save", "--format", "json"]).run();
    let output = clean(output.expect_code(2)).stderr_has("libs: error: no file `lock`");
    let printed = output.json();
    assert_eq!(printed["caches"][0]["result"], "failed");
    assert_eq!(printed["caches"][0]["kind"], "usage");
    assert_eq!(printed["caches"][1]["result"], "saved");
    // Of several exit codes, the worst one wins.
    let output = machine.run(["restore", "--fail-on-cache-miss", "--mode", "copy"]);
    let output = output.expect_code(2);
    assert!(output.stderr().contains("tools: hit tools-1"), "{output}");
    fs::write(machine.work().join("lock"), "3").unwrap();
    machine
        .run(["restore", "--fail-on-cache-miss", "--mode", "copy"])
        .expect_code(3);
}

#[test]
fn a_cache_in_the_path_of_another_is_mounted_over_it() {
    let text = "[cache.inner]\nkey = 'inner'\npath = 'libs/inner'\nmode = 'mount'\n\
                [cache.outer]\nkey = 'outer'\npath = 'libs'\nmode = 'mount'\n";
    let Some(machine) = project(text) else { return };
    let (outer, inner) = (machine.dir("filled"), machine.dir("libs/inner"));
    write(&outer, "out", "out");
    write(&inner, "in", "in");
    machine.saved("outer", &outer);
    machine.saved("inner", &inner);
    fs::remove_file(inner.join("in")).unwrap();
    assert_eq!(caches(machine.command(["restore"])).len(), 2);
    assert_eq!(names(&machine.work().join("libs")), ["inner", "out"]);
    assert_eq!(names(&inner), ["in"]);
}

#[test]
fn each_cache_counts_its_own_requests_only() {
    let cache = |n| format!("[cache.c{n}]\nkey = 'c{n}'\npath = 'c{n}'\nmode = 'mount'\n");
    let Some(machine) = project(&(0..6).map(cache).collect::<String>()) else {
        return;
    };
    for n in 0..6 {
        write(&machine.dir(&format!("c{n}")), "file", &n.to_string());
    }
    caches(machine.command(["save"]));
    for restored in caches(machine.command(["restore"])) {
        assert_eq!(restored["result"], "mounted");
        // The head, the listing and the layer.
        assert_eq!(restored["requests"]["list"], 1, "{restored}");
        assert!(
            restored["requests"]["get"].as_u64() <= Some(2),
            "{restored}"
        );
    }
}

#[test]
fn nearer_values_count_and_tell_where_they_are_from() {
    let Some(machine) = project("prefetch = 'none'\nscope = 'project'\n") else {
        return;
    };
    let config = || machine.command(["config"]);
    let origin = |invocation: Invocation, name: &str| {
        let value = setting(&machine, invocation, name);
        format!(
            "{} {} {}{}",
            value["values"][0].as_str().unwrap_or("-"),
            value["origin"].as_str().unwrap(),
            value["file"].as_str().unwrap_or(""),
            value["variable"].as_str().unwrap_or(""),
        )
    };
    assert_eq!(origin(config(), "timeout"), "- default ");
    let user = machine.home().join(".config/cachefs/config.toml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    fs::write(
        &user,
        "timeout = '9s'\nscope = 'user'\ncache-limit = '1G'\n",
    )
    .unwrap();
    let home = machine.home();
    let home = home.strip_prefix(machine.work().parent().unwrap()).unwrap();
    let user = format!("/{}/.config/cachefs/config.toml", home.display());
    assert_eq!(origin(config(), "timeout"), format!("9s file {user}"));
    let work = machine.work();
    let file = format!("/{}/cachefs.toml", work.file_name().unwrap().display());
    assert_eq!(origin(config(), "scope"), format!("project file {file}"));
    let environment = config().env("CACHEFS_SCOPE", "env");
    assert_eq!(
        origin(environment.clone(), "scope"),
        "env environment CACHEFS_SCOPE"
    );
    assert_eq!(
        origin(environment.arg("--scope").arg("flag"), "scope"),
        "flag flag "
    );
    assert_eq!(origin(config(), "prefetch"), format!("none file {file}"));
    assert_eq!(origin(config().arg("--no-config"), "scope"), "- default ");

    // The command uses the values that it reports.
    let dir = machine.dir("libs");
    write(&dir, "a", "a");
    assert_eq!(machine.saved("k", &dir)["scope"], "project");
    let named = machine.work().join("other.toml");
    fs::write(&named, "scope = 'named'\n").unwrap();
    let save = machine.save("k", &dir).env("CACHEFS_CONFIG", "other.toml");
    let printed = save.arg("--format").arg("json").run().success().json();
    assert_eq!(printed["scope"], "named");
}

#[test]
fn a_fault_in_a_file_ends_every_command_and_is_pointed_at() {
    let Some(machine) = project("[cache.libs]\nkey = 'k'\npth = 'libs'\n") else {
        return;
    };
    let output = machine.run(["list"]).expect_code(2);
    let told = output.stderr();
    assert!(
        told.contains("cachefs.toml:3:1: unknown setting `pth` of a cache"),
        "{output}"
    );
    assert!(told.contains("pth = 'libs'\n^^^\n"), "{output}");
    assert!(told.contains("did you mean `paths`?"), "{output}");
    machine.run(["list", "--no-config"]).success();
    machine
        .run(["--config", "none.toml", "list"])
        .expect_code(2);
}

#[test]
fn a_project_cannot_send_what_is_for_one_remote_to_another_server() {
    let Some(machine) = project("endpoint = 'http://127.0.0.1:9'\n") else {
        return;
    };
    let list = machine.command(["list"]);
    let list = list
        .env("CACHEFS_REMOTE", "s3://bucket/p")
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("CACHEFS_ENDPOINT", "http://127.0.0.1:7")
        .env("CACHEFS_TIMEOUT", "1s");
    let output = list.run().expect_code(4).stderr_has("`endpoint` at ");
    assert!(!output.stderr().contains("127.0.0.1:9"), "{output}");
    // A project may set the endpoint together with its own remote; a note names the file.
    let (work, remote) = (machine.work(), machine.sandbox().path().join("own"));
    let text = format!("remote = 'file://{}'\n", remote.display());
    fs::write(work.join("cachefs.toml"), text).unwrap();
    let dir = machine.dir("libs");
    write(&dir, "a", "a");
    let save = machine.save("k", &dir).without_env("CACHEFS_REMOTE");
    save.run()
        .success()
        .stderr_has("note: the remote is file://");
    assert!(remote.exists());
}

/// Restores the stack up to a layer, changes it, saves it as that layer, and unmounts it.
#[track_caller]
fn layer(machine: &Cachefs, layer: Option<&str>, change: impl FnOnce(&Path)) {
    let libs = machine.work().join("libs");
    let with = |command: &str| {
        let invocation = machine.command([command]);
        match layer {
            Some(layer) => invocation.arg("--layer").arg(layer),
            None => invocation,
        }
    };
    let restored = caches(with("restore"));
    // The first job finds no key and fills a plain directory.
    let is_mounted = restored[0]["result"] == "mounted";
    change(&libs);
    assert_eq!(caches(with("save"))[0]["result"], "saved");
    if is_mounted {
        machine.umount(&libs);
    } else {
        fs::remove_dir_all(&libs).unwrap();
        fs::create_dir(&libs).unwrap();
    }
}

#[test]
fn a_stack_is_saved_layer_by_layer_and_restored_as_one() {
    let Some(machine) = project(STACK) else {
        return;
    };
    let libs = machine.work().join("libs");
    layer(&machine, Some("base"), |libs| {
        for name in ["base", "replaced", "removed"] {
            write(libs, name, "base");
        }
    });
    layer(&machine, Some("dependencies"), |libs| {
        assert_eq!(names(libs), ["base", "removed", "replaced"]);
        write(libs, "dependency", "1");
        write(libs, "replaced", "dependencies");
        fs::remove_file(libs.join("removed")).unwrap();
    });
    layer(&machine, Some("branch"), |libs| write(libs, "branch", "1"));
    layer(&machine, None, |libs| write(libs, "job", "1"));

    let restored = caches(machine.command(["restore"]));
    assert_eq!(restored[0]["layers"], 4);
    assert_eq!(
        names(&libs),
        ["base", "branch", "dependency", "job", "replaced"]
    );
    assert_eq!(
        fs::read_to_string(libs.join("replaced")).unwrap(),
        "dependencies"
    );
    // A directory that was restored as the whole stack must not be saved as one of its layers.
    machine
        .run(["save", "--layer", "base"])
        .expect_code(2)
        .stderr_has("was restored from key libs-job, not from that of layer base");
    machine
        .run(["restore", "--layer", "roof"])
        .expect_code(2)
        .stderr_has("`roof`");
    machine.umount(&libs);

    // The base on its own is unchanged.
    caches(machine.command(["restore", "--layer", "base"]));
    assert_eq!(names(&libs), ["base", "removed", "replaced"]);
}

#[test]
fn a_missing_layer_is_left_out_and_told() {
    let Some(machine) = project(STACK) else {
        return;
    };
    let libs = machine.work().join("libs");
    layer(&machine, Some("base"), |libs| write(libs, "base", "1"));
    layer(&machine, Some("branch"), |libs| write(libs, "branch", "1"));
    let output = clean(machine.command(["restore"]).run().success());
    let missing = "libs: warning: skipped the missing layer dependencies: \
                   no cache has the key libs-dependencies";
    assert!(output.stderr().contains(missing), "{output}");
    assert!(
        output
            .stderr()
            .contains("libs: miss libs-job, lower layers found"),
        "{output}"
    );
    assert_eq!(names(&libs), ["base", "branch"]);
}

#[test]
fn a_base_that_was_built_anew_lies_below_what_was_made_with_the_old_one() {
    let Some(machine) = project(STACK) else {
        return;
    };
    let libs = machine.work().join("libs");
    layer(&machine, Some("base"), |libs| {
        write(libs, "version", "1");
        write(libs, "only-in-1", "1");
    });
    layer(&machine, Some("dependencies"), |libs| {
        write(libs, "dependency", "1")
    });
    layer(&machine, None, |libs| write(libs, "job", "1"));
    let machine = machine.with_env("BASE", "libs-base-2");
    layer(&machine, Some("base"), |libs| {
        assert_eq!(names(libs), Vec::<String>::new());
        write(libs, "version", "2");
    });
    let restored = caches(machine.command(["restore"]));
    assert_eq!(restored[0]["layers"], 3);
    assert_eq!(names(&libs), ["dependency", "job", "version"]);
    assert_eq!(fs::read_to_string(libs.join("version")).unwrap(), "2");
}

#[test]
fn flags_make_the_same_stacks() {
    let Some(machine) = machine() else { return };
    let libs = machine.dir("libs");
    write(&libs, "base", "1");
    let save = |key: &str, role: &str| {
        let save = machine.save(key, &libs).arg("--layer").arg(role);
        save.arg("--strict-errors").run().success();
    };
    save("b-1", "base");
    fs::remove_file(libs.join("base")).unwrap();
    let restore = |layers: &[&str]| {
        let restore = machine.command(["restore", "--mode", "mount", "--path"]);
        let restore = restore.arg(&libs).arg("--strict-errors");
        let flags = layers.iter().flat_map(|layer| ["--layer", layer]);
        let restore = flags.fold(restore, Invocation::arg);
        clean(restore.run().success());
    };
    restore(&["base=b-1", "deps=d-1"]);
    write(&libs, "dep", "1");
    save("d-1", "deps");
    machine.umount(&libs);
    write(&machine.dir("new"), "new base", "2");
    let new = machine.save("b-2", &machine.dir("new"));
    new.arg("--layer").arg("base").run().success();
    restore(&["base=b-2", "deps=d-1"]);
    assert_eq!(names(&libs), ["dep", "new base"]);
}
