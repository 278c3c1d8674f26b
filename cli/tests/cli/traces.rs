//! We prefetch the files that an earlier job read.

use std::fs;
use std::path::Path;

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::S3Server;
use serde_json::Value;

use crate::support::{Commands, clean, machine_on, objects, sample_dir, strict_json};

fn restored_with(machine: &Cachefs, prefetch: &str, mount: &Path) -> Value {
    let restore = strict_json(machine.restore("v1", mount));
    let restore = restore.arg("--prefetch").arg(prefetch);
    clean(restore.arg("--mode").arg("mount").run().success()).json()
}

fn reads(machine: &Cachefs, what: &str) -> u64 {
    machine.stats()["daemon"]["reads"][what].as_u64().unwrap()
}

fn traces(server: &S3Server) -> Vec<String> {
    let names = objects(&server.bucket_dir()).into_keys();
    names.filter(|name| name.contains("/traces/")).collect()
}

/// Reads some files of [`sample_dir`], as a build would.
fn build(mount: &Path) {
    for file in ["docs/7", "lib/medium", "docs/31", "settings.xml"] {
        fs::read(mount.join(file)).unwrap();
    }
}

/// The machine that saved the sample, after another machine has built with it once.
fn after_one_job(server: &S3Server) -> Option<Cachefs> {
    let saver = machine_on(server)?;
    saver.saved("v1", &sample_dir(&saver));
    let first = saver.second_machine().unwrap();
    let mount = first.dir("mount");
    restored_with(&first, "none", &mount);
    build(&mount);
    assert!(reads(&first, "demand_bytes") > 0);
    first.umount(&mount);
    Some(saver)
}

/// Waits until the daemon has finished prefetching.
fn wait_for_prefetch(machine: &Cachefs) {
    let begun = std::time::Instant::now();
    while reads(machine, "prefetch_bytes") == 0 {
        assert!(begun.elapsed().as_secs() < 60, "nothing is fetched ahead");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
}

#[test]
fn the_second_job_waits_for_nothing() {
    let server = S3Server::start().unwrap();
    let Some(saver) = after_one_job(&server) else {
        return;
    };
    let second = saver.second_machine().unwrap();
    let mount = second.dir("mount");
    restored_with(&second, "trace", &mount);
    wait_for_prefetch(&second);
    let asked = server.faults().counts();
    build(&mount);
    assert_eq!(reads(&second, "demand_bytes"), 0);
    let now = server.faults().counts();
    assert_eq!(
        now.of("GET"),
        asked.of("GET"),
        "the reads went to the server"
    );
    let fetched = reads(&second, "prefetch_bytes");
    assert!(
        fetched < 1_000_000,
        "{fetched} bytes, far more than what was read"
    );
    // The job read only frames in the trace, so it publishes no new one.
    second.umount(&mount);
    assert_eq!(server.faults().counts().of("PUT"), asked.of("PUT"));
}

#[test]
fn a_save_hands_the_trace_on() {
    let server = S3Server::start().unwrap();
    let Some(first) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&first);
    first.saved("v1", &dir);
    let second = first.second_machine().unwrap();
    let mount = second.dir("mount");
    restored_with(&second, "none", &mount);
    build(&mount);
    fs::write(mount.join("new"), "new").unwrap();
    second.saved("v1", &mount);

    // The second machine never unmounted, but its reads are recorded anyway.
    let third = first.second_machine().unwrap();
    let mount = third.dir("mount");
    restored_with(&third, "trace", &mount);
    wait_for_prefetch(&third);
    build(&mount);
    // The kernel's read-ahead may touch different neighbours in the new stack.
    let (before, now) = (
        reads(&second, "demand_bytes"),
        reads(&third, "demand_bytes"),
    );
    assert!(
        now < before / 2,
        "{now} bytes waited for, {before} without a trace"
    );
    assert_eq!(fs::read(mount.join("new")).unwrap(), b"new");
}

#[test]
fn a_damaged_trace_changes_nothing_but_the_time() {
    let server = S3Server::start().unwrap();
    let Some(first) = after_one_job(&server) else {
        return;
    };
    let traces = traces(&server);
    assert_eq!(traces.len(), 1, "{traces:?}");
    let damaged = b"CFSTRAC1 and nothing that follows from it";
    fs::write(server.bucket_dir().join(&traces[0]), damaged).unwrap();

    let third = first.second_machine().unwrap();
    let mount = third.dir("mount");
    restored_with(&third, "trace", &mount);
    build(&mount);
    assert!(reads(&third, "demand_bytes") > 0);
    assert!(third.daemon_log().contains("a trace is damaged"));
}

#[test]
fn a_job_may_keep_what_it_reads_to_itself() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&machine);
    machine.saved("v1", &dir);
    let mount = machine.dir("mount");
    let restore = strict_json(machine.restore("v1", &mount)).arg("--no-trace");
    clean(restore.run().success());
    build(&mount);
    machine.umount(&mount);
    assert_eq!(traces(&server), [""; 0]);
}
