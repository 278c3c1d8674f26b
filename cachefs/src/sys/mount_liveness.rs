//! Whether a mount still has somebody serving it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::Errno;

/// State of a mount.
#[derive(Debug)]
pub enum MountHealth {
    /// It answered in time, even if with an ordinary error.
    Alive,
    /// Its server is gone (`ENOTCONN`, `ECONNABORTED`, `ESTALE`); only unmounting helps.
    Dead(io::Error),
    /// It did not answer in time: its server hangs, or has not begun to serve.
    Hung,
}

/// Requests the root and the statistics of a mount, and waits at most `limit`.
///
/// A hung server blocks the requesting thread until it answers or the process exits; the caller
/// continues. An overlay answers from its upper, so check the FUSE view below it instead.
///
/// # Errors
/// If no thread can be started, or if `path` does not exist.
pub fn mount_health(path: &Path, limit: Duration) -> io::Result<MountHealth> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let asked: PathBuf = path.to_owned();
    std::thread::Builder::new()
        .name("mount-health".to_owned())
        .spawn(move || {
            // `statfs` reaches a FUSE server in every case, `stat` may be answered from a cache.
            let answer = rustix::fs::statfs(&asked)
                .map(drop)
                .and_then(|()| rustix::fs::stat(&asked).map(drop));
            // The receiver is gone when the limit has passed.
            let _ = sender.send(answer);
        })?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(())) => Ok(MountHealth::Alive),
        Ok(Err(errno @ (Errno::NOTCONN | Errno::CONNABORTED | Errno::STALE))) => {
            Ok(MountHealth::Dead(errno.into()))
        }
        Ok(Err(errno @ (Errno::NOENT | Errno::NOTDIR))) => Err(errno.into()),
        Ok(Err(_)) => Ok(MountHealth::Alive),
        Err(_) => Ok(MountHealth::Hung),
    }
}
