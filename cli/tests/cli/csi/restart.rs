//! A service that restarts between publishing and unpublishing a volume.

use std::fs;

use super::node::{Node, Pod, request};
use super::wire::{
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
};
use crate::support::{Commands, sample_dir};

#[test]
fn a_service_in_another_container_saves_what_the_first_one_mounted() {
    let Some(node) = Node::new() else { return };
    node.machine.saved("m2", &sample_dir(&node.machine));
    let service = node.start();
    let target = node.target("pod");
    let pod = Pod::start();
    let asked = request("v1", &target, &[("key", "m2"), ("mode", "mount")]);
    service.publish(&asked).unwrap();
    fs::write(target.join("before"), "1").unwrap();
    service.kill();

    // The daemon is a separate process, so the pod keeps working.
    let (ok, text) = pod.sh(&target, "cat lib/large docs/* > /dev/null && cat before");
    assert!(ok, "{text}");
    let service = node.start();
    service.publish(&asked).unwrap();
    fs::write(target.join("after"), "2").unwrap();
    service.unpublish("v1", &target).unwrap();
    assert!(!target.exists(), "{}", service.log());

    let fresh = node.machine.second_machine().unwrap();
    let dir = fresh.dir("restored");
    fresh.restored("m2", &dir);
    assert_eq!(fs::read_to_string(dir.join("before")).unwrap(), "1");
    assert_eq!(fs::read_to_string(dir.join("after")).unwrap(), "2");
    assert_eq!(
        fs::metadata(dir.join("lib/large")).unwrap().len(),
        2_000_000
    );
}

/// The volume condition that kubelet sees: whether it is abnormal, and the message.
fn condition(service: &super::node::Service, asked: &NodePublishVolumeRequest) -> (bool, String) {
    let about = NodeGetVolumeStatsRequest {
        volume_id: asked.volume_id.clone(),
        volume_path: asked.target_path.clone(),
    };
    let stats: NodeGetVolumeStatsResponse = service.call("Node/NodeGetVolumeStats", about).unwrap();
    let condition = stats.volume_condition.unwrap();
    (condition.abnormal, condition.message)
}

#[test]
fn a_dead_mount_is_told_of_and_repaired_when_kubelet_asks_again() {
    let Some(node) = Node::new() else { return };
    node.machine.saved("m2", &sample_dir(&node.machine));
    let service = node.start();
    let target = node.target("pod");
    let asked = request("v1", &target, &[("key", "m2"), ("mode", "mount")]);
    service.publish(&asked).unwrap();
    fs::write(target.join("before"), "1").unwrap();
    assert!(!condition(&service, &asked).0);

    node.machine.run(["daemon", "stop", "--force"]).success();
    let (abnormal, message) = condition(&service, &asked);
    assert!(abnormal && message.contains("daemon"), "{message}");
    service.publish(&asked).unwrap();
    assert!(
        service.log().contains("repaired a dead mount"),
        "{}",
        service.log()
    );
    assert!(!condition(&service, &asked).0);
    assert_eq!(
        fs::metadata(target.join("lib/large")).unwrap().len(),
        2_000_000
    );

    // A volume that died and was not published again is repaired so that we can save it.
    node.machine.run(["daemon", "stop", "--force"]).success();
    service.unpublish("v1", &target).unwrap();
    let fresh = node.machine.second_machine().unwrap();
    let dir = fresh.dir("restored");
    fresh.restored("m2", &dir);
    assert_eq!(fs::read_to_string(dir.join("before")).unwrap(), "1");
}
