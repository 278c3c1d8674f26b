//! Saves that are interrupted or killed at arbitrary moments.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use cachefs_tests::s3::S3Server;
use cachefs_tests::tree::{CompareOptions, assert_same};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Commands, machine_on, sample, sample_dir, strict_json};

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Ends saves with a signal after increasing delays, until one save completes.
fn saves_that_end_early(with: Signal) {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let old = sample_dir(&machine);
    machine.saved("k", &old);
    let mount = machine.dir("mount");
    machine.restored("k", &mount);
    let new = machine.dir("new");
    sample().build(&new).unwrap();
    for root in [&mount, &new] {
        fs::write(root.join("new"), vec![9; 500_000]).unwrap();
        fs::remove_file(root.join("docs/5")).unwrap();
    }
    let options = CompareOptions {
        ignore_dir_mtimes: true,
        ignore: vec!["new".into()],
        ..CompareOptions::default()
    };
    let faults = server.faults();
    let (mut cut_short, mut came_through) = (0, 0);
    for delay in (0..).map(|step| Duration::from_millis(step * 40)) {
        faults.set_latency(Duration::from_millis(70));
        let save = strict_json(machine.save("k", &mount));
        let save = save.spawn(Stdio::null(), Stdio::piped()).unwrap();
        std::thread::sleep(delay);
        signal(&save, with);
        let ended = save.wait_with_output();
        let ended = ended.unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{stderr}");
        faults.set_latency(Duration::ZERO);
        if with == Signal::INT {
            let code = ended.status.code();
            // Before `main` installs its handler, the signal simply kills the process.
            let before = ended.status.signal() == Some(2);
            assert!(
                before || code == Some(130) || code == Some(0),
                "{code:?}: {stderr}"
            );
            assert!(
                code != Some(130) || stderr.contains("interrupted"),
                "{stderr}"
            );
        }
        // A concurrent reader sees either the old state or the new one, complete.
        let reader = machine.second_machine().unwrap();
        let there = reader.dir("there");
        let copy = strict_json(reader.restore("k", &there))
            .arg("--mode")
            .arg("copy");
        copy.run().success();
        let is_new = there.join("new").exists();
        assert_same(if is_new { &new } else { &old }, &there, &options);
        fs::remove_dir_all(&there).unwrap();
        reader.run(["check", "--read-data"]).success();
        cut_short += u32::from(!is_new);
        came_through += u32::from(ended.status.success());
        assert!(delay < Duration::from_secs(10), "it never came through");
        if came_through > 0 {
            break;
        }
    }
    assert!(cut_short > 1, "only {cut_short} was truncated");
    // The next save picks up from there.
    machine.saved("k", &mount);
    let reader = machine.second_machine().unwrap();
    let there = reader.dir("there");
    reader.restored("k", &there);
    assert_same(&new, &there, &options);
    assert_eq!(fs::read(there.join("new")).unwrap().len(), 500_000);
}

#[test]
fn interrupted_at_any_moment() {
    saves_that_end_early(Signal::INT);
}

#[test]
fn killed_at_any_moment() {
    saves_that_end_early(Signal::KILL);
}

/// Ctrl-C must work while a server hangs, without waiting for the deadline.
#[test]
fn a_save_or_restore_that_waits_for_the_server_ends_at_once() {
    use cachefs_tests::s3::{Fault, Rule};
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    server.faults().inject(Rule::new(Fault::Hang));
    let commands = [
        machine.save("k", &dir),
        machine
            .restore("k", &machine.dir("copy"))
            .arg("--mode")
            .arg("copy"),
        machine.restore("k", &machine.dir("mount")),
    ];
    for command in commands {
        let mut child = command.spawn(Stdio::null(), Stdio::null()).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        // Without the signal, they would wait for more than 30 seconds.
        let started = std::time::Instant::now();
        signal(&child, Signal::INT);
        let status = child.wait().unwrap();
        println!("{:?} after {:?}", status, started.elapsed());
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
        assert!(
            status.code() == Some(130) || status.signal() == Some(2),
            "{status:?}"
        );
    }
}
