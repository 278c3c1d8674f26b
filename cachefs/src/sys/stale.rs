//! Whether a mount still has somebody serving it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::Errno;

/// What a mount answered.
#[derive(Debug)]
pub enum MountHealth {
    /// It answered within the time, be it with an ordinary error.
    Alive,
    /// Its server is gone (`ENOTCONN`, `ECONNABORTED`, `ESTALE`); only unmounting helps.
    Dead(io::Error),
    /// It did not answer in time: its server hangs, or has not begun to serve.
    Hung,
}

/// Asks a mount for its root and its figures, and waits `limit` at most.
///
/// A hung server holds the asking thread until it answers or the process ends; the caller goes on.
/// An overlay answers from its upper: ask the FUSE view below it instead.
///
/// # Errors
/// When no thread can be started, or nothing is to be found at `path`.
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
