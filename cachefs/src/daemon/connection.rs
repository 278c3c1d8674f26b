//! One client's connection.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::answers::{RequestCaller, answer_request};
use super::idle_exit::End;
use super::state::DaemonState;
use crate::error::{Error, RemoteFailure, Result};
use crate::rpc::{Envelope, RpcReply, RpcRequest};
use crate::shares::Gate;
use crate::sys::fdpass::{self, SocketFrame};
use crate::sys::socket;
use cachefs_store::Hint;

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
    let Ok(header) = encode_failure(error) else {
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
        let mut caller = RequestCaller::new(state, gate, socket, spawn_connection, unserved);
        let header = match answer_frame(&mut caller, frame) {
            Ok(header) => header,
            Err(error) => {
                caller.reply_payload = Vec::new();
                encode_failure(&error)?
            }
        };
        let (payload, after_reply) = (caller.reply_payload, caller.after_reply);
        let sent = fdpass::send_reply(socket, &header, &payload, &[]);
        // The reply is sent first, because the process may exit as soon as it is asked to stop.
        if let Some(end) = after_reply {
            if matches!(end, End::Daemon) {
                state.shares.close_all();
            }
            state.activity.end(end);
        }
        sent?;
    }
    Ok(())
}

/// Answers one request. Returns the header of the reply.
fn answer_frame(caller: &mut RequestCaller<'_>, frame: SocketFrame) -> Result<Vec<u8>> {
    let envelope: Envelope =
        serde_json::from_slice(&frame.header).map_err(|error| Error::Conversation(error.into()))?;
    let is_upgrade = matches!(envelope.request, RpcRequest::Upgrade(_));
    if envelope.version != crate::VERSION && !is_upgrade {
        return Err(Error::usage(
            format!(
                "the daemon is version {}, this command is version {}",
                crate::VERSION,
                envelope.version
            ),
            Hint::UpgradeDaemon,
        ));
    }
    caller.payload = frame.payload;
    caller.fds = frame.fds;
    let request = caller.admit(envelope.request)?;
    let span = tracing::error_span!("request", op = request.name(), keys = request.keys());
    let _entered = span.enter();
    answer_request(request, caller)
}

fn encode_failure(error: &Error) -> Result<Vec<u8>> {
    let failed = RpcReply::<()>::Failed(RemoteFailure::from(error));
    serde_json::to_vec(&failed).map_err(|error| Error::Conversation(error.into()))
}
