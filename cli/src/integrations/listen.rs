//! The sockets of services for local clients such as engines and kubelet.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;

use cachefs::Error;
use cachefs::sys::socket::{self, SocketFile};

/// Listens on a Unix socket at a path, and replaces the socket of an earlier run. Only this user
/// and root can connect. `option` is the option for another path.
///
/// # Errors
///
/// A usage error if another process listens there, or if the path is no socket.
pub(crate) fn listen_on(path: &Path, option: &str) -> Result<(UnixListener, SocketFile), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let listener = socket::listen_unless_taken(path).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::usage(
            format!("another process listens on {}", path.display()),
            format!("stop it, or use another socket with {option}"),
        ),
        ErrorKind::AlreadyExists => Error::usage(
            format!("{} is not a socket", path.display()),
            format!("use a free path with {option}, or a socket of an earlier run"),
        ),
        _ => Error::io("listen at", path)(error),
    })?;
    let file = SocketFile::of(path).map_err(Error::io("listen at", path))?;
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_private_replaces_a_dead_one_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugins/cachefs.sock");
        fs::create_dir(dir.path().join("plugins")).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = listen_on(&path, "--socket").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        let taken = listen_on(&path, "--socket").unwrap_err();
        assert!(taken.to_string().contains("another process"), "{taken}");
        file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "precious").unwrap();
        let refused = listen_on(&path, "--socket").unwrap_err();
        assert!(refused.to_string().contains("is not a socket"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
