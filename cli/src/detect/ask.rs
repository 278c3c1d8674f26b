//! Asking an installed tool where its cache is.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cachefs_store::stack::Owner;
use parking_lot::Mutex;

/// How long a tool may take to answer. Those that are asked need less than a tenth of it.
const LIMIT: Duration = Duration::from_secs(5);
/// How often a tool that has answered is looked at until it has ended.
const POLL: Duration = Duration::from_millis(2);
/// No path is longer.
const ANSWER: u64 = 8 << 10;

/// Keeps tools from fetching other versions of themselves and from talking.
const QUIET: &[(&str, &str)] = &[
    ("COREPACK_ENABLE_NETWORK", "0"),
    ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
    ("GOTOOLCHAIN", "local"),
    ("NO_UPDATE_NOTIFIER", "1"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("COMPOSER_ALLOW_SUPERUSER", "1"),
];

/// Something that can be asked.
pub(crate) trait Ask: Sync {
    /// The output of a program; `None` if it is not installed, fails or takes too long.
    fn ask(&self, program: &str, args: &[&str]) -> Option<String>;
}

/// Nobody is asked.
pub(crate) struct Nobody;

impl Ask for Nobody {
    fn ask(&self, _: &str, _: &[&str]) -> Option<String> {
        None
    }
}

/// The tools that are installed.
///
/// They run outside of the workspace, and are looked up outside of it: no file of a project has a
/// influence on the programs that run.
pub(crate) struct Installed {
    workspace: PathBuf,
    dir: PathBuf,
    /// Who the tools run as, if not as this process.
    caller: Option<Owner>,
    answers: Mutex<HashMap<String, Option<String>>>,
}

impl Installed {
    /// For a workspace and a home, both absolute, and the user who called this program with `sudo`.
    ///
    /// If the home belongs to that user, tools run as that user: npm, for example, writes a log
    /// below `~/.npm` even if it only prints a path, and a directory of root there breaks later
    /// builds.
    pub(crate) fn new(workspace: &Path, home: &Path, caller: Option<Owner>) -> Self {
        let is_apart = home.is_dir() && !home.starts_with(workspace);
        Self {
            workspace: workspace.to_owned(),
            dir: if is_apart { home } else { Path::new("/") }.to_owned(),
            caller: caller
                .filter(|caller| home.metadata().is_ok_and(|home| home.uid() == caller.uid)),
            answers: Mutex::default(),
        }
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .filter(|dir| dir.is_absolute() && !dir.starts_with(&self.workspace))
            .map(|dir| dir.join(program))
            .find(|file| {
                file.metadata().is_ok_and(|metadata| {
                    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
                })
            })
    }

    fn run(&self, program: &Path, args: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        if let Some(Owner { uid, gid }) = self.caller {
            // Without the supplementary groups of root.
            command.uid(uid).gid(gid);
        }
        let mut child = command
            .args(args)
            .current_dir(&self.dir)
            .envs(QUIET.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .ok()?;
        let stdout = child.stdout.take()?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = stdout.take(ANSWER).read_to_string(&mut text);
            // Nobody listens any more when it took too long.
            let _ = sender.send(read.map(|_| text));
        });
        let deadline = Instant::now() + LIMIT;
        let answer = receiver.recv_timeout(LIMIT);
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().ok()? {
                return answer.ok()?.ok().filter(|_| status.success());
            }
            std::thread::sleep(POLL);
        }
        tracing::warn!(
            "{} did not print its cache directory within {} s; using the default",
            program.display(),
            LIMIT.as_secs()
        );
        // With all that it started: a tool is often a script that runs another program.
        let group = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = child.wait();
        None
    }
}

impl Ask for Installed {
    fn ask(&self, program: &str, args: &[&str]) -> Option<String> {
        let question = format!("{program} {}", args.join(" "));
        if let Some(answer) = self.answers.lock().get(&question) {
            return answer.clone();
        }
        let answer = self
            .find(program)
            .and_then(|program| self.run(&program, args));
        self.answers.lock().insert(question, answer.clone());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::chown;

    #[test]
    fn tools_run_as_the_user_who_called_sudo_if_the_home_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can run tools as another user");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        let caller = Owner {
            uid: 12_345,
            gid: 12_346,
        };
        let ask = |caller| {
            let installed = Installed::new(&dir.path().join("workspace"), &home, caller);
            let id = |option| installed.ask("id", &[option]).unwrap().trim().to_owned();
            (id("-u"), id("-g"), id("-G"))
        };
        // The home of root, as with `sudo -H`.
        assert_eq!(ask(Some(caller)).0, "0");
        chown(&home, Some(caller.uid), Some(caller.gid)).unwrap();
        assert_eq!(ask(None).0, "0");
        let (uid, gid, groups) = ask(Some(caller));
        assert_eq!((&*uid, &*gid, &*groups), ("12345", "12346", "12346"));
    }
}
