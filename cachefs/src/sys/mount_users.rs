//! Finds the processes that keep a mount busy.
//!
//! A process holds a mount by its working directory, its root, its program, a mapped file or an
//! open descriptor. `/proc/*/fdinfo` (`mnt_id`) has the mount of each descriptor. So we send no
//! request to the mounted filesystem, which may be dead, and compare no path with another
//! namespace's.

use std::fmt;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::mountinfo::{MountEntry, MountTable};

/// Reason why a mount is busy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldBy {
    /// The process's working directory is inside.
    WorkingDirectory(PathBuf),
    /// The process's root directory is inside.
    RootDirectory,
    /// The process runs a program from inside.
    Executable(PathBuf),
    /// The process has mapped a file from inside into memory.
    MappedFile(PathBuf),
    /// The process has something inside open.
    OpenFile(PathBuf),
    /// Something else is mounted inside.
    Mount(PathBuf),
}

/// One reason why a mount is busy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountHolder {
    /// The process, in this PID namespace; `None` for a mount inside.
    pub pid: Option<u32>,
    /// The process's name, cut to 15 bytes by the kernel; empty for a mount inside.
    pub command: String,
    /// How it holds the mount.
    pub what: HeldBy,
}

impl fmt::Display for MountHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, "{} ({pid}): ", self.command)?;
        }
        match &self.what {
            HeldBy::WorkingDirectory(path) => write!(f, "working directory {}", path.display()),
            HeldBy::RootDirectory => f.write_str("root directory"),
            HeldBy::Executable(path) => write!(f, "runs {}", path.display()),
            HeldBy::MappedFile(path) => write!(f, "maps {}", path.display()),
            HeldBy::OpenFile(path) => write!(f, "has {} open", path.display()),
            HeldBy::Mount(path) => write!(f, "another mount at {}", path.display()),
        }
    }
}

/// Finds the holders of `mount`, sorted by process id; skips processes that may not be inspected.
pub fn holders_of(mount: &MountEntry, table: &MountTable) -> Vec<MountHolder> {
    let mut holders: Vec<MountHolder> = table
        .children(mount.id)
        .map(|child| MountHolder {
            pid: None,
            command: String::new(),
            what: HeldBy::Mount(child.mount_point.clone()),
        })
        .collect();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        let reasons = reasons_of_process(pid, mount);
        if reasons.is_empty() {
            continue;
        }
        let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let command = String::from_utf8_lossy(command.trim_ascii_end()).into_owned();
        holders.extend(reasons.into_iter().map(|what| MountHolder {
            pid: Some(pid),
            command: command.clone(),
            what,
        }));
    }
    holders
}

fn reasons_of_process(pid: u32, mount: &MountEntry) -> Vec<HeldBy> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut reasons = Vec::new();
    let held = |link: &str| -> Option<PathBuf> {
        let link = process.join(link);
        (mount_of_link(&link)? == mount.id).then(|| fs::read_link(&link).unwrap_or_default())
    };
    reasons.extend(held("cwd").map(HeldBy::WorkingDirectory));
    reasons.extend(held("root").map(|_| HeldBy::RootDirectory));
    let executable = held("exe");
    let mapped = mapped_files(&process, mount);
    let mut open = Vec::new();
    for entry in fs::read_dir(process.join("fdinfo"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let on_mount = fs::read(entry.path()).ok().and_then(|info| mount_id(&info));
        if on_mount == Some(mount.id) {
            let link = process.join("fd").join(entry.file_name());
            open.push(fs::read_link(link).unwrap_or_default());
        }
    }
    open.sort();
    open.dedup();
    let mapped = mapped
        .into_iter()
        .filter(|path| Some(path) != executable.as_ref());
    reasons.extend(mapped.map(HeldBy::MappedFile));
    reasons.extend(executable.map(HeldBy::Executable));
    reasons.extend(open.into_iter().map(HeldBy::OpenFile));
    reasons
}

/// The mount that a magic link of `/proc` leads to, without asking its filesystem.
fn mount_of_link(link: &Path) -> Option<u64> {
    let fd = rustix::fs::openat(CWD, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    mount_id(&fs::read(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?)
}

fn mount_id(fdinfo: &[u8]) -> Option<u64> {
    let line = fdinfo
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"mnt_id:"))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// The files below the mount point that `/proc/PID/maps` lists.
///
/// Lines carry no mount number, and `map_files` is for the machine's root alone: the path decides,
/// and `map_files` corrects it where it may be read (another namespace may use the same path).
fn mapped_files(process: &Path, mount: &MountEntry) -> Vec<PathBuf> {
    let Ok(maps) = fs::read(process.join("maps")) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for line in maps.split(|&byte| byte == b'\n') {
        let Some(slash) = line.iter().position(|&byte| byte == b'/') else {
            continue;
        };
        let path = Path::new(std::ffi::OsStr::from_bytes(&line[slash..]));
        if !path.starts_with(&mount.mount_point) || files.iter().any(|known| known == path) {
            continue;
        }
        let range = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        let link = process
            .join("map_files")
            .join(std::ffi::OsStr::from_bytes(range));
        if mount_of_link(&link).is_none_or(|id| id == mount.id) {
            files.push(path.to_owned());
        }
    }
    files
}
