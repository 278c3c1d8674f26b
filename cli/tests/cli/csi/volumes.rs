//! Caches in pods: the files that a job sees, and whether its changes are saved.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::node::{Node, Pod, refused, request};
use crate::support::{Commands, sample_dir, wait_for};
use tonic::Code;

/// Saves the sample under a key, on another machine.
fn save_sample(node: &Node, key: &str) {
    let elsewhere = node.machine.second_machine().unwrap();
    let dir = sample_dir(&elsewhere);
    elsewhere.saved(key, &dir);
}

/// Restores a key on a fresh machine.
fn restored(node: &Node, key: &str) -> (cachefs_tests::harness::Cachefs, std::path::PathBuf) {
    let fresh = node.machine.second_machine().unwrap();
    let dir = fresh.dir("restored");
    fresh.restored(key, &dir);
    (fresh, dir)
}

#[test]
fn a_pod_without_privilege_uses_a_cache_and_leaves_a_layer() {
    let Some(node) = Node::new() else { return };
    save_sample(&node, "m2-1");
    let service = node.start();
    let target = node.target("pod");
    // The pod's namespace is older than the mount, so the pod gets the mount by propagation.
    let pod = Pod::start();
    let asked = request(
        "v1",
        &target,
        &[
            ("key", "m2-2"),
            ("restoreKeys", "other-\nm2-\n"),
            ("mode", "mount"),
            ("owner", "65534"),
        ],
    );
    service.publish(&asked).unwrap();
    let log = service.log();
    assert!(
        log.contains("ci/build-1: partial hit m2-1 (prefix m2-; no m2-2): mounted at"),
        "{log}"
    );

    let (ok, text) = pod.sh(&target, "id -u; cat docs/7 | wc -c; cat lib/large | wc -c");
    assert!(ok, "{text}");
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["65534", "10350", "2000000"]
    );
    let (ok, text) = pod.sh(
        &target,
        "echo built > new && mkdir made && echo more > made/more && rm docs/8 && echo >> lib/medium",
    );
    assert!(ok, "{text}");

    service.unpublish("v1", &target).unwrap();
    let log = service.log();
    assert!(log.contains("saved m2-2"), "{log}");
    assert!(!target.exists());
    let (_fresh, dir) = restored(&node, "m2-2");
    assert_eq!(fs::read_to_string(dir.join("made/more")).unwrap(), "more\n");
    assert_eq!(
        fs::metadata(dir.join("lib/large")).unwrap().len(),
        2_000_000
    );
    assert!(!dir.join("docs/8").exists());
}

#[test]
fn the_first_job_of_all_finds_a_directory_that_it_may_write_to() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let target = node.target("pod");
    let pod = Pod::start();
    service
        .publish(&request("v1", &target, &[("key", "first")]))
        .unwrap();
    assert!(
        service.log().contains("ci/build-1: miss first"),
        "{}",
        service.log()
    );
    let (ok, text) = pod.sh(&target, "echo one > file");
    assert!(ok, "{text}");
    service.unpublish("v1", &target).unwrap();
    let (_fresh, dir) = restored(&node, "first");
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "one\n");

    // A job that leaves an empty directory saves nothing.
    let target = node.target("second");
    service
        .publish(&request("v2", &target, &[("key", "nothing")]))
        .unwrap();
    service.unpublish("v2", &target).unwrap();
    assert!(service.log().contains("it is empty"), "{}", service.log());
    node.machine.run(["lookup", "nothing"]).expect_code(3);
}

#[test]
fn what_is_read_only_cannot_be_written_to_and_is_not_saved() {
    let Some(node) = Node::new() else { return };
    save_sample(&node, "m2");
    let service = node.start();
    let pod = Pod::start();
    for (id, key) in [("v1", "m2"), ("v2", "not-there")] {
        let target = node.target(id);
        let mut asked = request(id, &target, &[("key", key)]);
        asked.readonly = true;
        service.publish(&asked).unwrap();
        // kubelet repeats calls.
        service.publish(&asked).unwrap();
        let (ok, text) = pod.sh(&target, "ls && ! touch new");
        assert!(ok && text.contains("Read-only file system"), "{text}");
        assert!(fs::write(target.join("new"), "x").is_err());
        service.unpublish(id, &target).unwrap();
        assert!(!target.exists());
    }
    let log = service.log();
    assert!(
        log.contains("not saved m2: the volume is read-only"),
        "{log}"
    );
    node.machine.run(["lookup", "not-there"]).expect_code(3);

    for (id, attribute) in [("v3", ("readOnly", "true")), ("v4", ("policy", "pull"))] {
        let target = node.target(id);
        service
            .publish(&request(id, &target, &[("key", "m2"), attribute]))
            .unwrap();
        fs::write(target.join("new"), "x").unwrap();
        service.unpublish(id, &target).unwrap();
    }
    let (_fresh, dir) = restored(&node, "m2");
    assert!(!dir.join("new").exists());
}

