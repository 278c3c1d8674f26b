//! Finding and ending the processes that a test left, and no others.
//!
//! A process is ours when it runs the binary under test and its environment names the store
//! directory of the test: what the binary starts inherits both. The kernel shows a process's
//! environment to its own user only, so other users' processes are never met.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long processes get to end by themselves.
const GRACE: Duration = Duration::from_secs(3);
/// How often they are looked at.
const POLL: Duration = Duration::from_millis(20);

/// The process that a store's lock file names, when it runs `binary`.
pub(super) fn daemon_of(binary: &Path, store: &Path) -> Option<u32> {
    let text = fs::read_to_string(store.join("daemon.lock")).ok()?;
    let digits: String = text
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let pid = digits.parse().ok()?;
    runs(pid, binary).then_some(pid)
}

/// The only child of a daemon, which does its work.
pub(super) fn worker_of(daemon: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Ends every process that runs `binary` for `store`, by force when it takes too long.
pub(super) fn end_all(binary: &Path, store: &Path) {
    signal_all(binary, store, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while !ours(binary, store).is_empty() {
        if Instant::now() >= deadline {
            // Again and again: a daemon may just have made another worker.
            signal_all(binary, store, Signal::KILL);
        }
        std::thread::sleep(POLL);
    }
}

fn signal_all(binary: &Path, store: &Path, signal: Signal) {
    for pid in ours(binary, store) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may be gone by now.
            kill_process(pid, signal).ok();
        }
    }
}

/// The processes that run `binary` for `store`.
fn ours(binary: &Path, store: &Path) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let named = daemon_of(binary, store);
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| runs(*pid, binary) && (Some(*pid) == named || works_on(*pid, store)))
        .collect()
}

/// Whether a process runs a binary, which may have been replaced since.
fn runs(pid: u32, binary: &Path) -> bool {
    let Ok(running) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let running = running.as_os_str().as_bytes();
    running.strip_suffix(b" (deleted)").unwrap_or(running) == binary.as_os_str().as_bytes()
}

/// Whether a process's environment names a store directory.
fn works_on(pid: u32, store: &Path) -> bool {
    let wanted = [b"CACHEFS_STORE=", store.as_os_str().as_bytes()].concat();
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|var| var == wanted)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A process that stands for a daemon: it runs until it is ended.
    fn sleeper(store: &Path) -> std::process::Child {
        Command::new("/bin/sleep")
            .arg("600")
            .env("CACHEFS_STORE", store)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn only_processes_of_the_store_are_ended() {
        let dir = tempfile::tempdir().unwrap();
        let binary = fs::canonicalize("/bin/sleep").unwrap();
        let (ours_at, other_at) = (dir.path().join("ours"), dir.path().join("other"));
        let (mut mine, mut other) = (sleeper(&ours_at), sleeper(&other_at));
        // The child is seen with our own program until it has started its own.
        while !(runs(mine.id(), &binary) && runs(other.id(), &binary)) {
            std::thread::sleep(POLL);
        }
        let reaper = std::thread::spawn(move || mine.wait().unwrap());
        end_all(&binary, &ours_at);
        assert!(!reaper.join().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_lock_file_names_a_daemon_only_while_it_runs_our_binary() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(daemon_of(&own, dir.path()), None);
        let pid = std::process::id();
        fs::write(dir.path().join("daemon.lock"), format!("{pid}\n")).unwrap();
        assert_eq!(daemon_of(&own, dir.path()), Some(pid));
        assert_eq!(daemon_of(Path::new("/bin/sleep"), dir.path()), None);
        fs::write(dir.path().join("daemon.lock"), "no number").unwrap();
        assert_eq!(daemon_of(&own, dir.path()), None);
    }
}
