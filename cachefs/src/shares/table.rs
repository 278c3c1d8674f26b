//! The shares that are open, and who stands behind a connection.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use cachefs_store::id::StackId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::grant::{Allowed, Grant};
use crate::error::{Error, Result};
use crate::rpc::{OpenedView, Request};
use crate::sys::socket::{PeerCredentials, SocketFile};

/// So many clients of one share are served at the same time: each has a thread.
const MAX_CONNECTIONS: usize = 64;
/// So many views may the clients of one share have open. More than any job has paths.
const MAX_VIEWS: usize = 256;
/// So many stacks of a share are remembered.
const MAX_STACKS: usize = 1024;

/// All it takes to open a share again, besides its listening descriptor. It holds credentials: for
/// the memory of another process of the same user, never for a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareDescription {
    /// Where the socket was made.
    pub path: PathBuf,
    /// Device and inode of the socket's file.
    pub file: (u64, u64),
    /// What its clients may have.
    pub grant: Grant,
    /// The stacks that its clients were given.
    pub stacks: Vec<StackId>,
}

/// A share as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareInfo {
    /// Where its socket is.
    pub path: PathBuf,
    /// What its clients may have.
    pub allowed: Allowed,
    /// The only user besides root who may connect; the daemon's own when `None`.
    pub uid: Option<u32>,
    /// Number of connections now.
    pub connections: usize,
}

/// A socket and what its clients may have.
#[derive(Debug)]
pub(crate) struct Share {
    socket: SocketFile,
    listener: UnixListener,
    grant: Grant,
    stacks: Mutex<HashSet<StackId>>,
    views: Mutex<HashSet<u64>>,
    connections: AtomicUsize,
    closed: AtomicBool,
}

impl Share {
    /// The listening socket, to accept clients from.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Whether it was ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// All it takes to open it again, besides its socket.
    pub(crate) fn description(&self) -> ShareDescription {
        ShareDescription {
            path: self.socket.path().to_owned(),
            file: self.socket.id(),
            grant: self.grant.clone(),
            stacks: self.stacks.lock().iter().copied().collect(),
        }
    }

    /// Ends the acceptance of clients, and takes the socket's file away if it is still that.
    fn close(&self) {
        self.closed.store(true, Relaxed);
        // Whoever waits in `accept` returns with an error; a failure leaves a socket that refuses.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.socket.remove();
    }
}

/// The shares of a daemon, by path.
#[derive(Debug, Default)]
pub struct Shares(Mutex<BTreeMap<PathBuf, Arc<Share>>>);

