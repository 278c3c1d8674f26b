//! One client's connection.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use cachefs_store::id::StackId;
use cachefs_store::index::ChunkIndex;
use cachefs_store::pack::{PackRef, Trailer};

use super::idle_exit::End;
use super::shared;
use super::state::DaemonState;
use crate::error::{Error, RemoteFailure, Result};
use crate::rpc::{Envelope, Reply, RestoreReply, RpcReply, RpcRequest, decode_ids, encode_indexed};
use crate::shares::Gate;
use crate::sys::fdpass::{self, SocketFrame};
use crate::sys::fuse_mount::is_fuse_device;
use crate::sys::socket;

/// How long a client may leave an answer unread.
const UNREAD: Duration = Duration::from_secs(30);

/// Answers a client on a thread of its own until it disconnects. A client that is not admitted gets
/// an error at once and occupies no thread.
pub(super) fn spawn_connection(state: Arc<DaemonState>, gate: Gate, socket: UnixStream) {
    let peer = socket::peer_credentials(&socket).map_err(Error::io("identify", "the client"));
    if let Err(error) = peer.and_then(|peer| gate.welcome(&peer, &state.shares.quota())) {
        return refuse_client(&socket, &error);
    }
    // Without a limit, a client that reads nothing keeps its thread for good.
    if let Err(error) = socket.set_write_timeout(Some(UNREAD)) {
        tracing::debug!("a client connection failed: {error}");
    }
    // One that hangs up is asked again, or its successor is.
    if !state.activity.came() {
        return;
    }
    let running = Arc::clone(&state);
    let thread = std::thread::Builder::new()
        .name("client".to_owned())
        .spawn(move || {
            let mut unserved = Vec::new();
            if let Err(error) = serve_client(&running, &gate, &socket, &mut unserved) {
                tracing::debug!("a client's connection ended: {error}");
            }
            // A client that died before it mounted a view will not come back for it.
            for view in unserved {
                running.close(view);
            }
            drop(gate);
            running.activity.disconnected();
        });
    if let Err(error) = thread {
        tracing::error!("cannot serve a client: {error}");
        state.activity.disconnected();
    }
}

/// Answers a client before it has asked; it reads that instead of the answer to its request.
fn refuse_client(socket: &UnixStream, error: &Error) {
    let Ok(header) = serde_json::to_vec(&RpcReply::Failed(RemoteFailure::from(error))) else {
        return;
    };
    // There is room for it in a new socket, so this never waits.
    let _ = socket
        .set_nonblocking(true)
        .map_err(fdpass::FrameError::from)
        .and_then(|()| fdpass::send_frame(socket, &header, &[], &[]));
}

fn serve_client(
    state: &Arc<DaemonState>,
    gate: &Gate,
    socket: &UnixStream,
    unserved: &mut Vec<u64>,
) -> Result<()> {
    let mut is_first = true;
    while let Some(frame) = fdpass::recv_within(socket, &gate.bounds(is_first))? {
        is_first = false;
        let answer = answer_request(state, gate, socket, frame, unserved);
        let (answer, payload) = match answer {
            Ok((reply, payload)) => (RpcReply::Ok(reply), payload),
            Err(error) => (RpcReply::Failed(RemoteFailure::from(&error)), Vec::new()),
        };
        let header =
            serde_json::to_vec(&answer).map_err(|error| Error::Conversation(error.into()))?;
        let sent = fdpass::send_frame(socket, &header, &payload, &[]);
        // The answer is sent first, because the process may exit as soon as it is asked to stop.
        match answer {
            RpcReply::Ok(Reply::Ending) => {
                state.shares.close_all();
                state.activity.end(End::Daemon);
            }
            RpcReply::Ok(Reply::Upgrading { .. }) => state.activity.end(End::Upgrade),
            _ => {}
        }
        sent?;
    }
    Ok(())
}

