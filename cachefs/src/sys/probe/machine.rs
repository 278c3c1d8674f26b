//! Facts about the machine that need no mount.

use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Names the kind of container that the process runs in, if there are signs of one.
///
/// Signs can be missing: `None` proves nothing, and decisions must rest on trying.
pub fn container_kind() -> Option<String> {
    if let Some(kind) = std::env::var_os("container").filter(|kind| !kind.is_empty()) {
        return Some(kind.to_string_lossy().into_owned());
    }
    for (file, kind) in [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")] {
        if Path::new(file).exists() {
            return Some(kind.to_owned());
        }
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("kubernetes".to_owned());
    }
    let cgroup = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    ["kubepods", "docker", "libpod", "containerd", "lxc"]
        .into_iter()
        .find(|kind| cgroup.contains(kind))
        .map(str::to_owned)
}

/// Finds out whether this process may make a user namespace in which it can mount.
///
/// # Errors
/// Why not, as a fragment for the user.
pub fn user_namespaces() -> Result<(), String> {
    const RESTRICTED: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    if std::fs::read_to_string(RESTRICTED).is_ok_and(|value| value.trim() == "1") {
        return Err(
            "AppArmor restricts them (kernel.apparmor_restrict_unprivileged_userns)".to_owned(),
        );
    }
    // A thread of a process with others cannot move into a new user namespace, a new process can
    // begin in one.
    let flags = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::SIGCHLD) as libc::c_long;
    // SAFETY: a fork without shared memory, whose child makes one call and never returns here.
    let child = unsafe {
        let child = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        if child == 0 {
            libc::_exit(0);
        }
        child
    };
    if child < 0 {
        let error = io::Error::last_os_error();
        return Err(match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::USERS) => "user.max_user_namespaces is reached".to_owned(),
            Some(Errno::PERM) => "the system or a seccomp filter forbids them".to_owned(),
            _ => error.to_string(),
        });
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; no other thread knows its id.
    while unsafe { libc::waitpid(child as libc::pid_t, &mut status, 0) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    Ok(())
}
