//! Finds and kills the processes that a test left running, and only those.
//!
//! A process is ours if it runs the binary under test and its environment names the test's store
//! directory; children inherit both. The kernel shows a process's environment only to the same user,
//! so processes of other users never match.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Grace period between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
/// Poll interval while waiting.
const POLL: Duration = Duration::from_millis(20);

/// The process named by a store's lock file, if it runs `binary`.
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

/// The only child of a daemon, which is its worker.
pub(super) fn worker_of(daemon: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Terminates every process that runs `binary` for `store`; kills them after the grace period.
pub(super) fn end_all(binary: &Path, store: &Path) {
    signal_all(binary, store, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while !ours(binary, store).is_empty() {
        if Instant::now() >= deadline {
            // Repeat the signal: a dying daemon may just have started another worker.
            signal_all(binary, store, Signal::KILL);
        }
        std::thread::sleep(POLL);
    }
}

fn signal_all(binary: &Path, store: &Path, signal: Signal) {
    for pid in ours(binary, store) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // The process may already have exited.
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

/// Whether a process runs `binary`, even if the file has been replaced since.
fn runs(pid: u32, binary: &Path) -> bool {
    let Ok(running) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let running = running.as_os_str().as_bytes();
    running.strip_suffix(b" (deleted)").unwrap_or(running) == binary.as_os_str().as_bytes()
}

/// Whether the environment of a process names a store directory.
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

    /// A long-running process that stands in for a daemon.
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
        // Between fork and exec, the child still shows our own program; wait for the exec.
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