#[test]
fn a_remote_that_is_away_keeps_no_pod_from_starting_or_ending() {
    let Some(node) = Node::new() else { return };
    let service = node.start();
    let away = [
        ("key", "k"),
        ("remote", "s3://bucket/caches"),
        ("endpoint", "http://127.0.0.1:9"),
        ("region", "eu-central-1"),
        ("timeout", "1s"),
        ("restoreTimeout", "3s"),
        ("saveTimeout", "3s"),
    ];
    let target = node.target("pod");
    service.publish(&request("v1", &target, &away)).unwrap();
    assert!(
        service.log().contains("CACHE NOT USED"),
        "{}",
        service.log()
    );
    fs::write(target.join("file"), "x").unwrap();
    service.unpublish("v1", &target).unwrap();
    assert!(!target.exists());

    let target = node.target("strict");
    let strict: Vec<_> = away.into_iter().chain([("strictErrors", "true")]).collect();
    let (code, message) = refused(service.publish(&request("v2", &target, &strict)));
    assert_eq!(code, Code::Unavailable, "{message}");
    assert!(message.contains("error:"), "{message}");
    assert!(!target.exists());
    let target = node.target("needed");
    let needed = [("key", "k"), ("failOnCacheMiss", "true")];
    let (code, message) = refused(service.publish(&request("v3", &target, &needed)));
    assert_eq!(code, Code::NotFound, "{message}");
    assert!(!target.exists());
}

#[test]
fn a_call_that_takes_too_long_is_answered_and_the_next_one_finds_it_done() {
    let Some(node) = Node::new() else { return };
    save_sample(&node, "m2");
    let node = node.arg("--answer-within=1ms");
    let service = node.start();
    let target = node.target("pod");
    let asked = request("v1", &target, &[("key", "m2")]);
    let until_done = |what: &str, call: &dyn Fn() -> Result<(), tonic::Status>| {
        let mut aborted = 0;
        wait_for(what, Duration::from_secs(60), || match call() {
            Ok(()) => true,
            Err(status) => {
                assert_eq!(status.code(), Code::Aborted, "{status}");
                aborted += 1;
                false
            }
        });
        aborted
    };
    assert!(until_done("the restore", &|| service.publish(&asked)) > 0);
    fs::write(target.join("new"), "x").unwrap();
    assert!(until_done("the save", &|| service.unpublish("v1", &target)) > 0);
    let (_fresh, dir) = restored(&node, "m2");
    assert!(dir.join("new").exists());
}

#[test]
fn namespaces_do_not_see_each_others_keys() {
    let Some(node) = Node::new() else { return };
    let node = node.env("CACHEFS_NAMESPACED", "true");
    let service = node.start();
    let publish = |id: &str, namespace: &str, target: &Path| {
        let mut asked = request(
            id,
            target,
            &[("key", "k"), ("fallbackScopes", "namespace/a/default")],
        );
        let name = "csi.storage.k8s.io/pod.namespace".to_owned();
        asked.volume_context.insert(name, namespace.to_owned());
        service.publish(&asked).unwrap();
    };
    let a = node.target("a");
    publish("v1", "a", &a);
    fs::write(a.join("secret"), "x").unwrap();
    service.unpublish("v1", &a).unwrap();
    let b = node.target("b");
    publish("v2", "b", &b);
    assert!(!b.join("secret").exists());
    let again = node.target("again");
    publish("v3", "a", &again);
    assert!(again.join("secret").exists());
    node.machine
        .run(["lookup", "k", "--scope", "namespace/a/default"])
        .success();
    for (id, target) in [("v2", &b), ("v3", &again)] {
        service.unpublish(id, target).unwrap();
    }
}
