//! Unix sockets at paths of any length, and the credentials of their peers.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest path that fits into a socket address, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;

/// The process at the other end of a Unix socket, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Its process id here; `None` when it lives in a PID namespace that is not visible from here.
    pub pid: Option<u32>,
    /// Its effective user id, in this user namespace.
    pub uid: u32,
    /// Its effective group id, in this user namespace.
    pub gid: u32,
}

/// Listens at `path`, to which only the owner (and root) can connect.
///
/// Replaces the socket file of a dead process. The caller must hold the lock that makes it the only
/// listener ([`super::lock`]); otherwise it would take the path from a live process.
///
/// # Errors
/// `AlreadyExists` if `path` is not a socket; otherwise those of the system.
pub fn listen_private(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} exists and is not a socket", path.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The mode of the unbound socket becomes that of the file: no moment in which others may connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let short = ShortPath::of(path)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&short.path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Listens at `path` like [`listen_private`], for a service without a lock: in place of a socket that an
/// earlier run has left, never of one where somebody answers.
///
/// # Errors
/// `AddrInUse` when a process listens there; else as [`listen_private`].
pub fn listen_unless_taken(path: &Path) -> io::Result<UnixListener> {
    match connect_private(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => listen_private(path),
            // For example, it belongs to another user, who may be listening.
            _ => Err(error),
        },
    }
}

/// The file of a listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    /// The file at `path`.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self::known(path, (found.dev(), found.ino())))
    }

    /// A file that another process has described.
    pub fn known(path: &Path, id: (u64, u64)) -> Self {
        let path = path.to_owned();
        Self { path, id }
    }

    /// Where it was made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its device and inode.
    pub fn id(&self) -> (u64, u64) {
        self.id
    }

    /// Removes the file, unless another one has taken its place: the directory may have been
    /// recreated, and another process may listen there.
    pub fn remove(&self) {
        let is_it = std::fs::symlink_metadata(&self.path).is_ok_and(|found| {
            found.file_type().is_socket() && (found.dev(), found.ino()) == self.id
        });
        if is_it {
            // It may be unreachable, for example in a container that is gone; the next listener
            // replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Connects to the socket at `path`.
///
/// # Errors
/// `NotFound` if there is none, `ConnectionRefused` if its process is gone.
pub fn connect_private(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(&ShortPath::of(path)?.path)
}

/// Returns the kernel's credentials of the peer that connected (or, for a client, that listens).
///
/// # Errors
/// Those of `getsockopt`.
pub fn peer_credentials(socket: &UnixStream) -> io::Result<PeerCredentials> {
    // Not rustix, whose process id cannot be zero: a peer in a PID namespace beside or above ours
    // has that id.
    let mut credentials = MaybeUninit::<libc::ucred>::zeroed();
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, the buffer is writable for `length` bytes.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            credentials.as_mut_ptr().cast(),
            &mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: three integers, for which every bit pattern, zeros included, is a value.
    let credentials = unsafe { credentials.assume_init() };
    Ok(PeerCredentials {
        pid: u32::try_from(credentials.pid).ok().filter(|&pid| pid != 0),
        uid: credentials.uid,
        gid: credentials.gid,
    })
}

/// Whether the process at the other end has closed the connection, or has ended. Data that it sent
/// before may still be there.
pub fn has_hung_up(socket: &UnixStream) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::RDHUP)];
    let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
        && polled[0].revents().intersects(gone)
}

/// A path that fits into a socket address, and the descriptor that keeps it valid.
struct ShortPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
        let short = Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path: short,
            _directory: Some(directory),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_not_left_over_stays() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("daemon.sock");
        let first = listen_unless_taken(&path).unwrap();
        let file = SocketFile::of(&path).unwrap();
        let taken = listen_unless_taken(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        // The same path in a recreated directory. The first directory keeps its inode number until
        // it is closed.
        std::fs::rename(&path, temp.path().join("moved")).unwrap();
        let _second = listen_unless_taken(&path).unwrap();
        file.remove();
        connect_private(&path).unwrap();
        SocketFile::of(&path).unwrap().remove();
        assert!(!path.exists());
        drop(first);
    }

    #[test]
    fn a_path_longer_than_an_address_works() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        for path in [temp.path().join("s"), deep.join("daemon.socket")] {
            assert_eq!(
                connect_private(&path).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
            let listener = listen_private(&path).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "others may connect: {mode:o}");
            let client = connect_private(&path).unwrap();
            let (server, _) = listener.accept().unwrap();
            for end in [&client, &server] {
                let peer = peer_credentials(end).unwrap();
                assert_eq!(peer.pid, Some(std::process::id()));
                assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
            }
            assert!(!has_hung_up(&server));
            drop(client);
            assert!(has_hung_up(&server));
        }
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("socket");
        drop(listen_private(&path).unwrap());
        assert_eq!(
            connect_private(&path).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let _listener = listen_private(&path).unwrap();
        connect_private(&path).unwrap();

        let file = temp.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(
            listen_private(&file).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }
}
