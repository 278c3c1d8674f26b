//! The access that a client of a share has, and its limits.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefs::sys::{fdpass, socket};
use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::s3::{BUCKET, S3Server, SECRET_KEY};
use cachefs_tests::tree::{CompareOptions, assert_same};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Commands, clean, machine, machine_on, sample_dir, strict_json, wait_for};

/// A host with caches in three scopes, and a job that gets only a socket of the host.
struct Host {
    host: Cachefs,
    /// A separate machine for the job, with only the socket.
    guest: Cachefs,
    socket: PathBuf,
    saved: PathBuf,
    _server: S3Server,
}

impl Host {
    fn new() -> Option<Self> {
        let server = S3Server::start().unwrap();
        let host = machine_on(&server)?;
        let saved = sample_dir(&host);
        for (scope, key) in [
            ("branch/main", "base"),
            ("pr/7", "mine"),
            ("pr/8", "theirs"),
        ] {
            let save = strict_json(host.save(key, &saved)).args(["--scope", scope]);
            clean(save.run().success());
            fs::write(saved.join(scope.replace('/', "-")), scope).unwrap();
        }
        let guest = machine()?;
        let socket = guest.work().join("daemon.sock");
        Some(Self {
            host,
            guest,
            socket,
            saved,
            _server: server,
        })
    }

    fn share(&self, more: &[&str]) -> Invocation {
        let share = self.host.command(["daemon", "share"]).arg(&self.socket);
        let share = share.args(["--scope", "pr/7", "--fallback-scope", "branch/main"]);
        share.args(more)
    }

    /// A command of the job, without the remote or credentials.
    fn job(&self, args: &[&str]) -> Invocation {
        let command = self.guest.command(args).without_env("CACHEFS_REMOTE");
        command.env("CACHEFS_DAEMON", &self.socket)
    }

    fn restore(&self, key: &str, path: &Path, more: &[&str]) -> Invocation {
        let restore = self.job(&["restore", "--key", key, "--mode", "mount"]);
        restore.arg("--path").arg(path).args(more)
    }

    #[track_caller]
    fn restored(&self, key: &str, path: &Path) {
        let restored = strict_json(self.restore(key, path, &[])).run();
        assert_eq!(clean(restored).success().json()["result"], "mounted");
    }

    #[track_caller]
    fn unmount(&self, path: &Path) {
        self.job(&["umount"]).arg(path).run().success();
    }
}

/// Sends a raw request, as a client that ignores our protocol's rules would.
fn raw(socket: &Path, request: &Value) -> Value {
    let stream = socket::connect_private(socket).unwrap();
    let envelope = json!({ "version": cachefs::VERSION, "request": request });
    let header = serde_json::to_vec(&envelope).unwrap();
    match fdpass::send_frame(&stream, &header, &[], &[]) {
        // The daemon answers and closes at once if it does not admit the client.
        Ok(()) | Err(fdpass::FrameError::PeerClosed) => {}
        Err(error) => panic!("{error}"),
    }
    let answer = fdpass::receive_frame(&stream).unwrap().expect("an answer");
    serde_json::from_slice(&answer.header).unwrap()
}

/// Like [`raw`], as another user.
fn raw_as(uid: u32, socket: &Path, request: &Value) -> Value {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            // SAFETY: the raw call changes only this thread, which ends after the answer.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
            assert_eq!(changed, 0);
            raw(socket, request)
        });
        asking.join().unwrap()
    })
}

#[test]
fn a_job_restores_its_scopes_without_credentials() {
    let Some(it) = Host::new() else { return };
    let shared = it.share(&[]).run().success();
    let said = format!("restores from scope pr/7 and branch/main of s3://{BUCKET}/caches");
    let shared = shared.stderr_has(&said);
    assert!(!shared.stderr().contains(SECRET_KEY));
    assert_eq!(fs::metadata(&it.socket).unwrap().mode() & 0o777, 0o600);

    // The job's own scope first, then the others of the share. We read every byte.
    let (mine, base) = (it.guest.dir("mine"), it.guest.dir("base"));
    it.restored("mine", &mine);
    it.restored("base", &base);
    assert!(mine.join("branch-main").exists() && !base.join("branch-main").exists());
    it.unmount(&base);
    it.host.restored_in("branch/main", "base", &base);
    let options = CompareOptions {
        ignore: ["branch-main", "pr-7", "pr-8"].map(PathBuf::from).into(),
        ignore_dir_mtimes: true,
        ..CompareOptions::default()
    };
    assert_same(&it.saved, &base, &options);
    it.host.umount(&base);

    // The job writes to its own store, and has no daemon.
    fs::write(mine.join("new"), "new").unwrap();
    assert_eq!(it.guest.daemon(), None);
    wait_for(
        "the end of the other views",
        Duration::from_secs(20),
        || it.host.stats()["daemon"]["views"].as_array().unwrap().len() == 1,
    );
    let status = it.job(&["daemon", "status"]).run().success();
    drop(status.stdout_has(&said));
    it.unmount(&mine);
    let miss = it.restore("nothing", &mine, &[]).run().success();
    drop(clean(miss).stderr_has("nothing"));
}

