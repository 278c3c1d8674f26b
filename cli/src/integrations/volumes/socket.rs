//! The socket that engines talk to: made here, or handed over by the service manager.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use cachefs::Error;
use cachefs::sys::socket::SocketFile;

use crate::integrations::listen::listen_on;
use crate::output;

/// A socket that listens. One that was made here is removed in the end.
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    file: Option<SocketFile>,
}

/// Where engines look for a plugin of this name.
pub(crate) fn default_socket() -> PathBuf {
    PathBuf::from("/run/docker/plugins/cachefs.sock")
}

impl Socket {
    /// Listens at a path, or at the socket that the service manager has made.
    ///
    /// # Errors
    ///
    /// When another plugin listens there, and when the socket cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (listener, file) = match take_passed_socket() {
            Some(listener) => (listener, None),
            None => {
                let (listener, file) = listen_on(path, "--socket")?;
                (listener, Some(file))
            }
        };
        Ok(Self { listener, file })
    }

    /// Where it listens, for people.
    pub(crate) fn describe(&self) -> String {
        match &self.file {
            Some(file) => output::format_path(file.path()),
            None => "the socket of the service manager".to_owned(),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// The socket that a service manager such as systemd passes, as in `sd_listen_fds(3)`; `None` if
/// there is none, or if the descriptor is not a Unix socket.
fn take_passed_socket() -> Option<UnixListener> {
    let mut passed = listenfd::ListenFd::from_env();
    passed.take_unix_listener(0).ok().flatten()
}
