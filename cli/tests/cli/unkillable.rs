//! We kill the daemon's worker at the worst moments, and readers must not notice.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachefs_tests::harness::Cachefs;
use cachefs_tests::s3::{Fault, Rule, S3Server};
use cachefs_tests::tree::{Content, TreeSpec};
use rustix::process::{Signal, kill_process};

use crate::support::{
    Commands, clean, is_gone, kill_daemon, kill_worker, machine, machine_on, pid, sample_dir,
    strict_json, wait_for,
};

/// Minimum lifetime of a worker: the daemon gives up after too many quick deaths.
const LIFE: Duration = Duration::from_millis(300);
/// Minimum number of kills, however fast the machine is.
const KILLS: u64 = 8;
const READERS: u64 = 16;
const FILES: u64 = 300;

/// A tree in which every byte is a function of the file's number.
fn wide_tree(machine: &Cachefs) -> PathBuf {
    let mut spec = TreeSpec::default();
    for number in 0..FILES {
        spec.file(name(number), length(number), number);
    }
    let dir = machine.dir("wide");
    spec.build(&dir).unwrap();
    dir
}

fn name(number: u64) -> String {
    format!("file-{number}")
}

fn length(number: u64) -> u64 {
    // Some files span several frames.
    if number % 50 == 7 {
        1_500_000
    } else {
        30_000 + number * 97
    }
}

fn expected(number: u64) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    Content::new(length(number), number)
        .write_to(&mut file)
        .unwrap();
    let mut bytes = vec![0; length(number) as usize];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
    bytes
}

/// Statistics of a round of kills.
#[derive(Debug)]
struct Figures {
    kills: u64,
    reads: u64,
    longest: Duration,
}

/// Reads a file after evicting it from the page cache, so that the kernel asks the worker again.
fn read_anew(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    bytes
}

/// Sixteen readers check every byte of a mount while we kill the worker again and again.
fn read_through_kills(machine: &Cachefs, mount: &Path) -> Figures {
    let contents: Vec<Vec<u8>> = (0..FILES).map(expected).collect();
    let (reads, longest, kills, left) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(READERS),
    );
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (contents, reads, longest) = (&contents, &reads, &longest);
            let (kills, left) = (&kills, &left);
            scope.spawn(move || {
                let _done = OnDrop(|| {
                    left.fetch_sub(1, SeqCst);
                });
                let mut step = 0;
                while step < FILES || kills.load(SeqCst) < KILLS {
                    // Each reader has its own order: 7 is coprime to the number of files.
                    let number = (reader * 37 + step * 7) % FILES;
                    step += 1;
                    let started = Instant::now();
                    let bytes = read_anew(&mount.join(name(number)));
                    longest.fetch_max(started.elapsed().as_micros() as u64, SeqCst);
                    assert!(bytes == contents[number as usize], "file {number} is wrong");
                    reads.fetch_add(1, SeqCst);
                }
            });
        }
        let mut seen = 0;
        while left.load(SeqCst) > 0 {
            kill_worker(machine);
            kills.fetch_add(1, SeqCst);
            // Wait until the worker has served at least one read.
            wait_for("progress", Duration::from_secs(60), || {
                reads.load(SeqCst) > seen || left.load(SeqCst) == 0
            });
            seen = reads.load(SeqCst);
            std::thread::sleep(LIFE);
        }
    });
    Figures {
        kills: kills.into_inner(),
        reads: reads.into_inner(),
        longest: Duration::from_micros(longest.into_inner()),
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A slow server, so that reads are in flight whenever the worker dies.
fn slow_server() -> S3Server {
    let server = S3Server::start().unwrap();
    server.faults().set_latency(Duration::from_millis(15));
    server
}

fn readers_survive(lower: &str) {
    let server = slow_server();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let machine = machine.with_env("CACHEFS_LOWER", lower);
    machine.saved("v1", &wide_tree(&machine));
    let second = machine.second_machine().unwrap();
    let mount = second.dir("mount");
    clean(
        strict_json(second.restore("v1", &mount))
            .arg("--prefetch")
            .arg("none")
            .run()
            .success(),
    );
    let figures = read_through_kills(&second, &mount);
    println!(
        "{lower}: {} kills, {} reads, the longest {:?}",
        figures.kills, figures.reads, figures.longest
    );
    assert!(figures.kills >= KILLS, "{figures:?}");
    assert!(figures.reads >= READERS * FILES, "{figures:?}");
    assert_eq!(second.stats()["daemon"]["restarts"], figures.kills);
    second.umount(&mount);
}

#[test]
fn sixteen_readers_of_an_image_get_their_bytes() {
    readers_survive("auto");
}

#[test]
fn sixteen_readers_of_a_tree_get_their_bytes() {
    readers_survive("fuse");
}

#[test]
fn writers_lose_nothing() {
    let server = slow_server();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    machine.saved("v1", &wide_tree(&machine));
    let second = machine.second_machine().unwrap();
    let mount = second.dir("mount");
    second.restored("v1", &mount);
    // Each append copies a file up, which reads its bytes through the worker.
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            while !is_over.load(SeqCst) {
                kill_worker(&second);
                std::thread::sleep(LIFE);
            }
        });
        let _over = OnDrop(|| is_over.store(true, SeqCst));
        for number in 0..FILES {
            let file = File::options().append(true).open(mount.join(name(number)));
            file.unwrap().write_all(b"more").unwrap();
        }
        is_over.store(true, SeqCst);
        killing.join().unwrap();
    });
    let appended = |dir: &Path| {
        for number in 0..FILES {
            let bytes = fs::read(dir.join(name(number))).unwrap();
            let kept = bytes.strip_suffix(b"more").unwrap();
            assert!(kept == expected(number), "file {number} is wrong");
        }
    };
    appended(&mount);
    let saved = second.saved("v2", &mount);
    assert_eq!(saved["modified"], FILES, "{saved}");
    let third = machine.second_machine().unwrap();
    let mount = third.dir("mount");
    third.restored("v2", &mount);
    appended(&mount);
}

