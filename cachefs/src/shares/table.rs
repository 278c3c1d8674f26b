//! The open shares, and the owner of a connection.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use cachefs_store::id::StackId;
use parking_lot::Mutex;

use super::description::{ClientGrant, Grant, ShareDescription, ShareInfo};
use crate::error::{Error, Result};
use crate::rpc::{OpenedView, RpcRequest};
use crate::sys::fdpass::{Bounds, MAX_HEADER};
use crate::sys::limits::descriptor_limit;
use crate::sys::socket::{PeerCredentials, SocketFile};
use cachefs_store::Hint;

/// How long a client may take for its first request, and for the rest of one that it has begun.
const FRAME: Duration = Duration::from_secs(5);
/// How long the client of a share may be silent between requests: it makes its mounts meanwhile.
const SILENCE: Duration = Duration::from_secs(120);

/// Largest number of concurrent clients of one share: each has a thread.
const MAX_CONNECTIONS: usize = 64;
/// Largest number of open views of one share's clients: more than any job has paths.
const MAX_VIEWS: usize = 256;
/// Largest number of concurrent clients of the daemon's own user.
const MAX_OWNERS: usize = 4096;
/// Connections of all shares together may use one `PART`th of the process's descriptors, their
/// views another one, and the daemon's own user another one. The rest is for files and requests, so
/// that no client can keep another client's mount from being read.
const PART: u64 = 4;
/// Number of stacks that are remembered for a share.
const MAX_STACKS: usize = 1024;

/// A socket and the permissions of its clients.
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

    /// The data to reopen it, except for its socket.
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
        // A thread in `accept` returns with an error. If this fails, the socket remains and refuses
        // clients.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.socket.remove();
    }
}

/// The shares of a daemon, by path.
#[derive(Debug, Default)]
pub struct Shares(Mutex<BTreeMap<PathBuf, Arc<Share>>>);

/// The clients of the daemon's own socket.
#[derive(Debug, Default)]
pub(crate) struct Owners(AtomicUsize);

impl Shares {
    /// How many clients, and how many views, each share may have now: an equal part for each, so
    /// that one share's clients take nothing of another's.
    pub(crate) fn quota(&self) -> Quota {
        Quota::of(descriptor_limit(), self.0.lock().len())
    }

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
                format!("{} is already shared", description.path.display()),
                Hint::EndShare,
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

