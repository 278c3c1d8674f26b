//! The manifests parse, agree with each other and with the service, and the sidecar commands do
//! their job. These tests do not run a kubelet.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use yaml_rust2::{Yaml, YamlLoader};

use super::node::{Node, refused, request};
use super::wire::{Empty, GetPluginInfoResponse};
use crate::support::{Commands, machine, sample_dir, wait_for};

/// The documents of a manifest.
fn load(name: &str) -> Vec<Yaml> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    YamlLoader::load_from_str(&text).unwrap()
}

/// The first document of a kind.
fn of_kind(name: &str, kind: &str) -> Yaml {
    let mut all = load(name).into_iter();
    all.find(|it| it["kind"].as_str() == Some(kind)).unwrap()
}

/// The item of a list with a name.
fn named<'a>(list: &'a Yaml, name: &str) -> &'a Yaml {
    let mut items = list.as_vec().unwrap().iter();
    items
        .find(|it| it["name"].as_str() == Some(name))
        .unwrap_or_else(|| panic!("there is no {name}"))
}

fn texts(list: &Yaml) -> Vec<&str> {
    let items = list.as_vec().into_iter().flatten();
    items.map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn the_driver_and_its_daemonset_agree_with_the_service() {
    let driver = of_kind("csidriver.yaml", "CSIDriver");
    let name = driver["metadata"]["name"].as_str().unwrap();
    for (field, value) in [
        ("podInfoOnMount", true),
        ("requiresRepublish", true),
        ("attachRequired", false),
    ] {
        assert_eq!(driver["spec"][field].as_bool(), Some(value), "{field}");
    }
    assert_eq!(
        texts(&driver["spec"]["volumeLifecycleModes"]),
        ["Ephemeral"]
    );

    let set = of_kind("daemonset.yaml", "DaemonSet");
    let template = &set["spec"]["template"];
    assert_eq!(
        set["spec"]["selector"]["matchLabels"],
        template["metadata"]["labels"]
    );
    let pod = &template["spec"];
    let account = of_kind("daemonset.yaml", "ServiceAccount");
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    let containers = &pod["containers"];
    let service = named(containers, "driver");
    let endpoint = named(&service["env"], "CSI_ENDPOINT")["value"]
        .as_str()
        .unwrap();
    let socket = endpoint.strip_prefix("unix://").unwrap();
    for sidecar in ["registrar", "liveness"] {
        let args = texts(&named(containers, sidecar)["args"]);
        let address = format!("--csi-address={socket}");
        assert!(args.contains(&address.as_str()), "{args:?}");
    }
    // The volume of the socket must mount the host directory in which kubelet looks for it.
    let folder = named(&pod["volumes"], "socket")["hostPath"]["path"]
        .as_str()
        .unwrap();
    assert_eq!(folder, format!("/var/lib/kubelet/plugins/{name}"));
    let registered = format!("--kubelet-registration-path={folder}/csi.sock");
    let args = texts(&named(containers, "registrar")["args"]);
    assert!(args.contains(&registered.as_str()), "{args:?}");
    let pods = named(&service["volumeMounts"], "pods");
    assert_eq!(pods["mountPropagation"].as_str(), Some("Bidirectional"));
    assert_eq!(
        pods["mountPath"],
        named(&pod["volumes"], "pods")["hostPath"]["path"]
    );
    assert_eq!(
        service["securityContext"]["privileged"].as_bool(),
        Some(true)
    );
    let daemon = named(&pod["initContainers"], "daemon");
    assert!(daemon["securityContext"]["privileged"].is_badvalue());
    for env in ["CACHEFS_STORE", "CACHEFS_CACHE_LIMIT"] {
        assert_eq!(named(&daemon["env"], env), named(&service["env"], env));
    }

    // The service accepts the arguments and variables from the manifest.
    let Some(node) = Node::new() else { return };
    assert_eq!(texts(&service["command"]), ["cachefs", "csi"]);
    let settings = of_kind("daemonset.yaml", "ConfigMap");
    let mut started = node;
    for (variable, value) in settings["data"].as_hash().unwrap() {
        if variable.as_str() != Some("CACHEFS_REMOTE") {
            started = started.env(variable.as_str().unwrap(), value.as_str().unwrap());
        }
    }
    let service = started.start();
    let info: GetPluginInfoResponse = service.call("Identity/GetPluginInfo", Empty {}).unwrap();
    assert_eq!(info.name, name);
}

#[test]
fn the_daemon_of_the_daemonset_serves_mounts_without_any_capability() {
    let Some(node) = Node::new() else { return };
    node.machine.saved("m2", &sample_dir(&node.machine));
    node.machine.run(["daemon", "stop"]).success();
    let set = of_kind("daemonset.yaml", "DaemonSet");
    let container = named(&set["spec"]["template"]["spec"]["initContainers"], "daemon");
    let dropped = &container["securityContext"]["capabilities"]["drop"];
    assert_eq!(texts(dropped), ["ALL"]);
    let words = texts(&container["command"]);
    assert_eq!(words[0], "cachefs");
    let mut daemon = Command::new("/usr/bin/setpriv");
    daemon
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .arg(node.machine.binary())
        .args(&words[1..])
        .env_clear()
        .env("CACHEFS_STORE", node.machine.store())
        .stdin(Stdio::null());
    let daemon = Running(daemon.spawn().unwrap());
    let probe = texts(&container["startupProbe"]["exec"]["command"]);
    wait_for("the daemon", Duration::from_secs(60), || {
        node.machine.run(&probe[1..]).code() == Some(0)
    });

    let service = node.start();
    let target = node.target("pod");
    let asked = request("v1", &target, &[("key", "m2"), ("mode", "mount")]);
    service.publish(&asked).unwrap();
    let large = fs::read(target.join("lib/large")).unwrap();
    assert_eq!(large.len(), 2_000_000);
    fs::write(target.join("new"), "x").unwrap();
    service.unpublish("v1", &target).unwrap();
    let log = service.log();
    assert!(log.contains("saved m2"), "{log}");
    // This service did all of the work, and no other one.
    assert_eq!(node.machine.daemon(), Some(daemon.0.id()), "{log}");
}

#[test]
fn the_volumes_of_the_example_are_taken() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let name = of_kind("csidriver.yaml", "CSIDriver")["metadata"]["name"].clone();
    let mut taken = 0;
    for document in load("example-job.yaml") {
        let spec = match document["kind"].as_str() {
            Some("Job") => &document["spec"]["template"]["spec"],
            Some("Pod") => &document["spec"],
            _ => continue,
        };
        for volume in spec["volumes"].as_vec().unwrap() {
            let csi = &volume["csi"];
            if csi.is_badvalue() {
                continue;
            }
            assert_eq!(csi["driver"], name);
            let attributes = csi["volumeAttributes"].as_hash().unwrap();
            // The example bucket does not exist, so we substitute the node's remote.
            let attributes: Vec<_> = attributes
                .iter()
                .map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap()))
                .filter(|(name, _)| !["remote", "region"].contains(name))
                .collect();
            let id = format!("v{taken}");
            let target = node.target(&id);
            service
                .publish(&request(&id, &target, &attributes))
                .unwrap();
            fs::write(target.join("built"), "x").unwrap();
            service.unpublish(&id, &target).unwrap();
            taken += 1;
        }
    }
    assert_eq!(taken, 2, "{}", service.log());
    let log = service.log();
    assert!(
        log.contains("saved m2-4f0d0c6e") && log.contains("saved npm-linux-"),
        "{log}"
    );
}