#[test]
fn a_save_lands_whole() {
    let server = slow_server();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let wide = wide_tree(&machine);
    machine.saved("v0", &sample_dir(&machine));
    for round in 0..4 {
        let key = format!("v{round}-saved");
        fs::write(wide.join("round"), key.as_bytes()).unwrap();
        let save = strict_json(machine.save(&key, &wide)).arg("--override");
        let mut save = save.spawn(Stdio::null(), Stdio::null()).unwrap();
        std::thread::sleep(Duration::from_millis(80 * round));
        while save.try_wait().unwrap().is_none() {
            kill_worker(&machine);
            std::thread::sleep(LIFE);
        }
        assert!(save.wait().unwrap().success());
        let second = machine.second_machine().unwrap();
        let mount = second.dir("mount");
        second.restored(&key, &mount);
        assert_eq!(fs::read(mount.join("round")).unwrap(), key.as_bytes());
        for number in 0..FILES {
            assert!(fs::read(mount.join(name(number))).unwrap() == expected(number));
        }
    }
    machine.run(["check", "--read-data"]).success();
}

#[test]
fn a_killed_save_leaves_nothing_behind() {
    let server = slow_server();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    let wide = wide_tree(&machine);
    for millis in [20, 60, 120, 200] {
        let save = strict_json(machine.save("v1", &wide));
        let mut save = save.spawn(Stdio::null(), Stdio::null()).unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        // The save may have completed already; then the key must exist and be complete.
        save.kill().ok();
        save.wait().unwrap();
        let second = machine.second_machine().unwrap();
        let mount = second.dir("mount");
        let restored = clean(strict_json(second.restore("v1", &mount)).run().success()).json();
        if restored["result"] == "mounted" {
            for number in 0..FILES {
                assert!(fs::read(mount.join(name(number))).unwrap() == expected(number));
            }
        } else {
            assert_eq!(restored["result"], "miss", "{restored}");
        }
    }
    machine.saved("v1", &wide);
    machine.run(["check", "--read-data"]).success();
}

#[test]
fn restores_go_through_kills() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            while !is_over.load(SeqCst) {
                kill_worker(&machine);
                std::thread::sleep(LIFE);
            }
        });
        let _over = OnDrop(|| is_over.store(true, SeqCst));
        for _ in 0..15 {
            machine.restored("v1", &mount);
            assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
            machine.umount(&mount);
        }
        is_over.store(true, SeqCst);
        killing.join().unwrap();
    });
    assert!(machine.sandbox().mounts().unwrap().is_empty());
}

