//! Caches at or above the working directory, over each other, and over the store itself.

use std::fs;
use std::path::Path;

use cachefs_tests::harness::{Cachefs, Invocation};

use crate::support::{Commands, clean, machine};

/// A machine with key `k`, which holds the file `old` and the directory `sub`.
fn saved_once() -> Option<Cachefs> {
    let machine = machine()?;
    let source = machine.dir("source");
    fs::create_dir(source.join("sub")).unwrap();
    fs::write(source.join("old"), "cached").unwrap();
    fs::write(source.join("sub/deep"), "deep").unwrap();
    clean(machine.save("k", &source).run()).success();
    Some(machine)
}

/// The content of a file in a copy of the key.
#[track_caller]
fn copied(machine: &Cachefs, key: &str, path: &str) -> String {
    let copy = machine.dir(&format!("copy-{key}-{}", path.replace('/', "-")));
    let restore = machine.restore(key, &copy).arg("--mode").arg("copy");
    clean(restore.run()).success();
    fs::read_to_string(copy.join(path)).unwrap_or_default()
}

fn exec(machine: &Cachefs, key: &str, path: &str, at: &Path, script: &str) -> Invocation {
    let words = [
        "exec", "--key", key, "--path", path, "--", "sh", "-c", script,
    ];
    machine.command(words).cwd(at).env("PWD", at)
}

#[test]
fn a_command_runs_inside_of_a_cache_at_or_above_its_working_directory() {
    let Some(machine) = saved_once() else { return };
    let job = machine.dir("job");
    let script = "cat old && cat \"$PWD/sub/deep\" && echo built > result";
    let run = exec(&machine, "k", ".", &job, script).run().success();
    assert_eq!(run.stdout(), "cacheddeep", "{run}");
    assert_eq!(copied(&machine, "k", "result"), "built\n");
    assert!(
        !job.join("result").exists(),
        "it was written below the mount"
    );
    assert_eq!(
        machine.sandbox().mounts().unwrap(),
        Vec::<std::path::PathBuf>::new()
    );

    let below = job.join("sub");
    fs::create_dir(&below).unwrap();
    let link = machine.work().join("link");
    std::os::unix::fs::symlink(&below, &link).unwrap();
    let script = "cat deep ../old && echo more > ../more";
    let run = exec(&machine, "k", "..", &below, script).run().success();
    assert_eq!(run.stdout(), "deepcached", "{run}");
    assert_eq!(copied(&machine, "k", "more"), "more\n");
    // The shell's own name for the directory, with a symlink.
    let run = exec(&machine, "k", "..", &below, "pwd").env("PWD", &link);
    let run = run.run().success();
    assert_eq!(run.stdout().trim_end(), link.to_str().unwrap(), "{run}");
}

#[test]
fn a_restore_over_the_working_directory_says_how_to_enter_it() {
    let Some(machine) = saved_once() else { return };
    let job = machine.dir("job");
    let metrics = ["--metrics-file", "metrics.json"];
    let restore = machine.restore("k", Path::new(".")).cwd(&job).args(metrics);
    let restored = restore.run().success().stderr_has("`cd .`");
    assert_eq!(restored.stderr().matches("`cd .`").count(), 1, "{restored}");
    // By its path, as a shell that has entered it sees it.
    assert!(job.join("metrics.json").exists());
    assert_eq!(fs::read_to_string(job.join("old")).unwrap(), "cached");
    // From inside the mount, no hint is needed.
    let again = machine
        .restore("k", Path::new("."))
        .cwd(&job)
        .run()
        .success();
    assert!(!again.stderr().contains("`cd .`"), "{again}");
    machine.umount(&job);
    let other = machine.restore("k", &machine.dir("other")).cwd(&job);
    assert!(!other.run().success().stderr().contains("`cd .`"));
}

