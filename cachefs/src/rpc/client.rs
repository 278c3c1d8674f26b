//! The client's end of the socket; starts the daemon if there is none.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs_store::id::StackId;
use cachefs_store::refs::FoundKey;
use cachefs_store::remote::RemoteSpec;

use super::message::{
    Call, DaemonStats, Envelope, Find, OpenRequest, OpenedView, Reply, RestoreReply,
    RestoreRequest, RpcReply, RpcRequest,
};
use crate::error::{Error, Result};
use crate::shares::{ClientGrant, ShareDescription, ShareInfo};
use crate::store_dir::StoreDir;
use crate::sys::fdpass::{self, SocketFrame};
use crate::sys::{socket, spawn};
use crate::view::{ReadReport, ViewForm};

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(20);

/// How much longer it is waited each time before another one is asked.
const PAUSE: Duration = Duration::from_millis(10);
/// Number of workers that get the same request: if it killed that many, the request itself may be
/// the cause.
const ATTEMPTS: u32 = 10;

/// A connection to the daemon of a store directory.
#[derive(Debug)]
pub struct DaemonClient {
    socket: UnixStream,
    /// Where to connect again when the daemon hangs up: it was about to end when this connection
    /// came, or its worker was killed and there is another one.
    again: Option<StoreDir>,
    /// Whether the daemon is another store's, which has credentials of its own.
    is_guest: bool,
}

