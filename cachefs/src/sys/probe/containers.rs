//! Checks how containers of this machine see mounted caches.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{ProbeFinding, user_namespaces};
use crate::sys::mountinfo::{MountEntry, MountTable};

/// Programs that run or build containers and that cachefs supports.
const ENGINES: [&str; 7] = [
    "podman", "docker", "buildah", "nerdctl", "ctr", "bwrap", "runc",
];

/// Where rootless podman keeps the number of the process that holds its namespaces, below a
/// user's runtime directory.
const PAUSE_FILE: &str = "libpod/tmp/pause.pid";

/// Checks the settings that matter to containers; caches are to be mounted at `paths`.
///
/// No finding prevents mounting, so none is a [`super::ProbeStatus::Fail`].
pub fn probe_containers(paths: &[PathBuf]) -> Vec<ProbeFinding> {
    let mut findings = vec![probe_engines(), probe_namespaces()];
    let Ok(table) = MountTable::read() else {
        return findings; // without /proc nothing can be said about mounts
    };
    findings.extend(paths.iter().map(|path| probe_propagation(path, &table)));
    findings.extend(find_pauses().iter().map(|pause| probe_pause(pause, &table)));
    findings
}

fn probe_engines() -> ProbeFinding {
    const NAME: &str = "container-engines";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    let is_there = |program: &&str| dirs.iter().any(|dir| dir.join(program).is_file());
    let found: Vec<_> = ENGINES.iter().copied().filter(is_there).collect();
    match found.is_empty() {
        true => ProbeFinding::ok(NAME, "none is installed"),
        false => ProbeFinding::ok(NAME, found.join(", ")),
    }
}

fn probe_namespaces() -> ProbeFinding {
    const NAME: &str = "user-namespaces";
    match user_namespaces() {
        Ok(()) => ProbeFinding::ok(
            NAME,
            "available, so caches can be mounted without privileges",
        ),
        Err(reason) => ProbeFinding::warn(
            NAME,
            format!("not available: {reason}"),
            "without root or CAP_SYS_ADMIN, caches are copied",
        ),
    }
}

/// Whether a mount made at a path reaches containers that were started before.
fn probe_propagation(path: &Path, table: &MountTable) -> ProbeFinding {
    const NAME: &str = "propagation";
    let shown = path.display();
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match table.covering(&resolved) {
        Some(mount) if mount.shared.is_some() => ProbeFinding::ok(
            NAME,
            format!(
                "{shown}: a cache that is mounted here reaches running containers that were started \
                 with -v {shown}:...:rslave"
            ),
        ),
        _ => ProbeFinding::warn(
            NAME,
            format!(
                "{shown}: a cache that is mounted here does not reach running containers ({} has private propagation)",
                table
                    .covering(&resolved)
                    .map_or(Path::new("/"), |mount| &mount.mount_point)
                    .display()
            ),
            format!(
                "restore before the container starts, use `cachefs attach`, or before: mount --bind \
                 {shown} {shown} && mount --make-rshared {shown}, and -v {shown}:...:rslave"
            ),
        ),
    }
}

/// The process that holds the namespaces of a user's rootless podman.
struct Pause {
    pid: u32,
    uid: u32,
    mounts: MountTable,
}

/// Those of this user; for root, those of everybody.
fn find_pauses() -> Vec<Pause> {
    let mut files = Vec::new();
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR") {
        files.push(PathBuf::from(dir).join(PAUSE_FILE));
    }
    for (parent, prefix) in [("/run/user", ""), ("/tmp", "podman-run-")] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        files.extend(entries.filter_map(|entry| {
            let name = entry.file_name();
            let uid = name.to_str()?.strip_prefix(prefix)?;
            let is_number = uid.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| entry.path().join(PAUSE_FILE))
        }));
    }
    files.sort();
    files.dedup();
    files.iter().filter_map(|file| read_pause(file)).collect()
}

fn read_pause(file: &Path) -> Option<Pause> {
    let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    let command = fs::read(process.join("comm")).ok()?;
    // Its number may be another's by now.
    if !command.starts_with(b"podman") && !command.starts_with(b"catatonit") {
        return None;
    }
    Some(Pause {
        pid,
        uid: fs::metadata(&process).ok()?.uid(),
        mounts: MountTable::parse(&fs::read(process.join("mountinfo")).ok()?).ok()?,
    })
}

