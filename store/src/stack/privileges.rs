//! Withholds privileges in a tree from a machine that does not trust it.
//!
//! A layer is data from elsewhere: anyone with write access to the remote chooses every mode,
//! attribute and device number in it. So metadata that could grant privileges to a user of a file
//! is only shown on request; descriptive metadata always is.

use crate::layer::{Xattrs, mode};

/// Setuid and setgid.
const SET_IDS: u32 = 0o6000;

/// Extended attributes that no tree shows: overlayfs takes them for its own, and follows them.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// The only extended attributes outside of `user.` that grant no privileges: access lists.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Whether an entry of this mode is withheld completely: devices, including the whiteouts of
/// overlayfs.
pub(super) fn is_device(mode_bits: u32) -> bool {
    matches!(mode_bits & mode::TYPE, mode::CHARACTER | mode::BLOCK)
}

/// The mode without setuid and setgid. Directories keep theirs: there, setgid only says which group
/// new entries get, and build tools rely on it.
pub(super) fn harmless_mode(mode_bits: u32) -> u32 {
    match mode_bits & mode::TYPE {
        mode::DIRECTORY => mode_bits,
        _ => mode_bits & !SET_IDS,
    }
}

/// The attributes that may be shown: all but those of overlayfs, or, where privileges are
/// `withheld`, only those of users and access lists.
pub(super) fn visible_xattrs(xattrs: Xattrs, withheld: bool) -> Xattrs {
    let shows = |name: &[u8]| {
        let is_overlay = OVERLAY.iter().any(|prefix| name.starts_with(prefix));
        let is_harmless = name.starts_with(b"user.") || ACLS.contains(&name);
        !is_overlay && (is_harmless || !withheld)
    };
    xattrs.retain(shows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(xattrs: &Xattrs) -> Vec<String> {
        let names = xattrs.iter().map(|(name, _)| name);
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    #[test]
    fn attributes_that_lend_rights_are_withheld_and_those_of_overlayfs_never_shown() {
        let all = [
            "security.capability",
            "security.selinux",
            "system.posix_acl_access",
            "system.posix_acl_other",
            "trusted.overlay.redirect",
            "trusted.mine",
            "user.mine",
            "user.overlay.opaque",
        ];
        let xattrs = all.map(|name| (name.as_bytes().to_vec(), b"v".to_vec()));
        let xattrs = Xattrs::new(xattrs.into()).unwrap();
        assert_eq!(
            names(&visible_xattrs(xattrs.clone(), true)),
            ["system.posix_acl_access", "user.mine"]
        );
        assert_eq!(
            names(&visible_xattrs(xattrs, false)),
            [all[0], all[1], all[2], all[3], all[5], all[6]]
        );
    }

    #[test]
    fn directories_keep_their_group() {
        assert_eq!(harmless_mode(mode::DIRECTORY | 0o3775), 0o043_775);
        assert_eq!(harmless_mode(mode::FILE | 0o7755), 0o101_755);
        assert!(is_device(mode::CHARACTER | 0o600) && is_device(mode::BLOCK));
        assert!(!is_device(mode::FIFO) && !is_device(mode::SYMLINK));
    }
}
