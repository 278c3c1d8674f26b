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

/// The only user and group that this user namespace has, where it has no more: one that was made
/// without privileges or subordinate ids (`unshare -Ur`).
///
/// Whoever else a file belongs to is nobody there, and the kernel lets nobody change such a file,
/// not even through an overlay.
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

/// Tells whether the calling thread has `CAP_SYS_ADMIN` in its user namespace.
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
