//! Somebody without privileges.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, FileType, Mode};

use super::{PATH, installed, is_root};
use crate::harness::{Invocation, Sandbox};

/// The user's number, and that of its group.
const ID: u32 = 1717;
/// The ids that the user may give away in user namespaces: first and count.
const SUBORDINATE: (u32, u32) = (400_000, 65_536);

/// An ordinary user, who exists only in a mount and a PID namespace of the test.
///
/// There, the user has a name, subordinate ids and a home, and `/dev/fuse` is open to all, as
/// distributions have it. Dropping it ends every process of the namespaces, and with them goes what
/// was mounted there.
#[derive(Debug)]
pub struct User {
    /// The process whose child is the namespaces' first one; it is killed with it.
    keeper: Child,
    /// The namespaces' first process.
    first: u32,
    sandbox: Sandbox,
}

impl User {
    /// Makes a user; `None` when what it takes is not installed.
    ///
    /// # Errors
    ///
    /// When the namespaces cannot be made.
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
        // From here on `Drop` ends it.
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

    /// The user's number, and that of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        ID
    }

    /// The user's home, empty at first and theirs to write to.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.sandbox.path().join("home")
    }

    /// Prepares a command that the user runs at home, with the environment of a login.
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

    /// Prepares a command of root where the user is, such as a mount that the user then sees.
    pub fn as_root(&self, program: impl AsRef<std::ffi::OsStr>) -> Invocation {
        self.inside().arg(program)
    }

    fn inside(&self) -> Invocation {
        let first = self.first.to_string();
        // Not `--wd`, which would leave the working directory in the namespace of the tests.
        let mut working = std::ffi::OsString::from("--wdns=");
        working.push(self.home());
        Invocation::new("nsenter", ["--target", &first, "--mount", "--pid"])
            .arg(working)
            .env("PATH", PATH)
            .cwd("/")
    }
}

/// Writes what the namespaces have of their own; returns the script that puts it in place.
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
    // Files to mount over must be there, and the machine's own stay as they are.
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
        // The first process of a PID namespace takes all others with it.
        self.keeper.kill().ok();
        self.keeper.wait().ok();
        let pid = i32::try_from(self.first).ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // `--kill-child` has seen to it, unless the kernel is still at it.
            while rustix::process::test_kill_process(pid).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}
