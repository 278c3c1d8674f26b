//! The volume plugin, called as engines call it. The container tests use real engines.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use cachefs_tests::harness::{Cachefs, VolumePlugin, ask_plugin};
use cachefs_tests::s3::{Fault, Rule, S3Server};
use serde_json::{Value, json};

use crate::support::{machine, machine_on, remote_dir, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(machine: &Cachefs, args: &[&str]) -> VolumePlugin {
    let socket = machine.sandbox().path().join("plugins/cachefs.sock");
    VolumePlugin::start(machine, &socket, args).unwrap()
}

/// Requests that must succeed.
trait Engine {
    fn done(&self, request: &str, body: Value) -> Value;
    fn create(&self, name: &str, options: Value);
    fn mount(&self, name: &str, id: &str) -> PathBuf;
    fn unmount(&self, name: &str, id: &str);
    fn status(&self, name: &str) -> Value;
}

impl Engine for VolumePlugin {
    #[track_caller]
    fn done(&self, request: &str, body: Value) -> Value {
        self.ask(request, &body).unwrap().unwrap()
    }

    #[track_caller]
    fn create(&self, name: &str, options: Value) {
        self.done(
            "VolumeDriver.Create",
            json!({"Name": name, "Opts": options}),
        );
    }

    #[track_caller]
    fn mount(&self, name: &str, id: &str) -> PathBuf {
        let answer = self.done("VolumeDriver.Mount", json!({"Name": name, "ID": id}));
        answer["Mountpoint"].as_str().unwrap().into()
    }

    #[track_caller]
    fn unmount(&self, name: &str, id: &str) {
        self.done("VolumeDriver.Unmount", json!({"Name": name, "ID": id}));
    }

    #[track_caller]
    fn status(&self, name: &str) -> Value {
        self.done("VolumeDriver.Get", json!({"Name": name}))["Volume"]["Status"].clone()
    }
}

/// A process that sees a directory at another path, as a container does.
struct Container(Child);

impl Container {
    fn seeing(machine: &Cachefs, volume: &Path) -> Self {
        let place = machine.sandbox().dir("container").unwrap();
        let script = format!(
            "mount --bind {0} {1} && echo > {1}/started && exec sleep 100000",
            volume.display(),
            place.display()
        );
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let container = Self(child);
        wait_for("the container", PATIENCE, || {
            volume.join("started").exists()
        });
        container
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_first_mount_restores_and_the_last_unmount_saves() {
    let Some(machine) = machine() else { return };
    let plugin = start(&machine, &[]);
    plugin.create("m2", json!({"key": "m2-1", "restore-keys": "m2-"}));
    let data = plugin.mount("m2", "a");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    fs::write(data.join("jar"), "bytes").unwrap();
    // Another container, and a repeated request: engines retry requests that got no answer.
    assert_eq!(plugin.mount("m2", "b"), data);
    assert_eq!(plugin.mount("m2", "b"), data);
    assert_eq!(plugin.status("m2")["containers"], 2);
    plugin.unmount("m2", "a");
    assert!(
        data.join("jar").exists(),
        "it was taken down under a container"
    );
    plugin.unmount("m2", "a");
    plugin.unmount("m2", "b");
    plugin.unmount("m2", "b");
    assert_eq!(plugin.status("m2")["last"], "saved m2-1");
    assert!(
        !data.join("jar").exists(),
        "the volume is not empty afterwards"
    );

    let data = plugin.mount("m2", "c");
    assert_eq!(fs::read(data.join("jar")).unwrap(), b"bytes");
    plugin.unmount("m2", "c");
    assert_eq!(plugin.status("m2")["last"], "nothing new for m2-1");
    // A key with the same prefix is enough.
    plugin.create(
        "other",
        json!({"key": "m2-2", "restore-keys": "m2-", "policy": "pull"}),
    );
    let data = plugin.mount("other", "d");
    fs::write(data.join("jar"), "changed").unwrap();
    plugin.unmount("other", "d");
    machine.run(["lookup", "m2-2"]).expect_code(3);
}

#[test]
fn what_is_wrong_is_said_with_a_way_out() {
    let Some(machine) = machine() else { return };
    let work = machine.work().display().to_string();
    let plugin = start(&machine, &["--allow-workspace", &work]);
    let refused = |request: &str, body: Value| {
        let answer = plugin.ask(&format!("VolumeDriver.{request}"), &body);
        answer.unwrap().unwrap_err()
    };
    let create =
        |name: &str, options: Value| refused("Create", json!({"Name": name, "Opts": options}));
    assert!(create("a", json!({"kye": "x"})).contains("the options are account, "));
    assert!(create("a", json!({})).contains("the option `key` is missing"));
    assert!(create("../a", json!({"key": "x"})).contains("not a valid name"));
    let key = "{{ checksum \"pom.xml\" }}";
    assert!(create("a", json!({"key": key})).contains("workspace=/DIR"));
    let elsewhere = json!({"key": key, "workspace": "/etc"});
    assert!(create("a", elsewhere).contains("is not allowed"));
    let variable = json!({"key": "{{ env \"HOME\" }}"});
    assert!(create("a", variable).contains("reads variables"));
    assert!(refused("Mount", json!({"Name": "a", "ID": "1"})).contains("no volume a"));
    assert!(refused("Get", json!({"Name": "a"})).contains("no volume a"));
    fs::write(machine.work().join("pom.xml"), "<project/>").unwrap();
    plugin.create(
        "a",
        json!({"key": key, "workspace": machine.work(), "fail-on-cache-miss": "true"}),
    );
    assert!(refused("Mount", json!({"Name": "a", "ID": "1"})).contains("no cache matches"));
    plugin.create("b", json!({"key": "b"}));
    plugin.mount("b", "1");
    assert!(refused("Remove", json!({"Name": "b"})).contains("in use by 1 container"));
    assert!(create("b", json!({"key": "c"})).contains("with other options"));
    plugin.unmount("b", "1");
    plugin.done("VolumeDriver.Remove", json!({"Name": "b"}));
    let left = plugin.done("VolumeDriver.List", json!({}));
    assert_eq!(left["Volumes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_killed_plugin_goes_on_where_it_was() {
    let Some(machine) = machine() else { return };
    let mut plugin = start(&machine, &[]);
    plugin.create("m2", json!({"key": "m2"}));
    let data = plugin.mount("m2", "a");
    fs::write(data.join("first"), "1").unwrap();
    plugin.unmount("m2", "a");
    let data = plugin.mount("m2", "a");
    plugin.mount("m2", "b");
    plugin.restart().unwrap();
    assert_eq!(plugin.status("m2")["containers"], 2);
    assert_eq!(fs::read(data.join("first")).unwrap(), b"1");
    fs::write(data.join("second"), "2").unwrap();
    plugin.unmount("m2", "a");
    plugin.restart().unwrap();
    plugin.unmount("m2", "b");
    assert_eq!(plugin.status("m2")["last"], "saved m2");
    assert_eq!(plugin.status("m2")["containers"], 0);
}

#[test]
fn a_dead_mount_is_repaired_and_its_changes_are_saved() {
    let Some(machine) = machine() else { return };
    let plugin = start(&machine, &[]);
    plugin.create("m2", json!({"key": "m2"}));
    let data = plugin.mount("m2", "a");
    fs::write(data.join("first"), "1").unwrap();
    plugin.unmount("m2", "a");
    let data = plugin.mount("m2", "a");
    fs::write(data.join("second"), "2").unwrap();
    machine.run(["daemon", "stop", "--force"]).success();
    plugin.unmount("m2", "a");
    assert_eq!(plugin.status("m2")["last"], "saved m2");
    let data = plugin.mount("m2", "b");
    assert_eq!(fs::read(data.join("first")).unwrap(), b"1");
    assert_eq!(fs::read(data.join("second")).unwrap(), b"2");
}

#[test]
fn a_container_that_went_without_a_word_is_found_out() {
    let Some(machine) = machine() else { return };
    let plugin = start(&machine, &[]);
    plugin.create("m2", json!({"key": "m2"}));
    let container = Container::seeing(&machine, &plugin.mount("m2", "a"));
    plugin.create("other", json!({"key": "other"}));
    fs::write(plugin.mount("other", "x").join("file"), "x").unwrap();
    drop(plugin);
    // No container uses the other volume; a container uses this one at every check.
    let plugin = start(&machine, &["--forget-after", "100ms"]);
    wait_for("the save of the other", PATIENCE, || {
        plugin.status("other")["last"] == "saved other"
    });
    assert_eq!(plugin.status("other")["containers"], 0);
    assert_eq!(plugin.status("m2")["containers"], 1);
    drop(container);
    wait_for("the save", PATIENCE, || {
        plugin.status("m2")["last"] == "saved m2"
    });
    assert_eq!(plugin.status("m2")["containers"], 0);
}

/// If saving a tree kills the plugin, it must not kill every later plugin as well.
#[test]
fn a_volume_that_two_plugins_died_of_is_given_up_and_its_files_are_kept() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let mut plugin = start(&machine, &[]);
    plugin.create("m2", json!({"key": "m2"}));
    let data = plugin.mount("m2", "a");
    fs::write(data.join("file"), "deadly").unwrap();
    let faults = server.faults().clone();
    faults.inject(Rule::new(Fault::Hang).method("PUT"));
    let is_saving = || faults.counts().of("PUT") > 0;
    faults.reset_counts();
    let socket = machine.sandbox().path().join("plugins/cachefs.sock");
    let asked = thread::spawn(move || {
        let body = json!({"Name": "m2", "ID": "a"});
        // The plugin dies before it answers.
        let _ = ask_plugin(&socket, "VolumeDriver.Unmount", &body);
    });
    wait_for("the first save", PATIENCE, is_saving);
    plugin.kill();
    asked.join().unwrap();
    faults.reset_counts();
    plugin.restart().unwrap();
    wait_for("the second save", PATIENCE, is_saving);
    let kept = machine.store().join("unsaved");
    assert!(!kept.exists(), "given up after one plugin");
    faults.reset_counts();
    plugin.restart().unwrap();
    wait_for("the end of the volume", PATIENCE, || {
        plugin.status("m2")["last"] == "not saved: the plugin crashed twice while saving it"
    });
    assert!(!is_saving(), "it was saved a third time");
    let kept: Vec<_> = fs::read_dir(kept).unwrap().map(|it| it.unwrap()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read(kept[0].path().join("file")).unwrap(), b"deadly");
    let log = plugin.log();
    assert!(
        log.contains("the plugin crashed 2 times while it saved this volume"),
        "{log}"
    );
    assert!(log.contains(&kept[0].path().display().to_string()), "{log}");

    // The next container starts empty, and is saved normally.
    faults.clear();
    let data = plugin.mount("m2", "b");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    fs::write(data.join("other"), "harmless").unwrap();
    plugin.unmount("m2", "b");
    assert_eq!(plugin.status("m2")["last"], "saved m2");
}

#[test]
fn what_cannot_be_saved_stays_until_it_can() {
    let Some(machine) = machine() else { return };
    let remote = remote_dir(&machine);
    let mut plugin = start(&machine, &[]);
    plugin.create("m2", json!({"key": "m2"}));
    let data = plugin.mount("m2", "a");
    fs::write(data.join("file"), "kept").unwrap();
    let _ = fs::remove_dir_all(&remote);
    fs::create_dir_all(remote.parent().unwrap()).unwrap();
    fs::write(&remote, "in the way").unwrap();
    plugin.unmount("m2", "a");
    let status = plugin.status("m2");
    assert_eq!(status["unsaved"], true, "{status}");
    // The next container continues with these files.
    assert_eq!(
        fs::read(plugin.mount("m2", "b").join("file")).unwrap(),
        b"kept"
    );
    plugin.unmount("m2", "b");
    // The next plugin saves it, once the remote is back.
    fs::remove_file(&remote).unwrap();
    fs::create_dir(&remote).unwrap();
    plugin.restart().unwrap();
    wait_for("the save", PATIENCE, || {
        plugin.status("m2")["last"] == "saved m2"
    });
}

#[test]
fn a_save_that_takes_long_goes_on_without_the_engine() {
    let Some(machine) = machine() else { return };
    let mut plugin = start(&machine, &["--answer-within", "1ms"]);
    plugin.create("m2", json!({"key": "m2"}));
    // A restore takes longer than a millisecond, so the container starts without a cache.
    let data = plugin.mount("m2", "a");
    fs::write(data.join("file"), vec![7; 3 << 20]).unwrap();
    plugin.unmount("m2", "a");
    plugin.stop().unwrap();
    machine.run(["lookup", "m2"]).success();
    assert!(!data.join("file").exists());
}

#[test]
fn a_remote_that_is_away_is_an_empty_volume_unless_strict() {
    let Some(machine) = machine() else { return };
    let away = [
        "--remote=s3://bucket/caches",
        "--endpoint=http://127.0.0.1:1",
        "--region=us-east-1",
        "--anonymous",
    ];
    let plugin = start(&machine, &away);
    let options = |strict: &str| json!({"key": "m2", "timeout": "500ms", "policy": "pull", "strict-errors": strict});
    plugin.create("soft", options("false"));
    let data = plugin.mount("soft", "a");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    assert!(plugin.log().contains("CACHE NOT USED"), "{}", plugin.log());
    plugin.unmount("soft", "a");
    plugin.create("strict", options("true"));
    let mount = json!({"Name": "strict", "ID": "a"});
    let refused = plugin
        .ask("VolumeDriver.Mount", &mount)
        .unwrap()
        .unwrap_err();
    assert!(refused.contains("the remote is unavailable"), "{refused}");
    assert_eq!(plugin.status("strict")["containers"], 0);
}

#[test]
fn a_plugin_that_is_asked_to_end_leaves_its_volumes() {
    let Some(machine) = machine() else { return };
    let mut plugin = start(&machine, &[]);
    let socket = machine.sandbox().path().join("plugins/cachefs.sock");
    plugin.create("m2", json!({"key": "m2"}));
    let data = plugin.mount("m2", "a");
    fs::write(data.join("file"), "x").unwrap();
    let second = machine.command(["volume-plugin", "--socket"]).arg(&socket);
    second
        .run()
        .expect_code(2)
        .stderr_has("another plugin serves");
    plugin.stop().unwrap();
    assert!(!socket.exists());
    assert!(data.join("file").exists());
    plugin.restart().unwrap();
    plugin.unmount("m2", "a");
    assert_eq!(plugin.status("m2")["last"], "saved m2");
}

#[test]
fn a_volume_cannot_send_the_credentials_of_the_plugin_elsewhere() {
    let Some(machine) = machine() else { return };
    let plugin = start(&machine, &["--scope=pr/7"]);
    for options in [
        json!({"key": "k", "remote": "s3://theirs/x"}),
        json!({"key": "k", "endpoint": "http://127.0.0.1:1"}),
        json!({"key": "k", "role-arn": "arn:aws:iam::1:role/x"}),
        json!({"key": "k", "region": "x.example/"}),
        json!({"key": "k", "account": "theirs"}),
        json!({"key": "k", "scope": "branch/main"}),
        json!({"key": "k", "fallback-scopes": "branch/main"}),
        json!({"key": "k", "mode": "copy"}),
        json!({"key": "k", "allow-privileged": "true"}),
    ] {
        let create = json!({"Name": "v", "Opts": options});
        let refused = plugin.ask("VolumeDriver.Create", &create).unwrap();
        assert!(refused.is_err(), "{options}");
    }
    plugin.create("v", json!({"key": "k", "scope": "pr/7/x"}));
}

#[test]
fn silent_clients_keep_nobody_out() {
    let Some(machine) = machine() else { return };
    let plugin = start(&machine, &[]);
    let socket = machine.sandbox().path().join("plugins/cachefs.sock");
    let connect = || UnixStream::connect(&socket).unwrap();
    let mut silent: Vec<_> = (0..100).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    plugin.create("v", json!({"key": "k"}));
    // Connections beyond the limit are refused.
    silent.extend((0..600).map(|_| connect()));
    for mut client in silent.into_iter().chain([half]) {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let ended = client.read_to_end(&mut answer);
        let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(
            ended.as_ref().is_ok_and(|length| *length == 0) || ended.is_err_and(|it| is_reset(&it)),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    plugin.create("w", json!({"key": "k"}));
}
