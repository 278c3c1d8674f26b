//! Secrets of pods are used, and never leak.

use std::fs;
use std::path::Path;

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::{ACCESS_KEY, BUCKET, Fault, Rule, S3Server, SECRET_KEY};
use tonic::Code;

use super::node::{Node, refused, request};
use super::wire::NodePublishVolumeRequest;
use crate::support::{Commands, machine_on, sample_dir};

/// A server that requires its secret, and a machine that has it.
fn guarded() -> Option<(S3Server, Cachefs)> {
    let server = S3Server::start().unwrap();
    let machine = machine_on(&server)?;
    Some((server, machine))
}

/// A volume with its own remote and secrets.
fn with_secrets(server: &S3Server, id: &str, target: &Path) -> NodePublishVolumeRequest {
    let remote = format!("s3://{BUCKET}/caches");
    let attributes = [
        ("key", "m2"),
        ("remote", remote.as_str()),
        ("endpoint", &server.endpoint()),
        ("region", "us-east-1"),
        ("strictErrors", "true"),
    ];
    let mut asked = request(id, target, &attributes);
    asked.secrets = [
        ("AWS_ACCESS_KEY_ID".to_owned(), ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET_KEY.to_owned()),
    ]
    .into();
    asked
}

/// Lists the files below a directory that contain the secret. Does not descend into mounts.
fn leaks(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(leaks(&path)),
            kind if kind.is_file() => {
                let bytes = fs::read(&path).unwrap_or_default();
                if bytes
                    .windows(SECRET_KEY.len())
                    .any(|part| part == SECRET_KEY.as_bytes())
                {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_pods_secrets_reach_its_restore_and_save_and_nothing_else() {
    let Some((server, elsewhere)) = guarded() else {
        return;
    };
    elsewhere.saved("m2", &sample_dir(&elsewhere));
    // The node itself uses another remote, and has no credentials.
    let node = Node::new().unwrap().env("CACHEFS_LOG", "debug");
    let service = node.start();
    let target = node.target("pod");
    let asked = with_secrets(&server, "v1", &target);
    service.publish(&asked).unwrap();
    assert!(target.join("lib/large").exists());
    fs::write(target.join("new"), "x").unwrap();

    let daemon = node.machine.daemon().expect("it serves the mount");
    for file in ["environ", "cmdline"] {
        let shown = fs::read(format!("/proc/{daemon}/{file}")).unwrap();
        assert!(
            !String::from_utf8_lossy(&shown).contains(SECRET_KEY),
            "{file}"
        );
    }
    service.unpublish("v1", &target).unwrap();
    let log = service.log();
    assert!(
        log.contains("saved m2") && !log.contains(SECRET_KEY),
        "{log}"
    );
    assert_eq!(
        leaks(&node.machine.store()),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        leaks(&node.machine.work()),
        Vec::<std::path::PathBuf>::new()
    );

    let fresh = elsewhere.second_machine().unwrap();
    let dir = fresh.dir("restored");
    fresh.restored("m2", &dir);
    assert!(dir.join("new").exists());
}

#[test]
fn the_nodes_credentials_are_not_for_a_remote_that_a_pod_names() {
    let Some((server, elsewhere)) = guarded() else {
        return;
    };
    elsewhere.saved("m2", &sample_dir(&elsewhere));
    let node = Node::new()
        .unwrap()
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let service = node.start();
    let target = node.target("pod");
    let mut asked = with_secrets(&server, "v1", &target);
    asked.secrets.clear();
    let (code, message) = refused(service.publish(&asked));
    assert_eq!(code, Code::Unavailable, "{message}");
    assert!(!target.exists());
    // A volume with wrong credentials must fail.
    let mut wrong = with_secrets(&server, "v1", &target);
    let secret = "wrong-wrong-wrong".to_owned();
    wrong
        .secrets
        .insert("AWS_SECRET_ACCESS_KEY".to_owned(), secret.clone());
    let (code, message) = refused(service.publish(&wrong));
    assert_eq!(code, Code::Unavailable, "{message}");
    assert!(!message.contains(&secret), "{message}");
}

#[test]
fn after_a_restart_a_save_waits_for_no_secrets_and_uses_those_that_kubelet_brings_again() {
    let Some((server, elsewhere)) = guarded() else {
        return;
    };
    elsewhere.saved("m2", &sample_dir(&elsewhere));
    let node = Node::new().unwrap();
    let service = node.start();
    let (forgotten, known) = (node.target("forgotten"), node.target("known"));
    for (id, target) in [("v1", &forgotten), ("v2", &known)] {
        service.publish(&with_secrets(&server, id, target)).unwrap();
        fs::write(target.join(id), "x").unwrap();
    }
    service.kill();

    let service = node.start();
    service.unpublish("v1", &forgotten).unwrap();
    let log = service.log();
    assert!(
        log.contains("warning: not saved m2: this service lost the pod's secrets"),
        "{log}"
    );
    assert!(!forgotten.exists());
    service
        .publish(&with_secrets(&server, "v2", &known))
        .unwrap();
    service.unpublish("v2", &known).unwrap();
    let fresh = elsewhere.second_machine().unwrap();
    let dir = fresh.dir("restored");
    fresh.restored("m2", &dir);
    assert!(dir.join("v2").exists() && !dir.join("v1").exists());
}

#[test]
fn a_save_that_hangs_ends_and_the_pod_goes() {
    let Some((server, elsewhere)) = guarded() else {
        return;
    };
    elsewhere.saved("m2", &sample_dir(&elsewhere));
    let node = Node::new().unwrap();
    let service = node.start();
    let target = node.target("pod");
    let mut asked = with_secrets(&server, "v1", &target);
    let limit = ("saveTimeout".to_owned(), "2s".to_owned());
    asked.volume_context.extend([limit]);
    service.publish(&asked).unwrap();
    fs::write(target.join("new"), "x").unwrap();
    server.faults().inject(Rule::new(Fault::Hang).method("PUT"));
    service.unpublish("v1", &target).unwrap();
    server.faults().clear();
    assert!(!target.exists());
    let log = service.log();
    assert!(log.contains("timed out after 2 s"), "{log}");
}
