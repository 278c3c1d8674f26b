//! The socket that engines talk to: made here, or handed over by the service manager.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use cachefs::Error;

use crate::output;

/// The descriptor of the first socket that a service manager hands over.
const FIRST: i32 = 3;

/// A socket that listens. One that was made here is removed in the end.
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    path: Option<PathBuf>,
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
        match handed_over() {
            Some(listener) => Ok(Self {
                listener,
                path: None,
            }),
            None => Self::bind(path),
        }
    }

    /// Where it listens, for people.
    pub(crate) fn describe(&self) -> String {
        match &self.path {
            Some(path) => output::path(path),
            None => "the socket of the service manager".to_owned(),
        }
    }

    fn bind(path: &Path) -> Result<Self, Error> {
        if UnixStream::connect(path).is_ok() {
            return Err(Error::usage(
                format!("another plugin listens at {}", path.display()),
                "stop it, or name another socket with --socket",
            ));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("replace", path)(error));
            }
            _ => {}
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        // It has its name once it has its mode: whoever may connect may mount.
        let hidden = path.with_extension(format!("{}.new", std::process::id()));
        // In a container, a plugin that was killed had the same number.
        let _ = fs::remove_file(&hidden);
        let made = UnixListener::bind(&hidden).and_then(|listener| {
            fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
            fs::rename(&hidden, path)?;
            Ok(listener)
        });
        let listener = made.map_err(Error::io("listen at", path))?;
        Ok(Self {
            listener,
            path: Some(path.to_owned()),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed is replaced by the next one.
            let _ = fs::remove_file(path);
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
    // What this process starts has no use for it.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).ok()?;
    let listener = UnixListener::from(socket);
    // Something that is no socket would fail at the first container instead of here.
    listener.local_addr().ok()?;
    Some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_replaces_a_dead_one_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugins/cachefs.sock");
        fs::create_dir(dir.path().join("plugins")).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        UnixStream::connect(&path).unwrap();
        assert!(Socket::bind(&path).is_err());
        drop(socket);
        assert!(!path.exists());
    }
}