    /// Closes a share. Mounts that were made through it stay.
    ///
    /// # Errors
    /// A usage error if there is none at this path.
    pub(crate) fn close(&self, path: &Path) -> Result<()> {
        let share = self.0.lock().remove(path).ok_or_else(|| {
            Error::usage(
                format!("{} is not shared", path.display()),
                Hint::ListShares,
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

/// Limits for the concurrent clients of one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    connections: usize,
    views: usize,
}

impl Quota {
    fn of(descriptors: u64, shares: usize) -> Self {
        let all = usize::try_from(descriptors / PART).unwrap_or(usize::MAX);
        let each = all / shares.max(1);
        Self {
            connections: each.clamp(1, MAX_CONNECTIONS),
            views: each.clamp(1, MAX_VIEWS),
        }
    }
}

/// Checks the requests of a connection before the daemon answers them.
#[derive(Debug)]
pub(crate) enum Gate {
    /// The daemon's own socket: its user and root may ask for anything.
    Owner(Arc<Owners>),
    /// A share.
    Share(Arc<Share>),
}

impl Gate {
    /// A client's way into a share; counts it.
    pub(crate) fn of_share(share: Arc<Share>) -> Self {
        share.connections.fetch_add(1, Relaxed);
        Self::Share(share)
    }

    /// A way in by the daemon's own socket; counts the client.
    pub(crate) fn of_owner(owners: &Arc<Owners>) -> Self {
        owners.0.fetch_add(1, Relaxed);
        Self::Owner(Arc::clone(owners))
    }

    /// Limits for the size and time of a client's request; `is_first` for its first one.
    pub(crate) fn bounds(&self, is_first: bool) -> Bounds {
        let begin = is_first.then_some(FRAME);
        match self {
            // Chunks and trailers come with a payload.
            Self::Owner(_) => Bounds {
                begin,
                finish: Some(FRAME * 12),
                ..Bounds::default()
            },
            Self::Share(_) => Bounds {
                header: MAX_HEADER,
                payload: 0,
                fds: 1,
                begin: begin.or(Some(SILENCE)),
                finish: Some(FRAME),
            },
        }
    }

    /// Checks the user of a new connection, and the limit of connections.
    ///
    /// # Errors
    /// A usage error for a user without permission, and above the limit.
    pub(crate) fn welcome(&self, peer: &PeerCredentials, quota: &Quota) -> Result<()> {
        let own = rustix::process::geteuid().as_raw();
        match self {
            Self::Owner(owners) if peer.uid == 0 || peer.uid == own => {
                let all = usize::try_from(descriptor_limit() / PART).unwrap_or(usize::MAX);
                let most = all.clamp(1, MAX_OWNERS);
                match owners.0.load(Relaxed) > most {
                    false => Ok(()),
                    true => Err(Error::usage(
                        format!("the daemon has reached its limit of {most} clients"),
                        "try again, or raise the limit of open files (`ulimit -n`) and restart it",
                    )),
                }
            }
            Self::Owner(_) => Err(Error::usage(
                "this store belongs to another user",
                Hint::UseOwnStore,
            )),
            Self::Share(share) => {
                let other = peer.uid != 0 && peer.uid != share.grant.uid.unwrap_or(own);
                let message = if other {
                    format!("this share does not admit user {}", peer.uid)
                } else if share.connections.load(Relaxed) > quota.connections {
                    format!(
                        "this share has reached its limit of {} clients",
                        quota.connections
                    )
                } else {
                    return Ok(());
                };
                Err(Error::usage(message, "ask the owner of the share"))
            }
        }
    }

    /// Converts a request to one that the daemon may answer; `own` are the views that the client
    /// has opened and that are not served yet.
    ///
    /// # Errors
    /// A usage error for a request beyond the grant.
    pub(crate) fn admit(
        &self,
        request: RpcRequest,
        own: &[u64],
        quota: &Quota,
        is_open: impl Fn(u64) -> bool,
    ) -> Result<RpcRequest> {
        let Self::Share(share) = self else {
            return Ok(request);
        };
        let ended = "ask the owner of the share";
        if share.is_closed() {
            return Err(Error::usage("this socket is no longer shared", ended));
        }
        let request = share.grant.admit(request, own, &share.stacks.lock())?;
        if matches!(request, RpcRequest::Restore(_) | RpcRequest::Open(_)) {
            let mut views = share.views.lock();
            views.retain(|view| is_open(*view));
            if views.len() >= quota.views {
                let most = quota.views;
                let message = format!("this share has reached its limit of {most} mounts");
                return Err(Error::usage(message, Hint::UnmountSome));
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
            // Clients then restore again instead of reopening these stacks.
            stacks.clear();
        }
        stacks.insert(stack).then_some(&**share)
    }

    /// The permissions of a share's clients.
    ///
    /// # Errors
    /// A usage error on the daemon's own socket.
    pub(crate) fn allowed(&self) -> Result<ClientGrant> {
        match self {
            Self::Share(share) => Ok(share.grant.allowed()),
            Self::Owner(_) => Err(Error::usage(
                "this is the daemon's own socket, which is not shared",
                Hint::UseStoreInsteadOfShare,
            )),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        match self {
            Self::Owner(owners) => owners.0.fetch_sub(1, Relaxed),
            Self::Share(share) => share.connections.fetch_sub(1, Relaxed),
        };
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
                prefetch_all: false,
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
        let listener = socket::listen_private(&path).unwrap();
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
        let client = socket::connect_private(&path).unwrap();
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
        let listener = socket::listen_private(&path).unwrap();
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
        let quota = Quota::of(1 << 20, 1);
        let owner = Gate::of_owner(&Arc::default());
        for (uid, allowed) in [(Some(12_345), 12_345), (None, own)] {
            let path = temp.path().join(format!("{allowed}.sock"));
            let listener = socket::listen_private(&path).unwrap();
            let share = Shares::default()
                .open(description(&path, uid), listener.into())
                .unwrap();
            let gate = Gate::of_share(Arc::clone(&share));
            assert!(gate.welcome(&peer(allowed), &quota).is_ok());
            assert!(gate.welcome(&peer(0), &quota).is_ok());
            assert!(gate.welcome(&peer(54_321), &quota).is_err());
            let more: Vec<_> = (0..MAX_CONNECTIONS)
                .map(|_| Gate::of_share(Arc::clone(&share)))
                .collect();
            assert!(gate.welcome(&peer(allowed), &quota).is_err());
            drop(more);
            assert!(gate.welcome(&peer(allowed), &quota).is_ok());
        }
        assert!(owner.welcome(&peer(own), &quota).is_ok());
        assert!(owner.welcome(&peer(54_321), &quota).is_err());
    }

    #[test]
    fn shares_have_equal_parts_and_the_daemon_keeps_half() {
        for (descriptors, shares) in [(64, 1), (256, 3), (1024, 1), (1024, 20), (1 << 16, 100)] {
            let quota = Quota::of(descriptors, shares);
            let all = (quota.connections + quota.views) * shares;
            assert!(
                all as u64 <= descriptors / 2,
                "{descriptors} {shares}: {all}"
            );
            assert!(quota.connections > 0 && quota.views > 0);
        }
        let most = Quota::of(u64::MAX, 1);
        assert_eq!((most.connections, most.views), (MAX_CONNECTIONS, MAX_VIEWS));
    }

    #[test]
    fn a_silent_client_has_seconds_and_no_descriptors_to_spare() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("share.sock");
        let listener = socket::listen_private(&path).unwrap();
        let share = Shares::default()
            .open(description(&path, None), listener.into())
            .unwrap();
        let bounds = Gate::of_share(share).bounds(true);
        assert_eq!((bounds.begin, bounds.finish), (Some(FRAME), Some(FRAME)));
        assert_eq!((bounds.payload, bounds.fds), (0, 1));
        assert_eq!(
            Gate::of_owner(&Arc::default()).bounds(true).begin,
            Some(FRAME)
        );
    }
}
