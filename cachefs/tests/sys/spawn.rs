//! Daemons detach, report whether they are ready, and clean up after themselves.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cachefs::sys::spawn::{DetachedCommand, Readiness, SpawnError, spawn_detached};

use crate::children::{OUTPUT, ROLE, only, output, role, this_binary};

const PATIENCE: Duration = Duration::from_secs(20);

fn daemon(temp: &Path, role: &str) -> DetachedCommand {
    DetachedCommand {
        exe: this_binary(),
        args: only("spawn::child"),
        env: vec![
            (ROLE.into(), role.into()),
            (OUTPUT.into(), temp.join("output").into()),
        ],
        log: temp.join("log"),
        patience: PATIENCE,
    }
}

/// Waits for a file that another process publishes with a rename.
fn wait_for(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) => return text,
            Err(error) if Instant::now() > deadline => panic!("{}: {error}", path.display()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn tell(text: &str) {
    let part = output().with_extension("part");
    fs::write(&part, text).unwrap();
    fs::rename(&part, output()).unwrap();
}

/// Runs until its output disappears; every test ends it by removing its directory.
fn serve() {
    let deadline = Instant::now() + PATIENCE * 2;
    while output().exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "is the daemon that the other tests start"]
fn child() {
    let Some(role) = role() else { return };
    let readiness = Readiness::from_env();
    match role.as_str() {
        "serve" => {
            readiness.ready().unwrap();
            tell(&facts());
            serve();
        }
        "fail" => readiness
            .failed("no room\nin the store", Some(&"free some".into()))
            .unwrap(),
        "die" => {
            println!("the last words");
            std::process::exit(7);
        }
        "late" => {
            std::thread::sleep(Duration::from_secs(1));
            tell(&format!(
                "{:?}",
                readiness.ready().map_err(|error| error.kind())
            ));
        }
        "starter" => {
            let mut command = daemon(output().parent().unwrap(), "serve");
            command.log = output().with_extension("log");
            spawn_detached(&command).unwrap();
        }
        other => panic!("{other}"),
    }
}

fn facts() -> String {
    let listed: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The descriptor that we listed them with is closed by now.
    let open = listed.iter().filter(|path| fs::read_link(path).is_ok());
    let mut fds: Vec<_> = open
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    fds.sort_unstable();
    let session = session_of("self");
    format!(
        "pid={} session={session} cwd={} fds={} stdin={} tracked={}",
        std::process::id(),
        std::env::current_dir().unwrap().display(),
        fds.join(","),
        fs::read_link("/proc/self/fd/0").unwrap().display(),
        std::env::var_os("RUNNER_TRACKING_ID").is_some(),
    )
}

fn fact<'a>(facts: &'a str, name: &str) -> &'a str {
    facts
        .split(' ')
        .find_map(|fact| fact.strip_prefix(name)?.strip_prefix('='))
        .unwrap()
}

fn parent_of(pid: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// Returns the session of a process, or 0 if its leader is outside this PID namespace, where
/// rustix's `getsid` panics.
fn session_of(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().nth(3).unwrap().to_owned()
}

fn wait_until_gone(pid: &str) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let deadline = Instant::now() + PATIENCE;
    while process.exists() {
        assert!(
            Instant::now() < deadline,
            "process {pid} is still there, perhaps as a zombie"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_daemon_is_detached_and_leaves_no_zombie() {
    let temp = tempfile::tempdir().unwrap();
    // Without close-on-exec, like descriptors that a job inherits from a CI runner.
    let inherited = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    );
    let command = daemon(temp.path(), "serve");
    spawn_detached(&command).unwrap();
    drop(inherited);
    let facts = wait_for(&temp.path().join("output"));
    let pid = fact(&facts, "pid");
    assert_ne!(fact(&facts, "session"), session_of("self"));
    assert_ne!(
        fact(&facts, "session"),
        pid,
        "a leader could get a terminal"
    );
    assert_ne!(parent_of(pid), std::process::id());
    assert_eq!(
        (fact(&facts, "cwd"), fact(&facts, "stdin")),
        ("/", "/dev/null")
    );
    assert_eq!(fact(&facts, "fds"), "0,1,2");
    drop(temp);
    wait_until_gone(pid);
}

#[test]
fn a_daemon_outlives_the_step_that_started_it() {
    let temp = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    // `output` waits until every holder closes the pipes, so a daemon that inherited them would
    // hang it.
    let step = Command::new("sh")
        .args(["-c", "\"$0\" \"$@\"; kill -KILL 0"])
        .arg(this_binary())
        .args(only("spawn::child"))
        .env(ROLE, "starter")
        .env("RUNNER_TRACKING_ID", "step-1")
        .env(OUTPUT, temp.path().join("output"))
        .process_group_of_its_own()
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&step.stdout).contains("1 passed"),
        "{step:?}"
    );
    assert!(begun.elapsed() < PATIENCE, "the step waited for the daemon");
    let facts = wait_for(&temp.path().join("output"));
    let pid = fact(&facts, "pid");
    assert!(Path::new("/proc").join(pid).exists());
    assert_eq!(fact(&facts, "tracked"), "false");
    let pid = pid.to_owned();
    drop(temp);
    wait_until_gone(&pid);
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

#[test]
fn a_daemon_that_cannot_run_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let error = spawn_detached(&daemon(temp.path(), "fail")).unwrap_err();
    assert!(
        matches!(&error, SpawnError::Reported { message, hint }
            if message == "no room; in the store" && *hint == Some("free some".into())),
        "{error}"
    );
}

#[test]
fn the_log_of_a_daemon_that_dies_is_shown_from_this_start_on() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("log"), "words of an earlier day\n").unwrap();
    match spawn_detached(&daemon(temp.path(), "die")).unwrap_err() {
        SpawnError::Died { log_tail } => {
            assert!(
                log_tail.contains("the last words") && !log_tail.contains("earlier"),
                "{log_tail}"
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_late_daemon_learns_that_nobody_waits() {
    let temp = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(100);
    let command = DetachedCommand {
        patience,
        ..daemon(temp.path(), "late")
    };
    let error = spawn_detached(&command).unwrap_err();
    assert!(matches!(error, SpawnError::TimedOut { .. }), "{error}");
    let told = wait_for(&temp.path().join("output"));
    assert_eq!(told, format!("{:?}", Err::<(), _>(ErrorKind::BrokenPipe)));
}

#[test]
fn a_missing_program_or_log_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let missing = temp.path().join("no/such/thing");
    let command = daemon(temp.path(), "serve");
    let no_program = spawn_detached(&DetachedCommand {
        exe: missing.clone(),
        ..command.clone()
    });
    assert!(matches!(
        no_program,
        Err(SpawnError::Start { exe, source }) if exe == missing && source.kind() == ErrorKind::NotFound
    ));
    let no_log = spawn_detached(&DetachedCommand {
        log: missing.clone(),
        ..command
    });
    assert!(matches!(no_log, Err(SpawnError::Log { path, .. }) if path == missing));
}