impl Shares {
    /// Opens a share on a listening socket, its own or one that another process has left.
    ///
    /// # Errors
    /// A usage error when there is one at this path.
    pub(crate) fn open(
        &self,
        description: ShareDescription,
        listener: OwnedFd,
    ) -> Result<Arc<Share>> {
        let mut shares = self.0.lock();
        if shares.contains_key(&description.path) {
            return Err(Error::usage(
                format!("{} is shared already", description.path.display()),
                "end that share first, with `cachefs daemon unshare`",
            ));
        }
        let share = Arc::new(Share {
            socket: SocketFile::known(&description.path, description.file),
            listener: UnixListener::from(listener),
            grant: description.grant,
            stacks: Mutex::new(description.stacks.into_iter().collect()),
            views: Mutex::default(),
            connections: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        shares.insert(description.path, Arc::clone(&share));
        Ok(share)
    }

    /// Ends a share. Mounts that were made through it stay.
    ///
    /// # Errors
    /// A usage error when there is none at this path.
    pub(crate) fn close(&self, path: &Path) -> Result<()> {
        let share = self.0.lock().remove(path).ok_or_else(|| {
            Error::usage(
                format!("{} is not shared", path.display()),
                "`cachefs daemon shares` lists what is",
            )
        })?;
        share.close();
        Ok(())
    }

    /// Ends all shares.
    pub(crate) fn close_all(&self) {
        for share in std::mem::take(&mut *self.0.lock()).into_values() {
            share.close();
        }
    }

    /// The shares as they are listed.
    pub(crate) fn list(&self) -> Vec<ShareInfo> {
        let shares = self.0.lock();
        let info = |share: &Arc<Share>| ShareInfo {
            path: share.socket.path().to_owned(),
            allowed: share.grant.allowed(),
            uid: share.grant.uid,
            connections: share.connections.load(Relaxed),
        };
        shares.values().map(info).collect()
    }
}

/// What stands between a connection and the daemon's answers.
#[derive(Debug)]
pub(crate) enum Gate {
    /// The daemon's own socket: its user and root may ask for anything.
    Owner,
    /// A share.
    Share(Arc<Share>),
}

impl Gate {
    /// A client's way into a share; counts it.
    pub(crate) fn of_share(share: Arc<Share>) -> Self {
        share.connections.fetch_add(1, Relaxed);
        Self::Share(share)
    }

    /// Whether a client brings chunks or trailers; others have no payload.
    pub(crate) fn takes_payload(&self) -> bool {
        matches!(self, Self::Owner)
    }

    /// Looks at who has connected.
    ///
    /// # Errors
    /// A usage error for a user who may not.
    pub(crate) fn welcome(&self, peer: &PeerCredentials) -> Result<()> {
        let own = rustix::process::geteuid().as_raw();
        match self {
            Self::Owner if peer.uid == 0 || peer.uid == own => Ok(()),
            Self::Owner => Err(Error::usage(
                "this store belongs to another user",
                "use a store directory of your own with --store",
            )),
            Self::Share(share) => {
                let other = peer.uid != 0 && peer.uid != share.grant.uid.unwrap_or(own);
                let message = if other {
                    format!("this socket is not for user {}", peer.uid)
                } else if share.connections.load(Relaxed) > MAX_CONNECTIONS {
                    format!("this socket has {MAX_CONNECTIONS} clients already")
                } else {
                    return Ok(());
                };
                Err(Error::usage(message, "ask whoever shared it"))
            }
        }
    }

    /// The request as it may be answered; `own` are the views that the client has opened and not
    /// yet had served.
    ///
    /// # Errors
    /// A usage error for what goes beyond the grant.
    pub(crate) fn admit(
        &self,
        request: Request,
        own: &[u64],
        is_open: impl Fn(u64) -> bool,
    ) -> Result<Request> {
        let Self::Share(share) = self else {
            return Ok(request);
        };
        let ended = "ask whoever shared it";
        if share.is_closed() {
            return Err(Error::usage("this socket is no longer shared", ended));
        }
        let request = share.grant.admit(request, own, &share.stacks.lock())?;
        if matches!(request, Request::Restore(_) | Request::Open(_)) {
            let mut views = share.views.lock();
            views.retain(|view| is_open(*view));
            if views.len() >= MAX_VIEWS {
                let message = format!("the clients of this socket have {MAX_VIEWS} mounts already");
                return Err(Error::usage(message, "unmount some with `cachefs umount`"));
            }
        }
        Ok(request)
    }

    /// Notes which view a client was given.
    pub(crate) fn gave(&self, view: &OpenedView) {
        if let Self::Share(share) = self {
            share.views.lock().insert(view.view);
        }
    }

    /// Notes which stack a client was given; returns its share if that is news.
    pub(crate) fn gave_stack(&self, stack: StackId) -> Option<&Share> {
        let Self::Share(share) = self else {
            return None;
        };
        let mut stacks = share.stacks.lock();
        if stacks.len() >= MAX_STACKS {
            // Clients restore again what they can no longer mount again.
            stacks.clear();
        }
        stacks.insert(stack).then_some(&**share)
    }

    /// What clients may have, of a share.
    ///
    /// # Errors
    /// A usage error on the daemon's own socket.
    pub(crate) fn allowed(&self) -> Result<Allowed> {
        match self {
            Self::Share(share) => Ok(share.grant.allowed()),
            Self::Owner => Err(Error::usage(
                "this is the daemon's own socket, which is not shared",
                "leave --daemon out, and name the store with --store",
            )),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Self::Share(share) = self {
            share.connections.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use cachefs_store::refs::Scope;
    use cachefs_store::remote::RemoteSpec;

    use super::*;
    use crate::sys::socket;

    fn description(path: &Path, uid: Option<u32>) -> ShareDescription {
        ShareDescription {
            path: path.to_owned(),
            file: SocketFile::of(path).unwrap().id(),
            grant: Grant {
                remote: RemoteSpec::default(),
                deadline_ms: None,
                scopes: vec![Scope::new("pr/1").unwrap()],
                uid,
                read_only: false,
            },
            stacks: vec![StackId([7; 32])],
        }
    }

    fn peer(uid: u32) -> PeerCredentials {
        PeerCredentials {
            pid: None,
            uid,
            gid: uid,
        }
    }

    #[test]
    fn shares_are_opened_listed_handed_over_and_ended() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("share.sock");
        let listener = socket::listen(&path).unwrap();
        let shares = Shares::default();
        let first = shares
            .open(description(&path, None), listener.into())
            .unwrap();
        let listener = || first.listener().as_fd().try_clone_to_owned().unwrap();
        let again = listener();
        assert!(shares.open(description(&path, None), again).is_err());

        // Another process takes over, through JSON, while clients keep connecting.
        let told = first.description();
        let text = serde_json::to_string(&told).unwrap();
        let heir = Shares::default();
        let share = heir
            .open(serde_json::from_str(&text).unwrap(), listener())
            .unwrap();
        drop((shares, first));
        let client = socket::connect(&path).unwrap();
        let (served, _) = share.listener().accept().unwrap();
        drop((client, served));
        assert_eq!(share.description(), told);
        assert_eq!(heir.list()[0].path, path);

        let waiting = std::thread::spawn(move || share.listener().accept().map(drop));
        heir.close(&path).unwrap();
        assert!(waiting.join().unwrap().is_err());
        assert!(!path.exists() && heir.list().is_empty());
        assert!(heir.close(&path).is_err());
    }

    #[test]
    fn a_file_that_took_the_place_of_a_socket_stays() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("share.sock");
        let listener = socket::listen(&path).unwrap();
        let shares = Shares::default();
        shares
            .open(description(&path, None), listener.into())
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        shares.close_all();
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn users_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        for (uid, allowed) in [(Some(12_345), 12_345), (None, own)] {
            let path = temp.path().join(format!("{allowed}.sock"));
            let listener = socket::listen(&path).unwrap();
            let share = Shares::default()
                .open(description(&path, uid), listener.into())
                .unwrap();
            let gate = Gate::of_share(Arc::clone(&share));
            assert!(gate.welcome(&peer(allowed)).is_ok());
            assert!(gate.welcome(&peer(0)).is_ok());
            assert!(gate.welcome(&peer(54_321)).is_err());
            let more: Vec<_> = (0..MAX_CONNECTIONS)
                .map(|_| Gate::of_share(Arc::clone(&share)))
                .collect();
            assert!(gate.welcome(&peer(allowed)).is_err());
            drop(more);
            assert!(gate.welcome(&peer(allowed)).is_ok());
        }
        assert!(Gate::Owner.welcome(&peer(own)).is_ok());
        assert!(Gate::Owner.welcome(&peer(54_321)).is_err());
    }
}
