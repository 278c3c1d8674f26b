//! Shared helpers: machines, the two main commands, and the content of the remote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use cachefs_tests::tree::TreeSpec;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A machine that can mount, with a directory as its remote; skips with `None` if the kernel or the
/// user does not support mounts.
pub(crate) fn machine() -> Option<Cachefs> {
    can_mount().then(|| Cachefs::new().unwrap())
}

/// Like [`machine`], with an S3 server as its remote.
pub(crate) fn machine_on(server: &S3Server) -> Option<Cachefs> {
    can_mount().then(|| {
        Cachefs::with_remote(format!("s3://{BUCKET}/caches"))
            .unwrap()
            .with_env("CACHEFS_ENDPOINT", server.endpoint())
            .with_env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .with_env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    })
}

/// A machine whose restores show everything that was saved, including device nodes and set-user-ID
/// bits.
pub(crate) fn trusting(machine: Cachefs) -> Cachefs {
    machine.with_env("CACHEFS_ALLOW_PRIVILEGED", "true")
}

pub(crate) fn can_mount() -> bool {
    let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        cachefs_skip::skip("mount", "mounting needs root and /dev/fuse");
    }
    can
}

/// Commands that nearly every test runs.
pub(crate) trait Commands {
    /// Builds a `restore` command.
    fn restore(&self, key: &str, path: &Path) -> Invocation;
    /// Builds a `save` command.
    fn save(&self, key: &str, path: &Path) -> Invocation;
    /// Runs `umount`, which must succeed.
    fn umount(&self, path: &Path);
    /// Runs `daemon stop`, which must succeed once no mount namespace of another test holds mounts
    /// of this machine. A namespace that is created while there are mounts keeps them until it
    /// ends.
    fn stop(&self);
    /// Restores as a mount, which must succeed; returns the JSON output.
    fn restored(&self, key: &str, path: &Path) -> Value;
    /// Saves, which must succeed; returns the JSON output.
    fn saved(&self, key: &str, path: &Path) -> Value;
    /// The JSON output of `stats`.
    fn stats(&self) -> Value;
    /// A new directory to mount at or to fill.
    fn dir(&self, name: &str) -> PathBuf;
    /// The daemon's log.
    fn daemon_log(&self) -> String;
}

impl Commands for Cachefs {
    fn restore(&self, key: &str, path: &Path) -> Invocation {
        self.command(["restore", "--key", key])
            .arg("--path")
            .arg(path)
    }

    fn save(&self, key: &str, path: &Path) -> Invocation {
        self.command(["save", "--key", key]).arg("--path").arg(path)
    }

    #[track_caller]
    fn umount(&self, path: &Path) {
        self.command(["umount"]).arg(path).run().success();
    }

    #[track_caller]
    fn stop(&self) {
        wait_for("the daemon's end", Duration::from_secs(60), || {
            let output = self.run(["daemon", "stop"]);
            output.code() == Some(0) || {
                drop(output.expect_code(2).stderr_has("the daemon serves"));
                false
            }
        });
    }

    #[track_caller]
    fn restored(&self, key: &str, path: &Path) -> Value {
        let restore = strict_json(self.restore(key, path));
        clean(restore.arg("--mode").arg("mount").run().success()).json()
    }

    #[track_caller]
    fn saved(&self, key: &str, path: &Path) -> Value {
        clean(strict_json(self.save(key, path)).run().success()).json()
    }

    #[track_caller]
    fn stats(&self) -> Value {
        self.run(["stats", "--format", "json"]).success().json()
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.work().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn daemon_log(&self) -> String {
        fs::read_to_string(self.store().join("daemon.log")).unwrap_or_default()
    }
}

/// Makes errors fatal and prints JSON.
pub(crate) fn strict_json(invocation: Invocation) -> Invocation {
    invocation
        .arg("--strict-errors")
        .arg("--format")
        .arg("json")
}

/// Asserts that the command did not panic.
#[track_caller]
pub(crate) fn clean(output: Output) -> Output {
    assert!(!output.stderr().contains("panicked"), "{output}");
    output
}

/// A few files of different sizes: 3 MB, half of it compressible.
pub(crate) fn sample() -> TreeSpec {
    let mut spec = TreeSpec::default();
    spec.dir("lib").dir("lib/inner").dir("docs");
    spec.file("lib/large", 2_000_000, 1)
        .file("lib/medium", 300_000, 2)
        .file("lib/inner/small", 4000, 3)
        .file("settings.xml", 139, 4)
        .symlink("latest", "lib/large");
    for number in 0..40 {
        spec.file(format!("docs/{number}"), 10_000 + number * 50, 100 + number);
    }
    spec
}

/// Builds [`sample`] in a new directory of the machine.
pub(crate) fn sample_dir(machine: &Cachefs) -> PathBuf {
    let dir = machine.dir("sample");
    sample().build(&dir).unwrap();
    dir
}

/// The objects of a directory remote, with their sizes.
pub(crate) fn objects(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                pending.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(root).unwrap().to_owned();
                found.insert(name.to_string_lossy().into_owned(), metadata.len());
            }
        }
    }
    found
}

/// The directory of a `file://` remote.
pub(crate) fn remote_dir(machine: &Cachefs) -> PathBuf {
    machine.remote().strip_prefix("file://").unwrap().into()
}

/// The number of packs in a directory remote.
pub(crate) fn packs(root: &Path) -> usize {
    let is_pack = |name: &&String| name.split('/').any(|part| part == "packs");
    objects(root).keys().filter(is_pack).count()
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < limit,
            "{what} did not happen within {limit:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

pub(crate) fn is_gone(process: u32) -> bool {
    !Path::new(&format!("/proc/{process}")).exists()
}

/// Kills both daemon processes, and waits until they are gone.
pub(crate) fn kill_daemon(machine: &Cachefs) -> u32 {
    let daemon = machine.daemon().expect("a daemon");
    // The supervisor first, because it would start another worker.
    let processes = [daemon, machine.worker().expect("a worker")];
    for process in processes {
        kill_process(pid(process), Signal::KILL).unwrap();
    }
    wait_for("the daemon's end", Duration::from_secs(5), || {
        processes.into_iter().all(is_gone)
    });
    daemon
}

/// Kills the daemon's worker, and waits until the supervisor has started another one.
pub(crate) fn kill_worker(machine: &Cachefs) {
    let worker = machine.worker().expect("a worker");
    kill_process(pid(worker), Signal::KILL).unwrap();
    wait_for("another worker", Duration::from_secs(5), || {
        machine.worker().is_some_and(|another| another != worker)
    });
}
