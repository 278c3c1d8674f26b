//! `exec` runs a command between a restore and a save.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cachefs_tests::harness::{Cachefs, Invocation};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Commands, clean, machine, wait_for};

/// Upper limit for operations that take milliseconds.
const SOON: Duration = Duration::from_secs(60);

/// `exec` of a shell command, with a cache of the key at `cache` in the workspace.
fn exec(machine: &Cachefs, key: &str, options: &[&str], script: &str) -> Invocation {
    let words = ["exec", "--key", key, "--path", "cache"];
    let script = ["--", "sh", "-c", script];
    machine.command(words.iter().chain(options).chain(&script))
}

fn mounts(machine: &Cachefs) -> usize {
    let work = machine.work();
    let all = machine.sandbox().mounts().unwrap();
    all.iter().filter(|mount| mount.starts_with(&work)).count()
}

/// Lists the files that a restore of the key shows.
fn held(machine: &Cachefs, key: &str) -> Vec<String> {
    let other = machine.second_machine().unwrap();
    let path = other.dir("look");
    other
        .restore(key, &path)
        .arg("--mode")
        .arg("copy")
        .run()
        .success();
    let names = fs::read_dir(path).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn it_restores_runs_saves_and_unmounts() {
    let Some(machine) = machine() else { return };
    let script = "cat; ls cache; echo one > cache/one";
    let first = exec(&machine, "k", &[], script)
        .stdin("in\n")
        .run()
        .success();
    assert_eq!(first.stdout(), "in\n", "{first}");
    assert_eq!(mounts(&machine), 0);
    fs::remove_dir_all(machine.work().join("cache")).unwrap();

    let second = exec(&machine, "k", &[], "ls cache; echo two > cache/two");
    let second = clean(second.run()).success().stderr_has("hit k");
    assert_eq!(second.stdout(), "one\n", "{second}");
    assert_eq!(mounts(&machine), 0);
    assert_eq!(held(&machine, "k"), ["one", "two"]);
}

#[test]
fn the_exit_status_is_the_commands_and_decides_on_the_save() {
    let Some(machine) = machine() else { return };
    let failing = "echo x > cache/x; exit 7";
    let output = exec(&machine, "k", &[], failing).run().expect_code(7);
    output.stderr_has("not saved: the command exited with code 7");
    assert_eq!(held(&machine, "k"), [""; 0]);
    exec(&machine, "k", &["--save-on", "always"], failing)
        .run()
        .expect_code(7);
    assert_eq!(held(&machine, "k"), ["x"]);
    exec(&machine, "k", &["--save-on", "never"], "echo y > cache/y")
        .run()
        .success();
    assert_eq!(held(&machine, "k"), ["x"]);

    exec(&machine, "k", &[], "kill -KILL $$")
        .run()
        .expect_code(137);
    let missing = machine.command(["exec", "--key", "k", "--path", "cache", "--", "./missing"]);
    missing
        .run()
        .expect_code(127)
        .stderr_has("`./missing` could not start");
    assert_eq!(mounts(&machine), 0);
}

#[test]
fn it_leaves_mounted_what_it_is_told_to_and_what_was_there_before() {
    let Some(machine) = machine() else { return };
    let path = machine.dir("cache");
    exec(&machine, "k", &[], "echo x > cache/x").run().success();
    exec(&machine, "k", &["--keep-mounted"], "true")
        .run()
        .success();
    assert_eq!(mounts(&machine), 1);
    // An earlier command mounted it and continues to use it.
    exec(&machine, "k", &["--save-on", "never"], "test -e cache/x")
        .run()
        .success();
    assert_eq!(mounts(&machine), 1);
    machine.umount(&path);
}

#[test]
fn a_cache_that_fails_does_not_keep_the_command_from_running() {
    let Some(machine) = machine() else { return };
    let nowhere = |options: &[&str]| {
        exec(
            &machine,
            "k",
            options,
            "echo ran; mkdir -p cache; echo > cache/x",
        )
        .env("CACHEFS_REMOTE", "s3://bucket/caches")
        .env("CACHEFS_ENDPOINT", "http://127.0.0.1:1")
        .env("CACHEFS_TIMEOUT", "500ms")
        .env("AWS_ACCESS_KEY_ID", "a")
        .env("AWS_SECRET_ACCESS_KEY", "b")
    };
    let output = clean(nowhere(&[]).run()).success().stderr_has("warning: ");
    assert_eq!(output.stdout(), "ran\n");
    let output = nowhere(&["--strict-errors"]).run().expect_code(4);
    assert_eq!(output.stdout(), "ran\n");
}

#[test]
fn signals_reach_the_command() {
    let Some(machine) = machine() else { return };
    let script =
        "trap 'echo got it > got; exit 5' TERM; echo > ready; while :; do sleep 0.01; done";
    let mut running = exec(&machine, "k", &[], script)
        .spawn(Stdio::null(), Stdio::null())
        .unwrap();
    let work = machine.work();
    wait_for("the command", SOON, || work.join("ready").exists());
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(5));
    assert_eq!(fs::read_to_string(work.join("got")).unwrap(), "got it\n");
    assert_eq!(mounts(&machine), 0);
}