#[test]
fn a_cache_that_a_later_mount_hides_is_neither_saved_nor_forgotten() {
    let Some(machine) = saved_once() else { return };
    let outer = machine.dir("outer");
    let inner = outer.join("inner");
    clean(machine.restore("k", &inner).run()).success();
    fs::write(inner.join("new"), "made").unwrap();
    clean(machine.restore("k", &outer).run())
        .success()
        .stderr_has("hides the caches at");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("shown"), "by the outer one").unwrap();
    for command in ["save", "restore"] {
        let hidden = machine.command([command, "--strict-errors", "--key", "k2"]);
        let hidden = hidden.arg("--path").arg(&inner).run();
        assert_ne!(hidden.code(), Some(0), "{hidden}");
        assert!(hidden.stderr().contains("is hidden"), "{hidden}");
    }
    machine
        .save("k2", &inner)
        .run()
        .expect_code(2)
        .stderr_has("nothing was saved");
    let refused = machine.command(["umount"]).arg(&inner).run();
    assert_ne!(refused.code(), Some(0), "{refused}");
    machine.umount(&outer);
    clean(machine.save("k2", &inner).run()).success();
    assert_eq!(copied(&machine, "k2", "new"), "made");
    clean(machine.restore("k", &outer).run()).success();
    // All of them, in any order.
    machine.command(["umount", "--all"]).run().success();
    assert_eq!(
        machine.sandbox().mounts().unwrap(),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn the_store_and_the_remote_are_never_part_of_a_cache() {
    let Some(machine) = saved_once() else { return };
    let store = machine.store();
    let above = store.parent().unwrap().to_owned();
    let remote = machine.remote().strip_prefix("file://").unwrap().to_owned();
    for path in [above, store.clone(), store.join("x"), remote.into()] {
        for command in ["save", "restore", "exec"] {
            let rest: &[&str] = match command {
                "exec" => &["--", "true"],
                _ => &[],
            };
            let refused = machine
                .command([command, "--key", "k", "--path"])
                .arg(&path)
                .args(rest)
                .run()
                .expect_code(2);
            let said = refused.stderr();
            assert!(
                said.contains("the local store") || said.contains("the remote"),
                "{said}"
            );
            assert!(said.contains("hint:"), "{said}");
        }
    }
    assert!(!store.join("x").exists());
}

#[test]
fn an_absolute_path_needs_no_working_directory() {
    let Some(machine) = saved_once() else { return };
    let path = machine.work().join("cache");
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$@\"";
    let in_deleted = |command: &str, path: &str| {
        let run = machine.command([command, "--key", "k", "--path", path]);
        run.under("/bin/sh", ["-c", script, "sh"]).run()
    };
    clean(in_deleted("restore", path.to_str().unwrap())).success();
    assert_eq!(fs::read_to_string(path.join("old")).unwrap(), "cached");
    clean(in_deleted("save", path.to_str().unwrap())).success();
    machine.umount(&path);
    in_deleted("restore", "cache")
        .expect_code(2)
        .stderr_has("has been deleted");
}

#[test]
fn a_name_with_brackets_comes_back_where_nothing_is() {
    let Some(machine) = saved_once() else { return };
    for paths in [&["app/[slug]"][..], &["app/[slug]", "other"]] {
        let key = format!("slug-{}", paths.len());
        let at = |command: &str| {
            let paths = paths.iter().flat_map(|path| ["--path", path]);
            let words = [command, "--key", &key].into_iter().chain(paths);
            clean(machine.command(words).run()).success()
        };
        let directory = machine.work().join("app/[slug]");
        fs::create_dir_all(machine.work().join("app/s")).unwrap();
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("page"), "of the slug").unwrap();
        at("save");
        fs::remove_dir_all(machine.work().join("app")).unwrap();
        let restored = at("restore");
        let page = fs::read_to_string(directory.join("page")).unwrap_or_default();
        assert_eq!(page, "of the slug", "{restored}");
        machine.umount(&directory);
        fs::remove_dir_all(machine.work().join("app")).unwrap();
    }
}

#[test]
fn a_store_in_the_workspace_is_not_searched() {
    let Some(machine) = machine() else { return };
    let store = machine.work().join("ci/store");
    let run = |words: &[&str]| {
        let run = machine.command(words.iter().copied());
        clean(run.env("CACHEFS_STORE", &store).run()).success()
    };
    let lock = machine.work().join("package-lock.json");
    fs::write(&lock, "1").unwrap();
    let modules = machine.work().join("web/node_modules");
    fs::create_dir_all(modules.join("y")).unwrap();
    fs::write(modules.join("y/package-lock.json"), "of y").unwrap();
    let template = "hashFiles('**/package-lock.json')";
    let key = |what: &str| {
        let printed = run(&[
            what,
            "--key",
            template,
            "--path",
            "**/node_modules",
            "--format",
            "json",
        ]);
        printed.json()["caches"][0]["key"].to_string()
    };
    let saved = key("save");
    fs::remove_dir_all(&modules).unwrap();
    assert_eq!(key("restore"), saved);
    assert!(modules.join("y/package-lock.json").exists());
    assert_eq!(
        key("save"),
        saved,
        "the mounted cache is in the store as well"
    );
    run(&["umount", "--all"]);
    run(&["daemon", "stop", "--force"]);
}
