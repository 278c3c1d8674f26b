//! Classifies failed system calls of a directory remote.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::remote::{RemoteError, RemoteErrorKind};

/// An operation on an object, as error messages name it.
#[derive(Debug)]
pub(super) struct FileAction(String);

impl FileAction {
    pub(super) fn new(verb: &str, object: &impl fmt::Display) -> Self {
        Self(format!("{verb} {object}"))
    }

    pub(super) fn fail(&self, kind: RemoteErrorKind) -> RemoteError {
        RemoteError::new(kind, &self.0)
    }

    /// The root directory could not be opened.
    pub(super) fn root(&self, errno: Errno) -> RemoteError {
        let kind = match errno {
            Errno::NOENT | Errno::NOTDIR => RemoteErrorKind::NoRemote,
            errno => kind_of(errno),
        };
        self.fail(kind).with_source(io::Error::from(errno))
    }

    /// The root directory could not be created or opened for a write.
    pub(super) fn create_root(&self, error: io::Error) -> RemoteError {
        match Errno::from_io_error(&error) {
            Some(errno @ Errno::EXIST) => {
                // `mkdir -p` found a file in place of a directory.
                self.fail(RemoteErrorKind::NoRemote)
                    .with_source(io::Error::from(errno))
            }
            Some(errno) => self.root(errno),
            None => self.io(error),
        }
    }

    /// An object could not be read.
    pub(super) fn read(&self, errno: Errno) -> RemoteError {
        match errno {
            Errno::NOENT | Errno::NOTDIR => self.fail(RemoteErrorKind::NotFound),
            errno => self.write(errno),
        }
    }

    /// A folder could not be listed; one that vanished meanwhile is not an error.
    pub(super) fn list(&self, errno: Errno) -> RemoteError {
        self.write(errno)
    }

    /// An object could not be written or removed.
    pub(super) fn write(&self, errno: Errno) -> RemoteError {
        self.fail(kind_of(errno))
            .with_source(io::Error::from(errno))
    }

    /// Reading or writing an open file failed.
    pub(super) fn io(&self, error: io::Error) -> RemoteError {
        let kind = Errno::from_io_error(&error).map_or(RemoteErrorKind::Unavailable, kind_of);
        self.fail(kind).with_source(error)
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn kind_of(errno: Errno) -> RemoteErrorKind {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => RemoteErrorKind::Full,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => RemoteErrorKind::Denied,
        // The name itself can't be an object here: a folder or a link is in its place, or it
        // is longer than the filesystem allows.
        Errno::ISDIR
        | Errno::NOTDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NAMETOOLONG
        | Errno::INVAL => RemoteErrorKind::Invalid,
        // EIO, ESTALE, ENFILE and the like: the disk or the server behind it, not the request.
        _ => RemoteErrorKind::Unavailable,
    }
}
