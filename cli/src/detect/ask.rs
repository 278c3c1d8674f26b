//! Asking an installed tool where its cache is.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

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
    /// What a program prints; `None` when it is not installed, fails or takes too long.
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
/// say in what is run.
pub(crate) struct Installed {
    workspace: PathBuf,
    dir: PathBuf,
    answers: Mutex<HashMap<String, Option<String>>>,
}

impl Installed {
    /// For a workspace and a home, both absolute.
    pub(crate) fn new(workspace: &Path, home: &Path) -> Self {
        let is_apart = home.is_dir() && !home.starts_with(workspace);
        Self {
            workspace: workspace.to_owned(),
            dir: if is_apart { home } else { Path::new("/") }.to_owned(),
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
        let mut child = Command::new(program)
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
            "{} did not say within {} s where its cache is; the default is taken",
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
