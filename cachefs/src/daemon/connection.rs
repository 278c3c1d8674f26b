//! One client's connection.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use cachefs_store::index::ChunkIndex;
use cachefs_store::pack::{PackRef, Trailer};

use super::idle::End;
use super::state::State;
use crate::error::{Error, Failure, Result};
use crate::rpc::{Answer, Envelope, Reply, Request, decode_ids, encode_indexed};
use crate::sys::fdpass::{self, Frame};
use crate::sys::socket;

/// Answers a client until it hangs up.
pub(super) fn spawn(state: Arc<State>, socket: UnixStream) {
    state.activity.connected();
    let running = Arc::clone(&state);
    let thread = std::thread::Builder::new()
        .name("client".to_owned())
        .spawn(move || {
            let mut unserved = Vec::new();
            if let Err(error) = converse(&running, &socket, &mut unserved) {
                tracing::debug!("a client's connection ended: {error}");
            }
            // A client that died before it mounted a view will not come back for it.
            for view in unserved {
                running.close(view);
            }
            running.activity.disconnected();
        });
    if let Err(error) = thread {
        tracing::error!("a client can't be served: {error}");
        state.activity.disconnected();
    }
}

fn converse(state: &Arc<State>, socket: &UnixStream, unserved: &mut Vec<u64>) -> Result<()> {
    let peer = socket::peer_credentials(socket).map_err(Error::io("identify", "the client"))?;
    let allowed = peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw();
    while let Some(frame) = fdpass::recv(socket)? {
        let answer = if allowed {
            answer(state, frame, unserved)
        } else {
            Err(Error::usage(
                "this store belongs to another user",
                "use a store directory of your own with --store",
            ))
        };
        let (answer, payload) = match answer {
            Ok((reply, payload)) => (Answer::Ok(reply), payload),
            Err(error) => (Answer::Failed(Failure::from(&error)), Vec::new()),
        };
        let header =
            serde_json::to_vec(&answer).map_err(|error| Error::Conversation(error.into()))?;
        let sent = fdpass::send(socket, &header, &payload, &[]);
        // The answer goes out first: the process ends as soon as it is told to.
        match answer {
            Answer::Ok(Reply::Ending) => state.activity.end(End::Daemon),
            Answer::Ok(Reply::Upgrading { .. }) => state.activity.end(End::Upgrade),
            _ => {}
        }
        sent?;
    }
    Ok(())
}

/// `unserved` lists the views that this client has opened and not yet had served.
fn answer(
    state: &Arc<State>,
    mut frame: Frame,
    unserved: &mut Vec<u64>,
) -> Result<(Reply, Vec<u8>)> {
    let envelope: Envelope =
        serde_json::from_slice(&frame.header).map_err(|error| Error::Conversation(error.into()))?;
    let is_upgrade = matches!(envelope.request, Request::Upgrade { .. });
    if envelope.version != crate::VERSION && !is_upgrade {
        return Err(Error::usage(
            format!(
                "the daemon has version {}, this command {}",
                crate::VERSION,
                envelope.version
            ),
            "have the daemon go on as this version with `cachefs daemon upgrade`",
        ));
    }
    let reply = match envelope.request {
        Request::Restore(restore) => {
            let restored = state.restore(&restore)?;
            unserved.extend(restored.view.map(|view| view.view));
            let payload =
                serde_json::to_vec(&restored).map_err(|error| Error::Conversation(error.into()))?;
            return Ok((Reply::Restored, payload));
        }
        Request::Find(find) => {
            let payload = serde_json::to_vec(&state.find(&find)?)
                .map_err(|error| Error::Conversation(error.into()))?;
            return Ok((Reply::FoundParts, payload));
        }
        Request::Open(open) => {
            let view = state.open(open)?;
            unserved.push(view.view);
            Reply::Opened(view)
        }
        Request::Serve { view, form } => {
            let fuse = frame
                .fds
                .pop()
                .ok_or_else(|| Error::Conversation("no descriptor came with the request".into()))?;
            state.serve(view, form, fuse)?;
            unserved.retain(|unserved| *unserved != view);
            Reply::Done
        }
        Request::Close { view } => {
            unserved.retain(|unserved| *unserved != view);
            state.close(view);
            Reply::Done
        }
        Request::Lookup { repo } => {
            let ids = decode_ids(&frame.payload)
                .ok_or_else(|| Error::Conversation("the list of chunks is cut short".into()))?;
            return Ok((
                Reply::Done,
                encode_indexed(&state.index()?.lookup(&repo, &ids)?),
            ));
        }
        Request::HasPack { repo, pack } => Reply::Found {
            found: state.index()?.has_pack(&repo, &pack)?,
        },
        Request::Insert {
            repo,
            pack,
            length,
            trailer,
        } => {
            let pack = PackRef {
                id: pack,
                length,
                trailer,
            };
            let trailer = Trailer::decode(&pack.id, &frame.payload)?;
            state.index()?.insert(&repo, &pack, &trailer)?;
            Reply::Done
        }
        Request::RemovePack { repo, pack } => {
            state.index()?.remove(&repo, &pack)?;
            Reply::Done
        }
        Request::PublishTrace { from, to } => {
            state.publish_trace(&from, &to)?;
            Reply::Done
        }
        Request::Reads { stack } => {
            let payload = match state.reads(&stack)? {
                Some(report) => serde_json::to_vec(&report)
                    .map_err(|error| Error::Conversation(error.into()))?,
                None => Vec::new(),
            };
            return Ok((Reply::Reads, payload));
        }
        Request::Stats => Reply::Stats(Box::new(state.stats())),
        Request::Stop { force } => {
            state.may_stop(force)?;
            Reply::Ending
        }
        Request::Upgrade { exe } => {
            state.upgrade(exe)?;
            Reply::Upgrading {
                pid: std::process::id(),
            }
        }
    };
    Ok((reply, Vec::new()))
}
