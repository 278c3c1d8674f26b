//! The client's end of the socket; starts the daemon when there is none.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cachefs_store::id::StackId;
use cachefs_store::refs::Found;

use super::message::{
    Answer, Call, DaemonStats, Envelope, Find, Open, OpenedView, Reply, Request, Restore, Restored,
};
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;
use crate::sys::fdpass::{self, Frame};
use crate::sys::{socket, spawn};
use crate::view::{Form, ReadReport};

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A connection to the daemon of a store directory.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    /// Where to connect again when the daemon hangs up: it was about to end when this connection
    /// came, or its worker was killed and there is another one.
    again: Option<StoreDir>,
}

impl Client {
    /// Connects to a daemon that is running; `None` when there is none.
    pub fn connect_running(store: &StoreDir) -> Result<Option<Self>> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        match socket::connect(&store.socket()) {
            Ok(socket) => Ok(Some(Self {
                socket,
                again: None,
            })),
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
            Err(error) => Err(Error::io("connect to", store.socket())(error)),
        }
    }

    /// Connects to the store's daemon and starts it first if need be.
    pub fn connect(store: &StoreDir) -> Result<Self> {
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
        let frame = match self.exchange(&header, &call) {
            Err(error) => match &self.again {
                Some(store) => {
                    tracing::debug!("the daemon hung up: {error}");
                    self.socket = Self::connect(store)?.socket;
                    if !call.request.may_repeat() {
                        return Err(error);
                    }
                    self.exchange(&header, &call)?
                }
                None => return Err(error),
            },
            frame => frame?,
        };
        match serde_json::from_slice(&frame.header) {
            Ok(Answer::Ok(reply)) => Ok((reply, frame.payload)),
            Ok(Answer::Failed(failure)) => Err(failure.into()),
            Err(error) => Err(Error::Conversation(error.into())),
        }
    }

    fn exchange(&self, header: &[u8], call: &Call<'_>) -> Result<Frame> {
        fdpass::send(&self.socket, header, call.payload, call.fd.as_slice())?;
        fdpass::recv(&self.socket)?
            .ok_or_else(|| Error::Conversation("it closed the connection".into()))
    }

    fn ask(&mut self, request: Request) -> Result<Reply> {
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

    /// Finds a stack and makes a view of it.
    pub(crate) fn restore(&mut self, restore: Restore) -> Result<Restored> {
        let call = Call {
            request: Request::Restore(restore),
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
    pub(crate) fn find(&mut self, find: Find) -> Result<Vec<Option<Found>>> {
        let call = Call {
            request: Request::Find(find),
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
    pub(crate) fn open(&mut self, open: Open) -> Result<OpenedView> {
        match self.ask(Request::Open(open))? {
            Reply::Opened(view) => Ok(view),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// Has a view served on a descriptor of `/dev/fuse`.
    pub(crate) fn serve(&mut self, view: u64, form: Form, fuse: &OwnedFd) -> Result<()> {
        let call = Call {
            request: Request::Serve { view, form },
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
        self.ask(Request::Close { view }).map(drop)
    }

    /// Publishes what was read of a stack as the trace of the one that was saved from it.
    pub(crate) fn publish_trace(&mut self, from: StackId, to: StackId) -> Result<()> {
        self.ask(Request::PublishTrace { from, to }).map(drop)
    }

    /// What the daemon has done.
    pub fn stats(&mut self) -> Result<DaemonStats> {
        match self.ask(Request::Stats)? {
            Reply::Stats(stats) => Ok(*stats),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// What was read of a stack until now, through all mounts of it; `None` when it has none.
    pub fn reads(&mut self, stack: StackId) -> Result<Option<ReadReport>> {
        let call = Call {
            request: Request::Reads { stack },
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

    /// Has a program go on in the place of the daemon, which may be of another version. Returns the
    /// process that did the daemon's work until now.
    pub fn upgrade(&mut self, exe: PathBuf) -> Result<u32> {
        match self.ask(Request::Upgrade { exe })? {
            Reply::Upgrading { pid } => Ok(pid),
            other => Err(Self::unexpected(&other)),
        }
    }

    /// Ends the daemon.
    pub fn stop(&mut self, force: bool) -> Result<()> {
        self.ask(Request::Stop { force }).map(drop)
    }
}
