//! The marks that the kernel writes into the upper directory of an overlay.
//!
//! A removed entry is a whiteout; a directory that replaces a lower one is opaque; a renamed
//! directory stores its old place as a redirect. The other `overlay.*` attributes are the kernel's
//! own notes and never part of a file. Source: the kernel's
//! `Documentation/filesystems/overlayfs.rst` and `fs/overlayfs/`.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};

use super::xattr::XattrTarget;

/// Where an overlay keeps its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkNamespace {
    /// `trusted.overlay.*`: the default, for the machine's root.
    Trusted,
    /// `user.overlay.*`: with the mount option `userxattr`.
    User,
}

impl MarkNamespace {
    /// The beginning of every attribute that the overlay has for itself.
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Self::Trusted => b"trusted.overlay.",
            Self::User => b"user.overlay.",
        }
    }
}

/// Where the lower part of a renamed entry is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// A path from the overlay's root, without a slash in front.
    FromRoot(Vec<u8>),
    /// Another name in the same directory (of the lower).
    Sibling(Vec<u8>),
}

/// The marks of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The directory hides the lower entries at its path.
    pub opaque: bool,
    /// A directory in which empty files may be whiteouts ([`Marks::whiteout`]).
    pub may_hold_xattr_whiteouts: bool,
    /// An empty file that is a whiteout, if its directory may hold such.
    pub whiteout: bool,
    /// The lower part of the entry has another path.
    pub redirect: Option<Redirect>,
    /// A file with its metadata only: its bytes are holes, the real ones are in the lower.
    pub metacopy: bool,
}

/// Whether an entry is a whiteout by its type: a character device 0:0.
///
/// The other form is [`is_xattr_whiteout`].
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether an entry is a whiteout by its attribute: an empty file with the mark, in a directory
/// that is marked to contain some. The kernel never writes these into an upper; image builders do.
pub fn is_xattr_whiteout(stat: &Stat, marks: &Marks, directory: &Marks) -> bool {
    directory.may_hold_xattr_whiteouts
        && marks.whiteout
        && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_size == 0
}

/// Reads the marks of a directory from its descriptor.
///
/// # Errors
/// Those of reading attributes; `InvalidData` for an invalid redirect.
pub fn directory_marks(dir: BorrowedFd<'_>, namespace: MarkNamespace) -> io::Result<Marks> {
    read_marks(&XattrTarget::directory(dir), namespace)
}

/// Reads the marks of the entry `name` of a directory, of any type.
///
/// # Errors
/// As [`directory_marks`].
pub fn marks_at(dir: BorrowedFd<'_>, name: &[u8], namespace: MarkNamespace) -> io::Result<Marks> {
    read_marks(&XattrTarget::at(dir, name)?, namespace)
}

fn read_marks(entry: &XattrTarget, namespace: MarkNamespace) -> io::Result<Marks> {
    let mut marks = Marks::default();
    // Most entries have no mark, or only `origin`, so one call is enough.
    for name in entry.list()? {
        let Some(mark) = name.to_bytes().strip_prefix(namespace.prefix()) else {
            continue;
        };
        match mark {
            b"opaque" => match entry.get(&name)?.as_deref() {
                Some(b"y") => marks.opaque = true,
                Some(b"x") => marks.may_hold_xattr_whiteouts = true,
                _ => {}
            },
            b"whiteout" => marks.whiteout = true,
            b"metacopy" => marks.metacopy = true,
            b"redirect" => marks.redirect = entry.get(&name)?.map(parse_redirect).transpose()?,
            _ => {}
        }
    }
    Ok(marks)
}

/// Checks a redirect as the kernel does: an absolute path, or one name.
fn parse_redirect(value: Vec<u8>) -> io::Result<Redirect> {
    let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    let parsed = match value.strip_prefix(b"/") {
        Some(path) => path
            .split(|&byte| byte == b'/')
            .all(plain)
            .then(|| Redirect::FromRoot(path.to_owned())),
        None => (plain(&value) && !value.contains(&b'/')).then(|| Redirect::Sibling(value.clone())),
    };
    parsed.filter(|_| !value.contains(&0)).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&value);
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not an overlay redirect: {shown:?}"),
        )
    })
}

/// Treatment of an attribute when a file of an upper is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedXattr {
    /// It is the file's own, under its own name.
    Keep,
    /// It is a note of the kernel.
    Strip,
    /// It is the file's own, but the overlay keeps it under another name; this is its own.
    Rename(Vec<u8>),
}

/// Decides how to save an attribute of a file of an upper.
///
/// The overlay stores an attribute with its own prefix under one more `overlay.` (Linux 6.7 and
/// later), so that overlays can be stacked; this is reverted.
pub fn saved_xattr(name: &[u8], namespace: MarkNamespace) -> SavedXattr {
    let prefix = namespace.prefix();
    let Some(mark) = name.strip_prefix(prefix) else {
        return SavedXattr::Keep;
    };
    match mark.strip_prefix(b"overlay.") {
        Some(own) => SavedXattr::Rename([prefix, own].concat()),
        None => SavedXattr::Strip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_checked() {
        let parse = |value: &[u8]| parse_redirect(value.to_vec()).ok();
        assert_eq!(parse(b"/a/b"), Some(Redirect::FromRoot(b"a/b".to_vec())));
        assert_eq!(
            parse(b"old name"),
            Some(Redirect::Sibling(b"old name".to_vec()))
        );
        for bad in [
            &b""[..],
            b"/",
            b"a/b",
            b"..",
            b"/a/../b",
            b"/a//b",
            b"/a/",
            b"a\0b",
            b"/a\0",
        ] {
            assert_eq!(parse(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn the_kernels_notes_are_stripped_and_a_files_own_kept() {
        use MarkNamespace::{Trusted, User};
        for note in [
            "origin", "impure", "nlink", "upper", "uuid", "protattr", "metacopy", "opaque",
        ] {
            let name = format!("trusted.overlay.{note}");
            assert_eq!(saved_xattr(name.as_bytes(), Trusted), SavedXattr::Strip);
        }
        assert_eq!(saved_xattr(b"user.comment", Trusted), SavedXattr::Keep);
        assert_eq!(
            saved_xattr(b"user.overlay.origin", Trusted),
            SavedXattr::Keep
        );
        assert_eq!(saved_xattr(b"user.overlay.origin", User), SavedXattr::Strip);
        assert_eq!(
            saved_xattr(b"trusted.overlay.overlay.opaque", Trusted),
            SavedXattr::Rename(b"trusted.overlay.opaque".to_vec())
        );
    }
}
