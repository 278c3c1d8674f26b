//! Making the socket of a share, and having the daemon listen on it.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Grant, ShareDescription};
use crate::error::{Error, Result};
use crate::rpc::DaemonClient;
use crate::store_dir::StoreDir;
use crate::sys::socket::SocketFile;
use crate::sys::{ownership, socket};
use cachefs_store::Hint;

/// Opens a share at `path`, for as long as the store's daemon runs. Starts the daemon if necessary.
///
/// The socket is created here, in the caller's mount namespace, and belongs to the user of the
/// grant.
///
/// # Errors
/// A usage error if the path exists and is no socket, or if other users could replace it.
pub fn open_share(store: &StoreDir, path: &Path, grant: Grant) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if ownership::others_can_replace(parent).map_err(Error::io("open", parent))? {
        return Err(Error::usage(
            format!("any user could replace the socket {}", path.display()),
            format!(
                "run `chmod o-w {}`, or use another directory",
                parent.display()
            ),
        ));
    }
    // The daemon is started first, so that it answers as soon as the socket exists.
    let mut client = DaemonClient::connect(store)?;
    let listener = socket::listen_unless_taken(path).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::usage(
            format!("another process already listens on {}", path.display()),
            Hint::EndShareOrMove,
        ),
        _ => Error::io("listen on", path)(error),
    })?;
    let opened = describe_share(path, grant)
        .and_then(|description| client.share(description, listener.as_fd()));
    if opened.is_err() {
        // The error is the one to report; a socket nobody listens on is replaced the next time.
        let _ = std::fs::remove_file(path);
    }
    opened
}

fn describe_share(path: &Path, grant: Grant) -> Result<ShareDescription> {
    if let Some(uid) = grant.uid
        && std::os::unix::fs::chown(path, Some(uid), None).is_err()
    {
        // Only root can change the owner. The daemon checks the peer of each connection in any
        // case.
        let everyone = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, everyone).map_err(Error::io("change", path))?;
    }
    let file = SocketFile::of(path).map_err(Error::io("open", path))?;
    Ok(ShareDescription {
        path: path.to_owned(),
        file: file.id(),
        grant,
        stacks: Vec::new(),
    })
}
