//! Behaviour required of every driver: the node calls of the official CSI test suite, and the error
//! codes that it expects.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tonic::Code;

use super::node::{Node, Service, refused, request};
use super::wire::{
    Empty, GetPluginInfoResponse, NodeGetCapabilitiesResponse, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest, ProbeResponse,
    mode, rpc, unit,
};

/// Attributes of a cache that does not exist.
const NEW: &[(&str, &str)] = &[("key", "new")];

#[test]
fn identity_and_node_say_who_they_are() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let info: GetPluginInfoResponse = service.call("Identity/GetPluginInfo", Empty {}).unwrap();
    assert_eq!(info.name, "csi.cachefs.io");
    assert!(!info.vendor_version.is_empty());
    let _: Empty = service
        .call("Identity/GetPluginCapabilities", Empty {})
        .unwrap();
    let probe: ProbeResponse = service.call("Identity/Probe", Empty {}).unwrap();
    assert!(probe.ready.unwrap().value);
    let info: NodeGetInfoResponse = service.call("Node/NodeGetInfo", Empty {}).unwrap();
    assert_eq!(info.node_id, "node-1");
    let can: NodeGetCapabilitiesResponse =
        service.call("Node/NodeGetCapabilities", Empty {}).unwrap();
    let can: Vec<_> = can
        .capabilities
        .into_iter()
        .map(|it| it.rpc.unwrap().kind)
        .collect();
    assert!(can.contains(&rpc::GET_VOLUME_STATS), "{can:?}");
    for call in [
        "Node/NodeStageVolume",
        "Node/NodeUnstageVolume",
        "Node/NodeExpandVolume",
        "Controller/CreateVolume",
    ] {
        let outcome = service.call::<_, Empty>(call, Empty {});
        assert_eq!(refused(outcome).0, Code::Unimplemented, "{call}");
    }
    service.stop();
    assert!(!node.socket().exists());
}

/// Applies a change to a valid request and publishes it; the service must reject it as invalid.
#[track_caller]
fn invalid(
    service: &Service,
    target: &Path,
    change: impl FnOnce(&mut NodePublishVolumeRequest),
) -> String {
    let mut asked = request("v1", target, NEW);
    change(&mut asked);
    let (code, message) = refused(service.publish(&asked));
    assert_eq!(code, Code::InvalidArgument, "{message}");
    assert!(!target.exists(), "something was made");
    message
}

#[test]
fn requests_that_lack_something_are_refused() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let target = node.target("pod");
    let invalid = |change: fn(&mut NodePublishVolumeRequest)| invalid(&service, &target, change);
    assert!(invalid(|asked| asked.volume_id.clear()).contains("volume_id"));
    assert!(invalid(|asked| asked.volume_id = "v".repeat(257)).contains("too long"));
    assert!(invalid(|asked| asked.target_path.clear()).contains("target_path"));
    assert!(invalid(|asked| asked.target_path = "pods/x".to_owned()).contains("absolute"));
    assert!(invalid(|asked| asked.target_path = "/a/../b".to_owned()).contains("absolute"));
    assert!(invalid(|asked| asked.target_path = "/a/*".to_owned()).contains("characters"));
    assert!(invalid(|asked| asked.volume_capability = None).contains("volume_capability"));
    let message = invalid(|asked| asked.volume_capability.as_mut().unwrap().access_mode = None);
    assert!(message.contains("access mode"), "{message}");
    let message = invalid(|asked| asked.volume_capability.as_mut().unwrap().mount = None);
    assert!(message.contains("access type"), "{message}");
    let message = invalid(|asked| {
        let capability = asked.volume_capability.as_mut().unwrap();
        capability.mount = None;
        capability.block = Some(Empty {});
    });
    assert!(message.contains("block device"), "{message}");
    let message = invalid(|asked| {
        let capability = asked.volume_capability.as_mut().unwrap();
        capability.access_mode.as_mut().unwrap().mode = mode::MULTI_NODE_MULTI_WRITER;
    });
    assert!(message.contains("one pod"), "{message}");
    let message = invalid(|asked| {
        let capability = asked.volume_capability.as_mut().unwrap();
        capability.mount.as_mut().unwrap().fs_type = "ext4".to_owned();
    });
    assert!(message.contains("fsType"), "{message}");

    for (id, path) in [("", "/x"), ("v1", "")] {
        let (code, _) = refused(service.unpublish(id, Path::new(path)));
        assert_eq!(code, Code::InvalidArgument);
    }
    let stats = |id: &str, path: &str| {
        let asked = NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.to_owned(),
        };
        service.call::<_, NodeGetVolumeStatsResponse>("Node/NodeGetVolumeStats", asked)
    };
    assert_eq!(refused(stats("", "/x")).0, Code::InvalidArgument);
    assert_eq!(refused(stats("v1", "")).0, Code::InvalidArgument);
    assert_eq!(refused(stats("v1", "/x")).0, Code::NotFound);
}