#[test]
fn the_document_has_every_attribute_and_every_secret() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let asked = request("v1", &node.target("pod"), &[("key", "k"), ("no-such", "x")]);
    let (_, attributes) = refused(service.publish(&asked));
    let mut asked = request("v1", &node.target("pod"), &[("key", "k")]);
    asked.secrets = [("NO_SUCH".to_owned(), "x".to_owned())].into();
    let (_, secrets) = refused(service.publish(&asked));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes.md");
    let document = fs::read_to_string(path).unwrap();
    for message in [attributes, secrets] {
        let (_, names) = message.split_once("there are: ").unwrap();
        for name in names.split(", ") {
            assert!(
                document.contains(&format!("`{name}`")),
                "{name} is not in it"
            );
        }
    }
}

/// The main process of a container; killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_sidecars_commands_restore_and_save() {
    let Some(machine) = machine() else { return };
    machine.saved("m2-before", &sample_dir(&machine));
    let pod = &of_kind("sidecar.yaml", "Job")["spec"]["template"]["spec"];
    let sidecar = named(&pod["initContainers"], "cachefs");
    let directory = machine.dir("shared").join("m2");
    let bin = machine.dir("bin");
    std::os::unix::fs::symlink(machine.binary(), bin.join("cachefs")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = |command: &Yaml| {
        let words = texts(command);
        let mut child = Command::new(words[0]);
        child.args(&words[1..]).env_clear();
        for variable in sidecar["env"].as_vec().unwrap() {
            let text = |field: &str| variable[field].as_str().unwrap().to_owned();
            child.env(text("name"), text("value"));
        }
        child
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", machine.home())
            .env("CACHEFS_REMOTE", machine.remote())
            .env("CACHEFS_STORE", machine.store())
            .env("CACHE_DIR", &directory)
            .stdin(Stdio::null());
        child
    };
    let mut running = Running(run(&sidecar["command"]).spawn().unwrap());
    let probe = &sidecar["startupProbe"]["exec"]["command"];
    wait_for("the sidecar", Duration::from_secs(60), || {
        run(probe).status().unwrap().success()
    });
    assert!(directory.join("lib/large").exists());
    fs::write(directory.join("built"), "x").unwrap();
    let stop = &sidecar["lifecycle"]["preStop"]["exec"]["command"];
    assert!(run(stop).status().unwrap().success());
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());

    let key = named(&sidecar["env"], "CACHE_KEY")["value"]
        .as_str()
        .unwrap();
    let fresh = machine.second_machine().unwrap();
    let dir = fresh.dir("restored");
    fresh.restored(key, &dir);
    assert!(dir.join("built").exists() && dir.join("lib/large").exists());
    assert!(!directory.join("built").exists(), "it is still mounted");
}