#[test]
fn a_job_gets_nothing_else() {
    let Some(it) = Host::new() else { return };
    it.share(&[]).run().success();
    let (mount, theirs) = (it.guest.dir("mount"), it.host.dir("theirs"));
    let restore = it.host.restore("theirs", &theirs).args(["--scope", "pr/8"]);
    restore.run().success();
    let refused = |output: Output, what: &str| {
        let output = clean(output).expect_code(2).stderr_has(what);
        let output = output.stderr_has("pr/7 and branch/main");
        assert!(!output.stderr().contains("theirs-"), "{output}");
    };
    let other = it.restore("theirs", &mount, &["--scope", "pr/8"]).run();
    refused(other, "does not include scope pr/8");
    let other = it.restore("theirs", &mount, &["--fallback-scope", "pr/8"]);
    refused(other.run(), "does not include scope pr/8");
    let elsewhere = format!("s3://{BUCKET}/elsewhere");
    let other = it.restore("mine", &mount, &["--remote", &elsewhere]).run();
    refused(other, "does not include");
    // Restoring several paths is refused as well.
    let other = it.job(&["restore", "--key", "theirs", "--scope", "pr/8"]);
    let other = other.args(["--path", "a", "--path", "b"]);
    refused(other.run(), "does not include scope pr/8");
    assert!(fs::read_dir(&mount).unwrap().next().is_none());

    let layers: Value = it
        .host
        .run(["inspect", "theirs", "--scope", "pr/8", "--format", "json"])
        .success()
        .json()["layers"]
        .clone();
    let open = |layers: &Value| {
        json!({ "op": "open", "layers": layers, "deadline_ms": null, "prefetch": "none",
            "form": "tree", "trace": true, "privileged": true,
            "remote": { "url": format!("s3://{BUCKET}/caches") } })
    };
    for request in [
        json!({ "op": "stop", "force": true }),
        json!({ "op": "upgrade", "exe": "/bin/true" }),
        json!({ "op": "stats" }),
        json!({ "op": "shares" }),
        json!({ "op": "unshare", "path": it.socket }),
        json!({ "op": "close", "view": 1 }),
        json!({ "op": "serve", "view": 1, "form": "tree" }),
        json!({ "op": "lookup", "domains": ["0".repeat(32)] }),
        json!({ "op": "has_pack", "domains": ["0".repeat(32)], "pack": "0".repeat(32),
            "length": 2, "trailer": 1, "hash": "0".repeat(64) }),
        json!({ "op": "insert", "domain": "0".repeat(32), "pack": "0".repeat(32),
            "length": 2, "trailer": 1, "hash": "0".repeat(64) }),
        json!({ "op": "remove_pack", "domains": ["0".repeat(32)], "pack": "0".repeat(32) }),
        json!({ "op": "reads", "stack": "0".repeat(64) }),
        json!({ "op": "publish_trace", "from": "0".repeat(64), "to": "0".repeat(64) }),
        open(&json!([])),
    ] {
        let answer = raw(&it.socket, &request);
        assert_eq!(answer["failed"]["kind"], "usage", "{request}: {answer}");
    }
    // Request another job's layers by name.
    assert!(!layers.is_null(), "inspect has layers");
    let answer = raw(&it.socket, &open(&layers));
    assert!(answer["ok"].is_null(), "{answer}");
    // The daemon and the other job's mount are unaffected.
    assert!(theirs.join("pr-7").exists());
    assert_eq!(it.host.stats()["daemon"]["restarts"], 0);
    it.host.umount(&theirs);
}

#[test]
fn a_share_is_listed_outlives_the_worker_and_ends() {
    let Some(it) = Host::new() else { return };
    it.share(&[]).run().success();
    let list = || {
        let shares = it.host.run(["daemon", "shares", "--format", "json"]);
        shares.success().json()["shares"].clone()
    };
    assert_eq!(list()[0]["scopes"], json!(["pr/7", "branch/main"]));
    assert_eq!(list()[0]["path"], it.socket.to_str().unwrap());
    let twice = it.share(&[]).run().expect_code(2);
    drop(twice.stderr_has("listens on"));

    let mount = it.guest.dir("mount");
    it.restored("mine", &mount);
    let worker = it.host.stats()["daemon"]["pid"].as_i64().unwrap();
    let worker = Pid::from_raw(worker.try_into().unwrap()).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    // Through the same socket, with the same scopes.
    let base = it.guest.dir("base");
    it.restored("base", &base);
    assert_eq!(it.host.stats()["daemon"]["restarts"], 1);
    let other = it.restore("theirs", &it.guest.dir("other"), &["--scope", "pr/8"]);
    drop(other.run().expect_code(2));
    it.unmount(&base);
    // The share also survives an upgrade.
    it.host.run(["daemon", "upgrade"]).success();
    assert_eq!(list()[0]["path"], it.socket.to_str().unwrap());
    it.restored("base", &base);
    it.unmount(&base);

    it.host
        .run(["daemon", "unshare", it.socket.to_str().unwrap()])
        .success();
    assert!(!it.socket.exists());
    assert_eq!(list(), json!([]));
    let gone = clean(it.restore("base", &base, &["--strict-errors"]).run());
    drop(gone.expect_code(1).stderr_has("no daemon at"));
    // Existing mounts stay.
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    it.unmount(&mount);
}

