//! An unprivileged user.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, FileType, Mode};

use super::{PATH, installed, is_root};
use crate::harness::{Invocation, Sandbox};

/// The user's uid and gid.
const ID: u32 = 1717;
/// The user's subordinate ids for user namespaces: first id and count.
const SUBORDINATE: (u32, u32) = (400_000, 65_536);

/// An ordinary user that exists only in a mount and PID namespace of the test.
///
/// Inside, the user has a name, subordinate ids and a home directory, and `/dev/fuse` is open to
/// all users, as on common distributions. Dropping it kills every process in the namespaces, which
/// also removes their mounts.
#[derive(Debug)]
pub struct User {
    /// The `unshare` process, parent of the namespace's init; the kernel kills init when it dies.
    keeper: Child,
    /// Process id of the namespace's init.
    first: u32,
    sandbox: Sandbox,
}

impl User {
    /// Creates a user. Returns `None` if a required program is not installed.
    ///
    /// # Errors
    ///
    /// If the namespaces cannot be created.
    pub fn new() -> Result<Option<Self>> {
        if !is_root() || !installed("util-linux", &["unshare", "nsenter", "setpriv"]) {
            return Ok(None);
        }
        let sandbox = Sandbox::open_to_all()?;
        let dir = sandbox.path();
        for name in ["home", "run"] {
            let path = sandbox.dir(name)?;
            chown(&path, Some(ID), Some(ID))?;
        }
        fs::set_permissions(
            dir.join("run"),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )?;
        let home = dir.join("home");
        let script = namespace(dir, &home)?;
        let mut keeper = Invocation::new(
            "unshare",
            "--mount --pid --fork --kill-child --mount-proc sh -c".split_whitespace(),
        )
        .arg(script)
        .env("PATH", PATH)
        .spawn(Stdio::piped(), Stdio::inherit())
        .context("cannot make namespaces")?;
        let output = keeper.stdout.take().context("the output was asked for")?;
        // Construct early, so that `Drop` kills the process on every error below.
        let mut user = Self {
            keeper,
            first: 0,
            sandbox,
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the user's namespaces failed");
        let id = user.keeper.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        user.first = children.trim().parse().context("unshare has no child")?;
        Ok(Some(user))
    }

    /// The user's uid and gid.
    #[must_use]
    pub fn id(&self) -> u32 {
        ID
    }

    /// The user's home directory, initially empty and writable.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.sandbox.path().join("home")
    }

    /// Prepares a command that the user runs in the home directory, with a login environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Invocation {
        let id = ID.to_string();
        self.inside()
            .args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"])
            .arg("--")
            .arg(program)
            .env("HOME", self.home())
            .env("USER", "tester")
            .env("XDG_RUNTIME_DIR", self.sandbox.path().join("run"))
    }

    /// Prepares a command that root runs in the user's namespaces, for example a mount that the
    /// user then sees.
    pub fn as_root(&self, program: impl AsRef<std::ffi::OsStr>) -> Invocation {
        self.inside().arg(program)
    }

    fn inside(&self) -> Invocation {
        let first = self.first.to_string();
        // Not `--wd`, which would keep the working directory in the mount namespace of the tests.
        let mut working = std::ffi::OsString::from("--wdns=");
        working.push(self.home());
        Invocation::new("nsenter", ["--target", &first, "--mount", "--pid"])
            .arg(working)
            .env("PATH", PATH)
            .cwd("/")
    }
}

/// Writes the files that differ in the namespaces. Returns the script that mounts them.
fn namespace(dir: &Path, home: &Path) -> Result<String> {
    let append = |name: &str, line: String| -> Result<()> {
        let known = fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
        fs::write(dir.join(name), format!("{}\n{line}\n", known.trim_end()))?;
        Ok(())
    };
    let (first, count) = SUBORDINATE;
    append(
        "passwd",
        format!("tester:x:{ID}:{ID}::{}:/bin/sh", home.display()),
    )?;
    append("group", format!("tester:x:{ID}:"))?;
    fs::write(dir.join("subid"), format!("tester:{first}:{count}\n"))?;
    // A bind mount needs an existing target. The machine's own files stay unchanged.
    let everyone = Mode::from_raw_mode(0o666);
    let device = rustix::fs::makedev(10, 229);
    let fuse = dir.join("fuse");
    rustix::fs::mknodat(CWD, &fuse, FileType::CharacterDevice, everyone, device)?;
    rustix::fs::chmod(&fuse, everyone)?;
    let mut script = "set -e\n".to_owned();
    for (own, place) in [
        ("passwd", "/etc/passwd"),
        ("group", "/etc/group"),
        ("subid", "/etc/subuid"),
        ("subid", "/etc/subgid"),
        ("fuse", "/dev/fuse"),
    ] {
        ensure!(Path::new(place).exists(), "there is no {place}");
        let own = dir.join(own);
        script += &format!("mount --bind '{}' {place}\n", own.display());
    }
    Ok(script + "echo ready\nexec sleep infinity >/dev/null\n")
}

impl Drop for User {
    fn drop(&mut self) {
        // When the init of a PID namespace dies, the kernel kills all other processes in it.
        self.keeper.kill().ok();
        self.keeper.wait().ok();
        let pid = i32::try_from(self.first).ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // `--kill-child` kills init, but the kernel may still be tearing the namespace down.
            while rustix::process::test_kill_process(pid).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}
