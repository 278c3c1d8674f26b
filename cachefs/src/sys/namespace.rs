//! The namespaces of the process, and its privileges in them.

use std::path::Path;

use rustix::thread::CapabilitySet;

/// The fixed inode number of the initial user namespace (`PROC_USER_INIT_INO` in the kernel).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Whether the process is in the initial user namespace.
///
/// Only that namespace has `trusted.*` extended attributes, so this decides between an overlay with
/// `trusted.overlay.*` marks and one with `userxattr`. An unreadable `/proc` counts as "no",
/// because that overlay needs fewer privileges.
pub fn in_initial_user_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/user")
        .is_ok_and(|link| link == Path::new(INITIAL_USER_NAMESPACE))
}

/// The only user and group of this user namespace, if it has just one: it was created without
/// privileges or subordinate ids (`unshare -Ur`).
///
/// Files of all other users belong to nobody there, and the kernel permits no changes to them, not
/// even through an overlay.
pub fn only_ids() -> Option<(u32, u32)> {
    let only = |file: &str| parse_only_id(&std::fs::read_to_string(file).ok()?);
    Some((only("/proc/self/uid_map")?, only("/proc/self/gid_map")?))
}

/// Reads the first number of a map of one id: inside, outside, count.
fn parse_only_id(map: &str) -> Option<u32> {
    let mut lines = map.lines();
    let mut fields = lines.next()?.split_whitespace();
    let inside = fields.next()?.parse().ok()?;
    let is_only = fields.nth(1)? == "1" && lines.next().is_none();
    is_only.then_some(inside)
}

/// Whether the calling thread has `CAP_SYS_ADMIN` in its user namespace.
pub fn has_sys_admin() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_one_id_is_told_from_others() {
        assert_eq!(parse_only_id("         0       1717          1\n"), Some(0));
        assert_eq!(parse_only_id("1000 1717 1\n"), Some(1000));
        assert_eq!(parse_only_id("0 1717 1\n1 200000 65536\n"), None);
        assert_eq!(parse_only_id("0 0 4294967295\n"), None);
        assert_eq!(parse_only_id(""), None);
    }
}