#[test]
fn a_share_keeps_the_daemon_until_it_is_told_to_stop() {
    let Some(it) = Host::new() else { return };
    it.host.run(["daemon", "stop"]).success();
    let share = it.share(&[]).env("CACHEFS_DAEMON_IDLE", "1");
    share.run().success();
    let daemon = it.host.daemon().expect("a daemon");
    // Longer than the idle timeout.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(it.host.daemon(), Some(daemon));
    it.host.run(["daemon", "stop"]).success();
    assert!(!it.socket.exists());
    wait_for("the daemon's end", Duration::from_secs(10), || {
        it.host.daemon().is_none()
    });
}

#[test]
fn a_share_is_for_one_user_and_root() {
    let Some(it) = Host::new() else { return };
    it.share(&["--uid", "54321"]).run().success();
    assert_eq!(fs::metadata(&it.socket).unwrap().uid(), 54_321);
    for dir in it.socket.ancestors().skip(1) {
        if dir.starts_with(it.guest.sandbox().path()) {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    // Even if the file mode would allow other users.
    fs::set_permissions(&it.socket, fs::Permissions::from_mode(0o666)).unwrap();
    let allowed = json!({ "op": "allowed" });
    let told = raw_as(54_321, &it.socket, &allowed);
    assert_eq!(
        told["ok"]["scopes"],
        json!(["pr/7", "branch/main"]),
        "{told}"
    );
    assert!(!told.to_string().contains(SECRET_KEY), "{told}");
    let refused = raw_as(12_345, &it.socket, &allowed)["failed"].clone();
    assert_eq!(refused["message"], "this share does not admit user 12345");
    assert_eq!(it.job(&["daemon", "status"]).run().code(), Some(0));
}

#[test]
fn a_socket_has_a_place_that_others_cannot_take() {
    let Some(it) = Host::new() else { return };
    let open = it.guest.dir("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let share = it.host.command(["daemon", "share", "--scope", "pr/7"]);
    let refused = share.arg(open.join("s")).run().expect_code(2);
    drop(refused.stderr_has("chmod o-w"));
    fs::write(&it.socket, "precious").unwrap();
    drop(it.share(&[]).run().expect_code(1));
    assert_eq!(fs::read(&it.socket).unwrap(), b"precious");

    // We reject a store that others can write to, but fix the mode of an empty directory.
    let foreign = it.guest.dir("foreign");
    fs::write(foreign.join("there"), "before").unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o777)).unwrap();
    let stats = it.guest.command(["stats"]).env("CACHEFS_STORE", &foreign);
    drop(stats.run().expect_code(2).stderr_has("chmod go-w"));
    fs::remove_file(foreign.join("there")).unwrap();
    let stats = it.guest.command(["stats"]).env("CACHEFS_STORE", &foreign);
    stats.run().success();
    assert_eq!(fs::metadata(&foreign).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_save_from_inside_needs_credentials_of_its_own() {
    let Some(it) = Host::new() else { return };
    it.share(&[]).run().success();
    let mount = it.guest.dir("mount");
    it.restored("mine", &mount);
    fs::write(mount.join("new"), "new").unwrap();
    let save = || {
        let save = it.job(&["save", "--key", "mine-2", "--strict-errors", "--path"]);
        save.arg(&mount)
    };
    let without = clean(save().run()).expect_code(4);
    drop(without.stderr_has("no credentials"));
    let with = save().env("AWS_ACCESS_KEY_ID", cachefs_tests::s3::ACCESS_KEY);
    clean(
        with.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .run()
            .success(),
    );
    it.unmount(&mount);
    it.restored("mine-2", &mount);
    assert_eq!(fs::read(mount.join("new")).unwrap(), b"new");
    it.unmount(&mount);
    it.guest.stop();
}

/// Restores in a scope other than the machine's own.
trait InScope {
    fn restored_in(&self, scope: &str, key: &str, path: &Path);
}

impl InScope for Cachefs {
    #[track_caller]
    fn restored_in(&self, scope: &str, key: &str, path: &Path) {
        let restore = strict_json(self.restore(key, path)).args(["--scope", scope]);
        clean(restore.run().success());
    }
}