impl DaemonClient {
    /// Connects to a running daemon; `None` if there is none.
    pub fn connect_running(store: &StoreDir) -> Result<Option<Self>> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        if let Some(share) = store.share() {
            return Self::connect_share(share).map(Some);
        }
        match socket::connect_private(&store.socket()) {
            Ok(socket) => {
                check_server(store, &socket)?;
                Ok(Some(Self {
                    socket,
                    again: None,
                    is_guest: false,
                }))
            }
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
            Err(error) => Err(Error::io("connect to", store.socket())(error)),
        }
    }

    /// Connects to a share of another store's daemon.
    fn connect_share(share: &Path) -> Result<Self> {
        match socket::connect_private(share) {
            Ok(socket) => Ok(Self {
                socket,
                again: None,
                is_guest: true,
            }),
            Err(source) => Err(Error::NoShare {
                path: share.to_owned(),
                source,
            }),
        }
    }

    /// Connects to the store's daemon and starts it first if need be.
    pub fn connect(store: &StoreDir) -> Result<Self> {
        if let Some(share) = store.share() {
            let again = Some(store.clone());
            return Ok(Self {
                again,
                ..Self::connect_share(share)?
            });
        }
        let started = Instant::now();
        loop {
            if let Some(client) = Self::connect_running(store)? {
                let again = Some(store.clone());
                return Ok(Self { again, ..client });
            }
            let outcome = spawn::spawn_detached(&store.daemon_command(START));
            if let Some(client) = Self::connect_running(store)? {
                let again = Some(store.clone());
                return Ok(Self { again, ..client });
            }
            // Another command may be starting it too, or the last one may be about to end.
            if let Err(error) = outcome
                && (started.elapsed() > START || !store.daemon_is_locked())
            {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<(Reply, Vec<u8>)> {
        let version = crate::VERSION.to_owned();
        let header = serde_json::to_vec(&Envelope {
            version,
            request: &call.request,
        })
        .map_err(|error| Error::Conversation(error.into()))?;
        let mut attempts = 0;
        let frame = loop {
            let error = match self.exchange(&header, &call) {
                Ok(frame) => break frame,
                Err(error) => error,
            };
            let Some(store) = &self.again else {
                return Err(error);
            };
            tracing::debug!("the daemon hung up: {error}");
            // It may be about to end, and still be the one that answers.
            std::thread::sleep(PAUSE * attempts);
            self.socket = Self::connect(store)?.socket;
            attempts += 1;
            if attempts == ATTEMPTS || !call.request.may_repeat() {
                return Err(error);
            }
        };
        match serde_json::from_slice(&frame.header) {
            Ok(RpcReply::Ok(reply)) => Ok((reply, frame.payload)),
            Ok(RpcReply::Failed(failure)) => Err(failure.into()),
            Err(error) => Err(Error::Conversation(error.into())),
        }
    }

    fn exchange(&self, header: &[u8], call: &Call<'_>) -> Result<SocketFrame> {
        match fdpass::send_frame(&self.socket, header, call.payload, call.fd.as_slice()) {
            // A daemon that does not let this client in has said so and hung up.
            Err(fdpass::FrameError::PeerClosed) => {
                if let Ok(Some(frame)) = fdpass::receive_frame(&self.socket) {
                    return Ok(frame);
                }
                return Err(fdpass::FrameError::PeerClosed.into());
            }
            sent => sent?,
        }
        fdpass::receive_frame(&self.socket)?
            .ok_or_else(|| Error::Conversation("it closed the connection".into()))
    }

    fn ask(&mut self, request: RpcRequest) -> Result<Reply> {
        self.call(Call {
            request,
            payload: &[],
            fd: None,
        })
        .map(|(reply, _)| reply)
    }

    fn unexpected(reply: &Reply) -> Error {
        Error::Conversation(format!("it answered something else: {reply:?}").into())
    }

    /// The remote as it is sent to the daemon; a share gets no credentials.
    fn told(&self, remote: RemoteSpec) -> RemoteSpec {
        match self.is_guest {
            true => RemoteSpec {
                url: remote.url,
                ..RemoteSpec::default()
            },
            false => remote,
        }
    }

    /// Finds a stack and creates a view of it.
    pub(crate) fn restore(&mut self, mut restore: RestoreRequest) -> Result<RestoreReply> {
        restore.shown.remote = self.told(restore.shown.remote);
        let call = Call {
            request: RpcRequest::Restore(restore),
            payload: &[],
            fd: None,
        };
        match self.call(call)? {
            (Reply::Restored, payload) => {
                serde_json::from_slice(&payload).map_err(|error| Error::Conversation(error.into()))
            }
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Finds the keys that hold parts of a cache of several paths.
    pub(crate) fn find(&mut self, find: Find) -> Result<Vec<Option<FoundKey>>> {
        let find = Find {
            remote: self.told(find.remote),
            ..find
        };
        let call = Call {
            request: RpcRequest::Find(find),
            payload: &[],
            fd: None,
        };
        match self.call(call)? {
            (Reply::FoundParts, payload) => {
                serde_json::from_slice(&payload).map_err(|error| Error::Conversation(error.into()))
            }
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Makes a view of a stack that is known.
    pub(crate) fn open(&mut self, mut open: OpenRequest) -> Result<OpenedView> {
        open.shown.remote = self.told(open.shown.remote);
        match self.ask(RpcRequest::Open(open))? {
            Reply::Opened(view) => Ok(view),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// Has a view served on a descriptor of `/dev/fuse`.
    pub(crate) fn serve(&mut self, view: u64, form: ViewForm, fuse: &OwnedFd) -> Result<()> {
        let call = Call {
            request: RpcRequest::Serve { view, form },
            payload: &[],
            fd: Some(fuse.as_fd()),
        };
        match self.call(call)? {
            (Reply::Done, _) => Ok(()),
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Gives up a view that was not served.
    pub(crate) fn close(&mut self, view: u64) -> Result<()> {
        self.ask(RpcRequest::Close { view }).map(drop)
    }

    /// Publishes the reads of a stack as the trace of the stack that was saved from it.
    pub(crate) fn publish_trace(&mut self, from: StackId, to: StackId) -> Result<()> {
        if self.is_guest {
            // The daemon does so by itself when a mount ends.
            return Ok(());
        }
        self.ask(RpcRequest::PublishTrace { from, to }).map(drop)
    }

    /// Statistics of the daemon.
    pub fn stats(&mut self) -> Result<DaemonStats> {
        match self.ask(RpcRequest::Stats)? {
            Reply::Stats(stats) => Ok(*stats),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// The reads of a stack so far, through all of its mounts; `None` if it has none.
    pub fn reads(&mut self, stack: StackId) -> Result<Option<ReadReport>> {
        let call = Call {
            request: RpcRequest::Reads { stack },
            payload: &[],
            fd: None,
        };
        match self.call(call)? {
            (Reply::Reads, payload) if payload.is_empty() => Ok(None),
            (Reply::Reads, payload) => serde_json::from_slice(&payload)
                .map(Some)
                .map_err(|error| Error::Conversation(error.into())),
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Replaces the daemon by a program, which may be of another version. Returns the process id of
    /// the old worker.
    pub fn upgrade(&mut self, exe: PathBuf) -> Result<u32> {
        match self.ask(RpcRequest::Upgrade { exe })? {
            Reply::Upgrading { pid } => Ok(pid),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// The grant of this socket, if it belongs to a share.
    pub fn allowed(&mut self) -> Result<ClientGrant> {
        match self.ask(RpcRequest::Allowed)? {
            Reply::Allowed(allowed) => Ok(*allowed),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// Opens a share on a listening socket.
    pub(crate) fn share(
        &mut self,
        description: ShareDescription,
        listener: BorrowedFd<'_>,
    ) -> Result<()> {
        let call = Call {
            request: RpcRequest::Share(Box::new(description)),
            payload: &[],
            fd: Some(listener),
        };
        match self.call(call)? {
            (Reply::Done, _) => Ok(()),
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Ends a share.
    pub fn unshare(&mut self, path: PathBuf) -> Result<()> {
        self.ask(RpcRequest::Unshare { path }).map(drop)
    }

    /// The shares of the daemon.
    pub fn shares(&mut self) -> Result<Vec<ShareInfo>> {
        let call = Call {
            request: RpcRequest::Shares,
            payload: &[],
            fd: None,
        };
        match self.call(call)? {
            (Reply::Shares, payload) => {
                serde_json::from_slice(&payload).map_err(|error| Error::Conversation(error.into()))
            }
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Ends the daemon.
    pub fn stop(&mut self, force: bool) -> Result<()> {
        self.ask(RpcRequest::Stop { force }).map(drop)
    }
}

/// Requests hold credentials: they go to this user, root, or the owner of the store.
fn check_server(store: &StoreDir, socket: &UnixStream) -> Result<()> {
    let server = socket::peer_credentials(socket).map_err(Error::io("identify", store.socket()))?;
    let owner = std::fs::metadata(store.path())
        .map_err(Error::io("open", store.path()))?
        .uid();
    let own = rustix::process::geteuid().as_raw();
    match [0, own, owner].contains(&server.uid) {
        true => Ok(()),
        false => Err(Error::State {
            message: format!(
                "user {} listens at {}, who does not own the store",
                server.uid,
                store.socket().display()
            ),
            hint: "choose another --store, or find out how that came to be",
        }),
    }
}
