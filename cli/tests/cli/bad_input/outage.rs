//! Reads through a mount while the remote is down.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use cachefs_tests::s3::{Fault, Rule, S3Server};
use cachefs_tests::tree::{CompareOptions, assert_same};

use crate::support::{Commands, machine_on, sample_dir, strict_json};

const EIO: i32 = 5;

fn an_outage(fault: Fault, named: &str) {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&first);
    first.saved("v1", &dir);
    let machine = first
        .second_machine()
        .unwrap()
        .with_env("CACHEFS_TIMEOUT", "1s");
    let mount = machine.dir("mount");
    let restore = machine.restore("v1", &mount).arg("--prefetch").arg("none");
    strict_json(restore).run().success();

    server.faults().inject(Rule::new(fault));
    let started = Instant::now();
    let error = fs::read(mount.join("lib/large")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
    // The directory tree itself needs no remote.
    assert_eq!(fs::read_dir(mount.join("docs")).unwrap().count(), 40);
    assert_eq!(fs::metadata(mount.join("docs/3")).unwrap().len(), 10_150);
    let missing = fs::metadata(mount.join("not-there")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    let file = File::open(mount.join("docs/3")).unwrap();
    let error = file.read_at(&mut [0; 100], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
    let log = machine.daemon_log();
    assert!(log.contains("EIO") && log.contains(named), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    // Writes still work, unless they need bytes that are not cached locally.
    fs::write(mount.join("new"), "new").unwrap();

    server.faults().clear();
    // We cache a failure for a moment, because the kernel retries page by page.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(file.read_at(&mut [0; 100], 0).unwrap(), 100);
    fs::remove_file(mount.join("new")).unwrap();
    let options = CompareOptions {
        ignore_dir_mtimes: true,
        ..CompareOptions::default()
    };
    assert_same(&dir, &mount, &options);
}

#[test]
fn a_server_in_trouble() {
    an_outage(Fault::Status(503), "503");
}

#[test]
fn a_server_that_hangs() {
    an_outage(Fault::Hang, "timed out");
}

#[test]
fn a_server_that_forgot_the_packs() {
    an_outage(Fault::Status(404), "no longer has");
}

#[test]
fn credentials_that_no_longer_do() {
    an_outage(Fault::Status(403), "access denied");
}

#[test]
fn damage_under_way() {
    an_outage(Fault::Corrupt(10), "damaged");
}