#[test]
fn attributes_that_are_wrong_are_refused_with_what_would_be_right() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let target = node.target("pod");
    let attributes = |attributes: &[(&str, &str)]| {
        let asked = request("v1", &target, attributes);
        let (code, message) = refused(service.publish(&asked));
        assert_eq!(code, Code::InvalidArgument, "{message}");
        message
    };
    let message = attributes(&[("key", "k"), ("saveif", "always")]);
    assert!(message.contains("unknown attribute `saveif`"), "{message}");
    assert!(
        message.contains("restoreKeys") && message.contains("saveIf"),
        "{message}"
    );
    assert!(attributes(&[]).contains("`key` is missing"));
    let message = attributes(&[("key", "k"), ("saveIf", "sometimes")]);
    assert!(
        message.contains("saveIf") && message.contains("missing"),
        "{message}"
    );
    let message = attributes(&[("key", "k"), ("ttl", "soon")]);
    assert!(
        message.contains("ttl") && message.contains("14d"),
        "{message}"
    );
    let message = attributes(&[("key", "k"), ("readOnly", "yes")]);
    assert!(message.contains("true or false"), "{message}");
    let message = attributes(&[("key", "k"), ("endpoint", "http://127.0.0.1:1")]);
    assert!(message.contains("`remote`"), "{message}");
    let message = attributes(&[("key", "k"), ("mode", "copy")]);
    assert!(message.contains("the node's disk"), "{message}");
    // A pod must not reach files or variables of the node.
    let message = attributes(&[("key", "k"), ("remote", "file:///etc")]);
    assert!(message.contains("directory of the node"), "{message}");
    let message = attributes(&[("key", "{{ checksum \"/etc/shadow\" }}")]);
    assert!(message.contains("reads files"), "{message}");
    let message = attributes(&[("key", "{{ env \"PATH\" }}")]);
    assert!(message.contains("PATH"), "{message}");

    let message = invalid(&service, &target, |asked| {
        asked.volume_context.remove("csi.storage.k8s.io/ephemeral");
    });
    assert!(message.contains("inline volumes"), "{message}");
    let message = invalid(&service, &target, |asked| {
        let secret = ("AWS_CONFIG_FILE".to_owned(), "/etc/x".to_owned());
        asked.secrets.extend([secret]);
    });
    assert!(
        message.contains("unknown secret `AWS_CONFIG_FILE`"),
        "{message}"
    );
}

#[test]
fn silent_clients_keep_nobody_out() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let _: Empty = service
        .call("Identity/GetPluginCapabilities", Empty {})
        .unwrap();
    let connect = || UnixStream::connect(node.socket()).unwrap();
    // More connections than the service accepts: it closes the last ones.
    let mut silent: Vec<_> = (0..600).map(|_| connect()).collect();
    let mut last = silent.pop().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let ended = last.read_to_end(&mut Vec::new());
    let is_reset = |error: std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(ended.as_ref().is_ok() || ended.is_err_and(is_reset));
    let info: NodeGetInfoResponse = service.call("Node/NodeGetInfo", Empty {}).unwrap();
    assert_eq!(info.node_id, "node-1");
    drop(silent);
    service.stop();
}

#[test]
fn calls_that_are_made_again_change_nothing() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let target = node.target("pod");
    let asked = request("v1", &target, NEW);
    service.publish(&asked).unwrap();
    service.publish(&asked).unwrap();
    assert!(target.is_dir());

    let other = request("v1", &target, &[("key", "other")]);
    assert_eq!(refused(service.publish(&other)).0, Code::AlreadyExists);
    let read_only = NodePublishVolumeRequest {
        readonly: true,
        ..asked.clone()
    };
    assert_eq!(refused(service.publish(&read_only)).0, Code::AlreadyExists);
    let elsewhere = request("v1", &node.target("other"), NEW);
    assert_eq!(
        refused(service.publish(&elsewhere)).0,
        Code::FailedPrecondition
    );
    let taken = request("v2", &target, NEW);
    assert_eq!(refused(service.publish(&taken)).0, Code::FailedPrecondition);

    let stats: NodeGetVolumeStatsResponse = service
        .call(
            "Node/NodeGetVolumeStats",
            NodeGetVolumeStatsRequest {
                volume_id: "v1".to_owned(),
                volume_path: asked.target_path.clone(),
            },
        )
        .unwrap();
    let units: Vec<_> = stats.usage.iter().map(|usage| usage.unit).collect();
    assert_eq!(units, [unit::BYTES, unit::INODES]);
    assert!(stats.usage.iter().all(|usage| usage.total >= usage.used));
    assert!(!stats.volume_condition.unwrap().abnormal);

    service.unpublish("v1", &target).unwrap();
    assert!(!target.exists());
    service.unpublish("v1", &target).unwrap();
    service
        .unpublish("never-seen", &node.target("nobody"))
        .unwrap();
    // Directories that are not volumes are left alone.
    let precious = node.machine.work().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("file"), "x").unwrap();
    service.unpublish("never-seen", &precious).unwrap();
    assert!(precious.join("file").exists());
}
