//! Reading the upper directory of an overlay.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use cachefs_store::layer::mode;
use cachefs_store::save::reading::{Mark, Reading};
use rustix::fs::Stat;

use crate::sys::namespace::in_initial_user_namespace;
use crate::sys::upper::{MarkNamespace, Redirect, SavedXattr, is_whiteout, marks_at, saved_xattr};

/// Files as the kernel keeps them in an upper directory.
pub(super) struct UpperFiles(MarkNamespace);

impl UpperFiles {
    /// For an overlay that this process could have mounted.
    pub(super) fn for_caller() -> Self {
        Self(if in_initial_user_namespace() {
            MarkNamespace::Trusted
        } else {
            MarkNamespace::User
        })
    }
}

impl Reading for UpperFiles {
    fn mark(&self, parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<Mark> {
        if is_whiteout(stat) {
            return Ok(Mark::Whiteout);
        }
        match stat.st_mode & mode::TYPE {
            mode::DIRECTORY => {
                let marks = marks_at(parent, name.to_bytes(), self.0)?;
                if !marks.opaque && marks.redirect.is_none() {
                    return Ok(Mark::Plain);
                }
                let redirect = marks.redirect.map(|redirect| match redirect {
                    Redirect::FromRoot(path) => [b"/", &path[..]].concat(),
                    Redirect::Sibling(name) => name,
                });
                Ok(Mark::Directory {
                    opaque: marks.opaque,
                    redirect,
                })
            }
            // Only mounts that ask for `metacopy` make such files, and ours never do: its bytes
            // would be holes.
            mode::FILE if marks_at(parent, name.to_bytes(), self.0)?.metacopy => Err(
                io::Error::other("its content is still in the lower layer (metacopy)"),
            ),
            _ => Ok(Mark::Plain),
        }
    }

    fn keep_xattr(&self, name: &[u8]) -> bool {
        saved_xattr(name, self.0) == SavedXattr::Keep
    }

    fn has_lower_layers(&self) -> bool {
        true
    }
}