/// `unserved` lists the views that this client has opened and not yet had served.
fn answer_request(
    state: &Arc<DaemonState>,
    gate: &Gate,
    socket: &UnixStream,
    mut frame: SocketFrame,
    unserved: &mut Vec<u64>,
) -> Result<(Reply, Vec<u8>)> {
    let envelope: Envelope =
        serde_json::from_slice(&frame.header).map_err(|error| Error::Conversation(error.into()))?;
    let is_upgrade = matches!(envelope.request, RpcRequest::Upgrade { .. });
    if envelope.version != crate::VERSION && !is_upgrade {
        return Err(Error::usage(
            format!(
                "the daemon is version {}, this command is version {}",
                crate::VERSION,
                envelope.version
            ),
            "have the daemon go on as this version with `cachefs daemon upgrade`",
        ));
    }
    let quota = state.shares.quota();
    let is_open = |view| state.has_view(view);
    let request = gate.admit(envelope.request, unserved, &quota, is_open)?;
    let is_gone = || socket::has_hung_up(socket);
    let reply = match request {
        RpcRequest::Restore(restore) => {
            let restored = state.restore(&restore, &is_gone)?;
            unserved.extend(restored.view.map(|view| view.view));
            if let Some(view) = &restored.view {
                gate.gave(view);
                if let Some(share) = gate.gave_stack(restored_stack(&restored)) {
                    shared::keep_share(state, share);
                }
            }
            let payload =
                serde_json::to_vec(&restored).map_err(|error| Error::Conversation(error.into()))?;
            return Ok((Reply::Restored, payload));
        }
        RpcRequest::Find(find) => {
            let payload = serde_json::to_vec(&state.find(&find, &is_gone)?)
                .map_err(|error| Error::Conversation(error.into()))?;
            return Ok((Reply::FoundParts, payload));
        }
        RpcRequest::Open(open) => {
            let view = state.open(open)?;
            unserved.push(view.view);
            gate.gave(&view);
            Reply::Opened(view)
        }
        RpcRequest::Serve { view, form } => {
            let fuse = frame
                .fds
                .pop()
                .ok_or_else(|| Error::Conversation("no descriptor came with the request".into()))?;
            // We write to this descriptor with the daemon's rights.
            if !is_fuse_device(&fuse) {
                return Err(Error::Conversation(
                    "the descriptor is not /dev/fuse".into(),
                ));
            }
            state.serve(view, form, fuse)?;
            unserved.retain(|unserved| *unserved != view);
            Reply::Done
        }
        RpcRequest::Close { view } => {
            unserved.retain(|unserved| *unserved != view);
            state.close(view);
            Reply::Done
        }
        RpcRequest::Lookup { domains } => {
            let ids = decode_ids(&frame.payload)
                .ok_or_else(|| Error::Conversation("the list of chunks is truncated".into()))?;
            return Ok((
                Reply::Done,
                encode_indexed(&state.index()?.lookup(&domains, &ids)?),
            ));
        }
        RpcRequest::HasPack {
            domains,
            pack,
            length,
            trailer,
            hash,
        } => {
            let pack = PackRef {
                id: pack,
                length,
                trailer,
                hash: Some(hash),
            };
            let found = state.index()?.has_pack(&domains, &pack)?;
            Reply::Found { found }
        }
        RpcRequest::Insert {
            domain,
            pack,
            length,
            trailer,
            hash,
        } => {
            let pack = PackRef {
                id: pack,
                length,
                trailer,
                hash: Some(hash),
            };
            let trailer = Trailer::of(&pack, &frame.payload)?;
            state.index()?.insert(&domain, &pack, &trailer)?;
            Reply::Done
        }
        RpcRequest::RemovePack { domains, pack } => {
            state.index()?.remove(&domains, &pack)?;
            Reply::Done
        }
        RpcRequest::PublishTrace { from, to } => {
            state.publish_trace(&from, &to)?;
            Reply::Done
        }
        RpcRequest::Reads { stack } => {
            let payload = match state.reads(&stack)? {
                Some(report) => serde_json::to_vec(&report)
                    .map_err(|error| Error::Conversation(error.into()))?,
                None => Vec::new(),
            };
            return Ok((Reply::Reads, payload));
        }
        RpcRequest::Allowed => Reply::Allowed(Box::new(gate.allowed()?)),
        RpcRequest::Share(description) => {
            let listener = frame
                .fds
                .pop()
                .ok_or_else(|| Error::Conversation("no socket came with the request".into()))?;
            shared::open_share(state, *description, listener, spawn_connection)?;
            Reply::Done
        }
        RpcRequest::Unshare { path } => {
            shared::close_share(state, &path)?;
            Reply::Done
        }
        RpcRequest::Shares => {
            let payload = serde_json::to_vec(&state.shares.list())
                .map_err(|error| Error::Conversation(error.into()))?;
            return Ok((Reply::Shares, payload));
        }
        RpcRequest::Stats => Reply::Stats(Box::new(state.stats())),
        RpcRequest::Stop { force } => {
            state.may_stop(force)?;
            Reply::Ending
        }
        RpcRequest::Upgrade { exe } => {
            state.upgrade(exe)?;
            Reply::Upgrading {
                pid: std::process::id(),
            }
        }
    };
    Ok((reply, Vec::new()))
}

fn restored_stack(restored: &RestoreReply) -> StackId {
    StackId::of(restored.layers.iter().map(|layer| &layer.id))
}