/// Rootless podman starts containers from the mounts of its pause process: a later mount is an
/// empty directory to them, without an error.
fn probe_pause(pause: &Pause, table: &MountTable) -> ProbeFinding {
    const NAME: &str = "rootless-podman";
    let Pause { pid, uid, mounts } = pause;
    if same_namespace(*pid) {
        return ProbeFinding::ok(NAME, "this is where containers of rootless podman begin");
    }
    let sees = |mount: &MountEntry| {
        let same = |other: &&MountEntry| other.device == mount.device;
        mounts.entries().iter().find(same).is_some()
    };
    let caches = table
        .entries()
        .iter()
        .filter(|mount| mount.is_cachefs_overlay());
    let unseen: Vec<_> = caches
        .filter(|mount| !sees(mount))
        .map(|mount| mount.mount_point.display().to_string())
        .collect();
    if !unseen.is_empty() {
        return ProbeFinding::warn(
            NAME,
            format!(
                "containers of user {uid} see empty directories instead of these caches, which were \
                 mounted after process {pid} had started: {}",
                unseen.join(", ")
            ),
            "run `podman system migrate` as that user, or restore inside `podman unshare`",
        );
    }
    let follows = mounts
        .covering(Path::new("/"))
        .is_some_and(|root| root.master.is_some());
    match follows {
        true => ProbeFinding::ok(NAME, format!("containers of user {uid} see mounted caches")),
        false => ProbeFinding::warn(
            NAME,
            format!(
                "containers of user {uid} will not see new mounts, because process {pid} has its own mount namespace"
            ),
            "run `podman system migrate` after a restore, or restore inside `podman unshare`",
        ),
    }
}

fn same_namespace(pid: u32) -> bool {
    let of = |process: &OsStr| fs::read_link(Path::new("/proc").join(process).join("ns/mnt")).ok();
    let other = of(OsStr::new(&pid.to_string()));
    other.is_some() && other == of(OsStr::new("self"))
}

#[cfg(test)]
mod tests {
    use super::super::ProbeStatus;
    use super::*;

    const HOST: &[u8] = b"\
21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
22 21 0:50 / /srv/shared rw shared:7 - tmpfs tmpfs rw\n\
30 21 0:41 / /home/u/.m2 rw - overlay cachefs rw,lowerdir+=/x,upperdir=/u\n";

    fn pause(mounts: &[u8]) -> Pause {
        Pause {
            pid: u32::MAX >> 1,
            uid: 1000,
            mounts: MountTable::parse(mounts).unwrap(),
        }
    }

    #[test]
    fn a_shared_mount_lets_later_ones_through() {
        let table = MountTable::parse(HOST).unwrap();
        let shared = probe_propagation(Path::new("/srv/shared/none/such"), &table);
        assert_eq!(shared.status, ProbeStatus::Ok);
        let private = probe_propagation(Path::new("/srv/other"), &table);
        assert_eq!(private.status, ProbeStatus::Warn);
        assert!(private.detail.ends_with("(/ has private propagation)"));
    }

    #[test]
    fn a_pause_process_that_is_older_than_a_mount_is_a_trap() {
        let table = MountTable::parse(HOST).unwrap();
        let older = probe_pause(&pause(b"90 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), &table);
        assert!(older.detail.contains("/home/u/.m2") && older.detail.contains("1000"));
        assert!(format!("{:?}", older.hint).contains("podman system migrate"));
        let own = b"90 1 8:1 / / rw - ext4 /dev/sda1 rw\n91 90 0:41 / /home/u/.m2 rw - overlay cachefs rw\n";
        let own = probe_pause(&pause(own), &table);
        assert!(own.status == ProbeStatus::Warn && own.detail.contains("will not see new mounts"));
        let follows = b"90 1 8:1 / / rw master:1 - ext4 /dev/sda1 rw\n91 90 0:41 / /home/u/.m2 rw - overlay cachefs rw\n";
        assert_eq!(probe_pause(&pause(follows), &table).status, ProbeStatus::Ok);
    }
}
