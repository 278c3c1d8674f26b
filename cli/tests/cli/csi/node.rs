//! A cluster node: the service, kubelet's directory, and pods.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cachefs_tests::harness::{Cachefs, Invocation};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Pid, Signal, kill_process};
use tonic::{Code, Status};

use super::client::Client;
use super::wire::{
    AccessMode, Empty, MountVolume, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    VolumeCapability, mode,
};
use crate::support;

/// Maximum time for a service to listen, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// An unprivileged user.
const NOBODY: &str = "65534";

/// A node. Its pod directory is a shared mount, like kubelet's.
pub(super) struct Node {
    pub(super) machine: Cachefs,
    pods: PathBuf,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

impl Node {
    /// A node with a machine's store and remote; skips with `None` if the machine cannot mount.
    pub(super) fn new() -> Option<Self> {
        support::machine().map(Self::on)
    }

    /// Like [`Self::new`], on a machine that can mount.
    pub(super) fn on(machine: Cachefs) -> Self {
        let pods = machine.sandbox().dir("pods").unwrap();
        mount_bind(&pods, &pods).unwrap();
        let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        mount_change(&pods, MountPropagationFlags::PRIVATE).unwrap();
        mount_change(&pods, shared).unwrap();
        Self {
            machine,
            pods,
            env: Vec::new(),
            args: Vec::new(),
        }
    }

    /// Sets a variable of the service.
    pub(super) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Adds an argument of the service.
    pub(super) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Target path of a pod's volume. As with kubelet, only its parent directories exist.
    pub(super) fn target(&self, pod: &str) -> PathBuf {
        let volume = self.pods.join(pod).join("volumes/kubernetes.io~csi/cache");
        fs::create_dir_all(&volume).unwrap();
        volume.join("mount")
    }

    /// The socket of the service.
    pub(super) fn socket(&self) -> PathBuf {
        self.machine.work().join("csi.sock")
    }

    /// Starts the service in its own mount namespace, like a container. Mounts below kubelet's
    /// directory propagate to the host and outlive the service; all other mounts stay private.
    pub(super) fn start(&self) -> Service {
        let log = self.machine.work().join("csi.log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut invocation = Invocation::new(
            "/usr/bin/unshare",
            ["--mount", "--propagation", "unchanged", "--"],
        )
        .arg(self.machine.binary())
        .args(["csi", "--node-id", "node-1", "--listen"])
        .arg(format!("unix://{}", self.socket().display()))
        .args(&self.args)
        .cwd(self.machine.work())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", self.machine.home())
        .env("CACHEFS_STORE", self.machine.store())
        .env("CACHEFS_REMOTE", self.machine.remote());
        for (name, value) in &self.env {
            invocation = invocation.env(name, value);
        }
        let child = invocation.spawn(Stdio::null(), file.into()).unwrap();
        let mut service = Service {
            child,
            client: None,
            log,
        };
        let started = Instant::now();
        while service.client.is_none() {
            let log = service.log();
            assert!(service.child.try_wait().unwrap().is_none(), "{log}");
            assert!(started.elapsed() < PATIENCE, "it does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
            service.client = Client::connect(&self.socket()).ok();
        }
        service
    }
}

/// A running service; killed on drop.
pub(super) struct Service {
    child: Child,
    client: Option<Client>,
    log: PathBuf,
}

impl Service {
    /// Makes a call.
    pub(super) fn call<Asked, Answer>(&self, call: &str, asked: Asked) -> Result<Answer, Status>
    where
        Asked: prost::Message + Send + Sync + 'static,
        Answer: prost::Message + Default + Send + Sync + 'static,
    {
        let client = self.client.as_ref().expect("it was connected at the start");
        client.call(call, asked)
    }

    /// `NodePublishVolume`.
    pub(super) fn publish(&self, asked: &NodePublishVolumeRequest) -> Result<(), Status> {
        self.call("Node/NodePublishVolume", asked.clone())
            .map(|_: Empty| ())
    }

    /// `NodeUnpublishVolume`.
    pub(super) fn unpublish(&self, id: &str, target: &Path) -> Result<(), Status> {
        let asked = NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.to_str().unwrap().to_owned(),
        };
        self.call("Node/NodeUnpublishVolume", asked)
            .map(|_: Empty| ())
    }

    /// The log of every service that ran on the node.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it with SIGKILL, as when its container is killed.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits for it to exit.
    pub(super) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.client = None;
        support::wait_for("the end of the service", PATIENCE, || {
            self.child.try_wait().unwrap().is_some()
        });
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process may have exited already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A publish request for a pod volume, with the attributes of the pod and those that Kubernetes
/// adds.
pub(super) fn request(
    id: &str,
    target: &Path,
    attributes: &[(&str, &str)],
) -> NodePublishVolumeRequest {
    let of_kubernetes = [
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/pod.name", "build-1"),
        ("csi.storage.k8s.io/pod.namespace", "ci"),
        ("csi.storage.k8s.io/pod.uid", "9a4c"),
        ("csi.storage.k8s.io/serviceAccount.name", "default"),
    ];
    NodePublishVolumeRequest {
        volume_id: id.to_owned(),
        target_path: target.to_str().unwrap().to_owned(),
        volume_capability: Some(VolumeCapability {
            block: None,
            mount: Some(MountVolume::default()),
            access_mode: Some(AccessMode {
                mode: mode::SINGLE_NODE_WRITER,
            }),
        }),
        readonly: false,
        secrets: BTreeMap::new(),
        volume_context: of_kubernetes
            .iter()
            .chain(attributes)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// Returns the code and message of a call that must fail.
#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.expect_err("it was accepted");
    (status.code(), status.message().to_owned())
}

/// A container of a pod: a mount namespace that is older than the mounts and gets its volume only
/// by propagation. Its processes run as an unprivileged user.
pub(super) struct Pod {
    child: Child,
}

impl Pod {
    /// Starts it.
    pub(super) fn start() -> Self {
        let child = Command::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "slave", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pod = Self { child };
        let own = fs::read_link("/proc/self/ns/mnt").unwrap();
        support::wait_for("the pod's namespace", PATIENCE, || {
            let program = fs::read_link(format!("/proc/{}/exe", pod.child.id()));
            let is_cat = program.is_ok_and(|it| !it.ends_with("unshare"));
            let namespace = fs::read_link(format!("/proc/{}/ns/mnt", pod.child.id()));
            is_cat && namespace.is_ok_and(|it| it != own)
        });
        pod
    }

    /// Runs a shell script in a directory of the container; returns whether it succeeded, and its
    /// output.
    ///
    /// We enter the directory before dropping privileges. A real container has its volume at a path
    /// that its user can reach, but the test sandbox is accessible only to root.
    pub(super) fn sh(&self, directory: &Path, script: &str) -> (bool, String) {
        let drop_all = format!(
            "cd \"$1\" && exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \
             --inh-caps=-all --bounding-set=-all --no-new-privs sh -c \"$2\""
        );
        let output = Command::new("/usr/bin/nsenter")
            .args(["--mount", "--target", &self.child.id().to_string(), "--"])
            .args(["sh", "-c", &drop_all, "sh"])
            .arg(directory)
            .arg(script)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.success(), text)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