/// Kills the process whose ID is in a file.
fn end(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let pid = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn what_a_killed_one_leaves_does_not_stand_in_the_way() {
    let Some(machine) = machine() else { return };
    exec(&machine, "a", &[], "echo a > cache/a").run().success();
    exec(&machine, "b", &[], "rm -f cache/a; echo b > cache/b")
        .run()
        .success();
    fs::remove_dir_all(machine.work().join("cache")).unwrap();
    // The shell execs the program, which keeps the PID that the shell recorded.
    let script = "echo unsaved > cache/unsaved; echo $$ > pid.new; mv pid.new pid; exec sleep 1000";
    let mut running = exec(&machine, "a", &[], script)
        .spawn(Stdio::null(), Stdio::null())
        .unwrap();
    let pid: PathBuf = machine.work().join("pid");
    wait_for("the command", SOON, || pid.exists());
    running.kill().unwrap();
    running.wait().unwrap();
    end(&pid);
    assert_eq!(mounts(&machine), 1);

    let next = exec(&machine, "b", &[], "ls cache").run().success();
    assert_eq!(next.stdout(), "b\n", "{next}");
    next.stderr_has("left when it was killed; 1 unsaved change is in ");
    // The change is not saved, but it is kept.
    let kept = machine.store().join("unsaved");
    let kept: Vec<_> = fs::read_dir(kept).unwrap().map(|it| it.unwrap()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let unsaved = fs::read_to_string(kept[0].path().join("unsaved")).unwrap();
    assert_eq!(unsaved, "unsaved\n");
    assert_eq!(mounts(&machine), 0);
    assert_eq!(held(&machine, "a"), ["a"]);
    // A mount of an earlier `restore` does not count as left over from `exec`.
    machine.restored("b", &machine.work().join("cache"));
    fs::remove_file(&pid).unwrap();
    let script = "echo $$ > pid.new; mv pid.new pid; exec sleep 1000";
    let mut running = exec(&machine, "b", &[], script)
        .spawn(Stdio::null(), Stdio::null())
        .unwrap();
    wait_for("the command", SOON, || pid.exists());
    running.kill().unwrap();
    running.wait().unwrap();
    end(&pid);
    exec(&machine, "b", &["--save-on", "never"], "true")
        .run()
        .success();
    assert_eq!(mounts(&machine), 1);
    machine.umount(&machine.work().join("cache"));
    // A second run finds nothing left to do.
    let again = exec(&machine, "b", &[], "true").run().success();
    assert!(!again.stderr().contains("killed"), "{again}");
}

#[test]
fn it_takes_what_is_detected_or_what_a_file_says() {
    let Some(machine) = machine() else { return };
    fs::write(machine.work().join("go.mod"), "module demo\n").unwrap();
    let run = |words: &[&str], script: &str| {
        let command = ["--", "sh", "-c", script];
        machine
            .command(["exec"].iter().chain(words).chain(&command))
            .env("GOMODCACHE", machine.home().join("modules"))
            .env("GOCACHE", machine.home().join("build"))
            .run()
            .success()
    };
    let fill = "echo m > $GOMODCACHE/m; test -d $GOCACHE";
    run(&["--auto"], fill).stderr_has("go-build: nothing to save");
    fs::remove_dir_all(machine.home().join("modules")).unwrap();

    let toml = machine
        .command(["detect", "--toml"])
        .env("GOMODCACHE", machine.home().join("modules"))
        .env("GOCACHE", machine.home().join("build"))
        .run()
        .success();
    fs::write(machine.work().join("cachefs.toml"), toml.stdout()).unwrap();
    // The key from the file equals the key of the detected cache.
    run(&["--cache", "go"], "cat $GOMODCACHE/m").stdout_has("m\n");
    run(&[], "cat $GOMODCACHE/m").stdout_has("m\n");
    assert_eq!(mounts(&machine), 0);
}
