//! Which namespaces the process lives in, and what it may do there.

use std::path::Path;

use rustix::thread::CapabilitySet;

/// The fixed inode number of the initial user namespace (`PROC_USER_INIT_INO` in the kernel).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Tells whether the process is in the initial user namespace.
///
/// Only there are `trusted.*` extended attributes to be had, so this decides between an overlay with
/// `trusted.overlay.*` marks and one with `userxattr`. An unreadable `/proc` counts as "no": the
/// overlay then asks for less.
pub fn in_initial_user_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/user")
        .is_ok_and(|link| link == Path::new(INITIAL_USER_NAMESPACE))
}

/// Tells whether the calling thread has `CAP_SYS_ADMIN` in its user namespace.
pub fn has_sys_admin() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}
