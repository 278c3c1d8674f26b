//! The socket that engines talk to: made here, or handed over by the service manager.

use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use cachefs::Error;
use cachefs::sys::socket::SocketFile;

use crate::integrations::listen::listen_on;
use crate::output;

/// The descriptor of the first socket that a service manager hands over.
const FIRST: i32 = 3;

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
        let (listener, file) = match handed_over() {
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

/// The socket that systemd or something like it hands over, as `sd_listen_fds(3)` describes it.
fn handed_over() -> Option<UnixListener> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS").unwrap_or(0) == 0 {
        return None;
    }
    // SAFETY: the service manager says that this descriptor is for this process, and nothing else
    // here takes it: this is called once, when the plugin starts.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    // Child processes of this one have no use for it.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).ok()?;
    let listener = UnixListener::from(socket);
    // Something that is no socket would fail at the first container instead of here.
    listener.local_addr().ok()?;
    Some(listener)
}