#[test]
fn another_version_goes_on_with_the_mounts() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let (first, second) = (machine.dir("first"), machine.dir("second"));
    machine.restored("v1", &first);
    let lower = machine.command(["restore", "--key", "v1", "--lower", "fuse", "--path"]);
    lower.arg(&second).run().success();
    fs::write(first.join("mine"), "mine").unwrap();
    let (daemon, worker) = (machine.daemon().unwrap(), machine.worker().unwrap());
    let newer = machine.dir("newer").join("cachefs");
    fs::copy(machine.binary(), &newer).unwrap();
    let upgraded = machine
        .command(["daemon", "upgrade"])
        .with_program(&newer)
        .run();
    clean(upgraded.success()).stderr_has("with 2 mounts");
    // The same process, now with the new program.
    let program = fs::read_link(format!("/proc/{daemon}/exe")).unwrap();
    assert_eq!(program, newer);
    assert!(is_gone(worker));
    for mount in [&first, &second] {
        assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    }
    assert_eq!(fs::read(first.join("mine")).unwrap(), b"mine");
    assert_eq!(machine.saved("v2", &first)["added"], 1);
    for mount in [&first, &second] {
        machine.umount(mount);
    }
    machine.stop();
    wait_for("its end", Duration::from_secs(10), || is_gone(daemon));
}

#[test]
fn a_program_that_cannot_be_executed_changes_nothing() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let daemon = machine.daemon().unwrap();
    let store = cachefs::StoreDir::open(&machine.store(), "/nonexistent".into(), 1 << 30).unwrap();
    let mut client = cachefs::DaemonClient::connect_running(&store)
        .unwrap()
        .unwrap();
    let before = client.upgrade(store.exe().to_owned()).unwrap();
    wait_for("another worker", Duration::from_secs(10), || {
        machine.worker().is_some_and(|worker| worker != before)
    });
    assert_eq!(machine.daemon(), Some(daemon));
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    assert!(machine.daemon_log().contains("/nonexistent cannot go on"));
}

#[test]
fn a_worker_without_supervisor_serves_on() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let (mount, other) = (machine.dir("mount"), machine.dir("other"));
    machine.restored("v1", &mount);
    let (daemon, worker) = (machine.daemon().unwrap(), machine.worker().unwrap());
    kill_process(pid(daemon), Signal::KILL).unwrap();
    wait_for("its end", Duration::from_secs(5), || is_gone(daemon));
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    machine.restored("v1", &other);
    assert!(other.join("settings.xml").exists());
    // Now both mounts are dead; the next command reports that and repairs them.
    kill_process(pid(worker), Signal::KILL).unwrap();
    wait_for("its end", Duration::from_secs(5), || is_gone(worker));
    assert!(fs::read_dir(mount.join("lib")).is_err() || fs::read(mount.join("docs/3")).is_err());
    let states = machine.stats()["restored"].to_string();
    assert_eq!(states.matches("dead").count(), 2, "{states}");
    let told = machine.restore("v1", &mount).run().success();
    told.stderr_has("dead mount");
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
}

#[test]
fn a_worker_that_always_dies_ends_the_daemon() {
    let Some(machine) = machine() else { return };
    machine.saved("v1", &sample_dir(&machine));
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    let daemon = machine.daemon().unwrap();
    wait_for("the daemon's end", Duration::from_secs(30), || {
        if let Some(worker) = machine.worker() {
            kill_process(pid(worker), Signal::KILL).ok();
        }
        is_gone(daemon)
    });
    assert!(
        machine.daemon_log().contains("in a row"),
        "{}",
        machine.daemon_log()
    );
    // Readers get an error instead of waiting forever.
    fs::read(mount.join("lib/large")).unwrap_err();
    machine
        .restore("v1", &mount)
        .run()
        .success()
        .stderr_has("dead mount");
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
}

#[test]
fn a_signal_ends_the_whole_daemon() {
    let Some(machine) = machine() else { return };
    for to_worker in [false, true] {
        machine.run(["daemon", "start"]).success();
        let (daemon, worker) = (machine.daemon().unwrap(), machine.worker().unwrap());
        let meant = if to_worker { worker } else { daemon };
        kill_process(pid(meant), Signal::TERM).unwrap();
        wait_for("its end", Duration::from_secs(5), || {
            is_gone(daemon) && is_gone(worker)
        });
    }
}

#[test]
fn a_mount_waits_for_its_remote_and_others_go_on() {
    let server = S3Server::start().unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    machine.saved("v1", &sample_dir(&machine));
    let second = machine.second_machine().unwrap();
    let mount = second.dir("mount");
    let none = second.restore("v1", &mount).arg("--prefetch").arg("none");
    none.arg("--mode").arg("mount").run().success();
    server.faults().inject(Rule::new(Fault::Status(503)));
    kill_worker(&second);
    // The layers are cached locally, so names and attributes need no remote.
    assert_eq!(
        fs::metadata(mount.join("lib/large")).unwrap().len(),
        2_000_000
    );
    server.faults().clear();
    assert_eq!(fs::read(mount.join("lib/large")).unwrap().len(), 2_000_000);
    kill_daemon(&second);
}
