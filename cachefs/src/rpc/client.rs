//! The client's end of the socket; starts the daemon if there is none.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs_store::id::StackId;
use cachefs_store::refs::FoundKey;
use cachefs_store::remote::RemoteSpec;

use super::message::{DaemonStats, OpenedView, RestoreReply};
use super::request::{
    AllowedRequest, CloseRequest, Envelope, FindRequest, OpenRequest, PublishTraceRequest,
    ReadsRequest, Request, RestoreRequest, RpcReply, ServeRequest, ShareRequest, SharesRequest,
    StatsRequest, StopRequest, UnshareRequest, UpgradeRequest,
};
use crate::error::{Error, Result};
use crate::shares::{ClientGrant, ShareDescription, ShareInfo};
use crate::store_dir::StoreDir;
use crate::sys::fdpass::{self, SocketFrame};
use crate::sys::{socket, spawn};
use crate::view::{ReadReport, ViewForm};
use cachefs_store::Hint;

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(20);

/// By how much the pause before another attempt grows each time.
const PAUSE: Duration = Duration::from_millis(10);
/// Number of workers that get the same request: if it killed that many, the request itself may be
/// the cause.
const ATTEMPTS: u32 = 10;

/// Data that is sent with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestAttachment<'a> {
    /// Nothing.
    None,
    /// Bytes.
    Payload(&'a [u8]),
    /// A descriptor; the daemon gets its own.
    Descriptor(BorrowedFd<'a>),
}

/// A connection to the daemon of a store directory.
#[derive(Debug)]
pub struct DaemonClient {
    socket: UnixStream,
    /// Where to connect again when the daemon closes the connection: it was about to exit, or its
    /// worker was killed and another one has replaced it.
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

    /// Sends a request and returns its reply.
    ///
    /// # Errors
    /// The failure that the daemon reports, and [`Error::Conversation`] if it does not answer.
    pub(crate) fn call<R: Request>(&mut self, request: R) -> Result<R::Reply> {
        self.call_with(request, RequestAttachment::None)
            .map(|(reply, _)| reply)
    }

    /// As [`Self::call`], with a payload or descriptor. Returns the payload of the reply, too.
    pub(crate) fn call_with<R: Request>(
        &mut self,
        request: R,
        attachment: RequestAttachment<'_>,
    ) -> Result<(R::Reply, Vec<u8>)> {
        let header = serde_json::to_vec(&Envelope {
            version: crate::VERSION.to_owned(),
            request: request.into(),
        })
        .map_err(invalid_json)?;
        let frame = self.exchange_with_retry(&header, attachment, R::MAY_REPEAT)?;
        match serde_json::from_slice(&frame.header).map_err(invalid_json)? {
            RpcReply::Ok(reply) => Ok((reply, frame.payload)),
            RpcReply::Failed(failure) => Err(failure.into()),
        }
    }

    fn exchange_with_retry(
        &mut self,
        header: &[u8],
        attachment: RequestAttachment<'_>,
        may_repeat: bool,
    ) -> Result<SocketFrame> {
        let mut attempts = 0;
        loop {
            let error = match self.exchange(header, attachment) {
                Ok(frame) => return Ok(frame),
                Err(error) => error,
            };
            let Some(store) = &self.again else {
                return Err(error);
            };
            tracing::debug!("the daemon closed the connection: {error}");
            // It may be about to exit and still be the process that accepts connections.
            std::thread::sleep(PAUSE * attempts);
            self.socket = Self::connect(store)?.socket;
            attempts += 1;
            if attempts == ATTEMPTS || !may_repeat {
                return Err(error);
            }
        }
    }

    fn exchange(&self, header: &[u8], attachment: RequestAttachment<'_>) -> Result<SocketFrame> {
        let (payload, fd): (&[u8], _) = match attachment {
            RequestAttachment::None => (&[], None),
            RequestAttachment::Payload(payload) => (payload, None),
            RequestAttachment::Descriptor(fd) => (&[], Some(fd)),
        };
        match fdpass::send_frame(&self.socket, header, payload, fd.as_slice()) {
            // A daemon that refuses this client sends the reason before it closes the connection.
            Err(fdpass::FrameError::PeerClosed) => {
                if let Ok(Some(frame)) = fdpass::receive_reply(&self.socket) {
                    return Ok(frame);
                }
                return Err(fdpass::FrameError::PeerClosed.into());
            }
            sent => sent?,
        }
        fdpass::receive_reply(&self.socket)?
            .ok_or_else(|| Error::Conversation("it closed the connection".into()))
    }

    /// The remote as it is sent to the daemon. The daemon of a share has its own credentials.
    fn without_credentials_for_shares(&self, remote: RemoteSpec) -> RemoteSpec {
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
        restore.shown.remote = self.without_credentials_for_shares(restore.shown.remote);
        self.call(restore)
    }

    /// Finds the keys that hold parts of a cache of several paths.
    pub(crate) fn find(&mut self, mut find: FindRequest) -> Result<Vec<Option<FoundKey>>> {
        find.remote = self.without_credentials_for_shares(find.remote);
        self.call(find)
    }

    /// Makes a view of a stack that is known.
    pub(crate) fn open(&mut self, mut open: OpenRequest) -> Result<OpenedView> {
        open.shown.remote = self.without_credentials_for_shares(open.shown.remote);
        self.call(open)
    }

    /// Has a view served on a descriptor of `/dev/fuse`.
    pub(crate) fn serve(&mut self, view: u64, form: ViewForm, fuse: &OwnedFd) -> Result<()> {
        let fuse = RequestAttachment::Descriptor(fuse.as_fd());
        self.call_with(ServeRequest { view, form }, fuse).map(drop)
    }

    /// Gives up a view that was not served.
    pub(crate) fn close(&mut self, view: u64) -> Result<()> {
        self.call(CloseRequest { view })
    }

    /// Publishes the reads of a stack as the trace of the stack that was saved from it.
    pub(crate) fn publish_trace(&mut self, from: StackId, to: StackId) -> Result<()> {
        if self.is_guest {
            // The daemon publishes them itself when a mount ends.
            return Ok(());
        }
        self.call(PublishTraceRequest { from, to })
    }

    /// Statistics of the daemon.
    pub fn stats(&mut self) -> Result<DaemonStats> {
        self.call(StatsRequest {})
    }

    /// The reads of a stack so far, through all of its mounts; `None` if it has none.
    pub fn reads(&mut self, stack: StackId) -> Result<Option<ReadReport>> {
        self.call(ReadsRequest { stack })
    }

    /// Replaces the daemon by a program, which may be of another version. Returns the process id of
    /// the old worker.
    pub fn upgrade(&mut self, exe: PathBuf) -> Result<u32> {
        self.call(UpgradeRequest { exe }).map(|reply| reply.pid)
    }

    /// The grant of this socket, if it belongs to a share.
    pub fn allowed(&mut self) -> Result<ClientGrant> {
        self.call(AllowedRequest {})
    }

    /// Opens a share on a listening socket.
    pub(crate) fn share(
        &mut self,
        description: ShareDescription,
        listener: BorrowedFd<'_>,
    ) -> Result<()> {
        let request = ShareRequest(Box::new(description));
        self.call_with(request, RequestAttachment::Descriptor(listener))
            .map(drop)
    }

    /// Ends a share.
    pub fn unshare(&mut self, path: PathBuf) -> Result<()> {
        self.call(UnshareRequest { path })
    }

    /// The shares of the daemon.
    pub fn shares(&mut self) -> Result<Vec<ShareInfo>> {
        self.call(SharesRequest {})
    }

    /// Ends the daemon.
    pub fn stop(&mut self, force: bool) -> Result<()> {
        self.call(StopRequest { force })
    }
}

fn invalid_json(error: serde_json::Error) -> Error {
    Error::Conversation(error.into())
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
            hint: Hint::CheckSocketOwner,
        }),
    }
}
