//! The daemon's answer to each request.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use cachefs_store::id::StackId;
use cachefs_store::index::ChunkIndex;
use cachefs_store::pack::{PackRef, Trailer};
use cachefs_store::refs::FoundKey;

use super::idle_exit::End;
use super::shared;
use super::state::DaemonState;
use crate::error::{Error, Result};
use crate::rpc::{
    AllowedRequest, CloseRequest, DaemonStats, FindRequest, HasPackRequest, InsertRequest,
    LookupRequest, OpenRequest, OpenedView, PublishTraceRequest, ReadsRequest, RemovePackRequest,
    Request, RestoreReply, RestoreRequest, RpcReply, RpcRequest, ServeRequest, ShareRequest,
    SharesRequest, StatsRequest, StopRequest, UnshareRequest, UpgradeReply, UpgradeRequest,
    decode_ids, encode_indexed,
};
use crate::shares::{ClientGrant, Gate, ShareInfo};
use crate::sys::fuse_mount::is_fuse_device;
use crate::sys::socket;
use crate::view::ReadReport;

/// A client while one of its requests is answered.
pub(super) struct RequestCaller<'a> {
    state: &'a Arc<DaemonState>,
    gate: &'a Gate,
    socket: &'a UnixStream,
    /// Serves the clients of a share that this client opens.
    serve: shared::ServeClient,
    /// The views that this client has opened and that are not served yet.
    unserved: &'a mut Vec<u64>,
    /// The payload of the request.
    pub(super) payload: Vec<u8>,
    /// The descriptors that came with the request.
    pub(super) fds: Vec<OwnedFd>,
    /// The payload of the reply.
    pub(super) reply_payload: Vec<u8>,
    /// How this process ends after the reply; `None` if it goes on.
    pub(super) after_reply: Option<End>,
}

impl<'a> RequestCaller<'a> {
    pub(super) fn new(
        state: &'a Arc<DaemonState>,
        gate: &'a Gate,
        socket: &'a UnixStream,
        serve: shared::ServeClient,
        unserved: &'a mut Vec<u64>,
    ) -> Self {
        Self {
            state,
            gate,
            socket,
            serve,
            unserved,
            payload: Vec::new(),
            fds: Vec::new(),
            reply_payload: Vec::new(),
            after_reply: None,
        }
    }

    /// Checks a request against the permissions of the client's socket. Returns the request that
    /// may be answered.
    pub(super) fn admit(&self, request: RpcRequest) -> Result<RpcRequest> {
        let quota = self.state.shares.quota();
        let is_open = |view| self.state.has_view(view);
        self.gate.admit(request, self.unserved, &quota, is_open)
    }

    fn has_hung_up(&self) -> impl Fn() -> bool + use<'a> {
        let socket = self.socket;
        move || socket::has_hung_up(socket)
    }

    fn take_descriptor(&mut self, missing: &'static str) -> Result<OwnedFd> {
        self.fds
            .pop()
            .ok_or_else(|| Error::Conversation(missing.into()))
    }
}

/// Answers a request that the gate admitted. Returns the header of the reply.
pub(super) fn answer_request(
    request: RpcRequest,
    caller: &mut RequestCaller<'_>,
) -> Result<Vec<u8>> {
    match request {
        RpcRequest::Restore(request) => encode_reply(request, caller),
        RpcRequest::Find(request) => encode_reply(request, caller),
        RpcRequest::Open(request) => encode_reply(request, caller),
        RpcRequest::Serve(request) => encode_reply(request, caller),
        RpcRequest::Close(request) => encode_reply(request, caller),
        RpcRequest::Lookup(request) => encode_reply(request, caller),
        RpcRequest::HasPack(request) => encode_reply(request, caller),
        RpcRequest::Insert(request) => encode_reply(request, caller),
        RpcRequest::RemovePack(request) => encode_reply(request, caller),
        RpcRequest::PublishTrace(request) => encode_reply(request, caller),
        RpcRequest::Allowed(request) => encode_reply(request, caller),
        RpcRequest::Share(request) => encode_reply(request, caller),
        RpcRequest::Unshare(request) => encode_reply(request, caller),
        RpcRequest::Shares(request) => encode_reply(request, caller),
        RpcRequest::Stats(request) => encode_reply(request, caller),
        RpcRequest::Reads(request) => encode_reply(request, caller),
        RpcRequest::Stop(request) => encode_reply(request, caller),
        RpcRequest::Upgrade(request) => encode_reply(request, caller),
    }
}

fn encode_reply<R: AnswerRequest>(request: R, caller: &mut RequestCaller<'_>) -> Result<Vec<u8>> {
    let reply = RpcReply::Ok(request.answer_caller(caller)?);
    serde_json::to_vec(&reply).map_err(|error| Error::Conversation(error.into()))
}

/// A request that the daemon can answer.
trait AnswerRequest: Request {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<Self::Reply>;
}

impl AnswerRequest for RestoreRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<RestoreReply> {
        let restored = caller.state.restore(&self, &caller.has_hung_up())?;
        if let Some(view) = &restored.view {
            caller.unserved.push(view.view);
            caller.gate.gave(view);
            let stack = StackId::of(restored.found.layers.iter().map(|layer| &layer.id));
            if let Some(share) = caller.gate.gave_stack(stack) {
                shared::keep_share(caller.state, share);
            }
        }
        Ok(restored)
    }
}

impl AnswerRequest for FindRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<Vec<Option<FoundKey>>> {
        caller.state.find(&self, &caller.has_hung_up())
    }
}

impl AnswerRequest for OpenRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<OpenedView> {
        let view = caller.state.open(self)?;
        caller.unserved.push(view.view);
        caller.gate.gave(&view);
        Ok(view)
    }
}

impl AnswerRequest for ServeRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        let fuse = caller.take_descriptor("no descriptor came with the request")?;
        // The daemon writes to this descriptor with its own rights, so it must be no other file.
        if !is_fuse_device(&fuse) {
            return Err(Error::Conversation(
                "the descriptor is not /dev/fuse".into(),
            ));
        }
        caller.state.serve(self.view, self.form, fuse)?;
        caller.unserved.retain(|unserved| *unserved != self.view);
        Ok(())
    }
}

impl AnswerRequest for CloseRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        caller.unserved.retain(|unserved| *unserved != self.view);
        caller.state.close(self.view);
        Ok(())
    }
}

impl AnswerRequest for LookupRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        let ids = decode_ids(&caller.payload)
            .ok_or_else(|| Error::Conversation("the list of chunks is truncated".into()))?;
        let found = caller.state.index()?.lookup(&self.domains, &ids)?;
        caller.reply_payload = encode_indexed(&found);
        Ok(())
    }
}

impl AnswerRequest for HasPackRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<bool> {
        let index = caller.state.index()?;
        Ok(index.has_pack(&self.domains, &self.pack.into())?)
    }
}

impl AnswerRequest for InsertRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        let pack = PackRef::from(self.pack);
        let trailer = Trailer::of(&pack, &caller.payload)?;
        Ok(caller
            .state
            .index()?
            .insert(&self.domain, &pack, &trailer)?)
    }
}

impl AnswerRequest for RemovePackRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        Ok(caller.state.index()?.remove(&self.domains, &self.pack)?)
    }
}

impl AnswerRequest for PublishTraceRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        caller.state.publish_trace(&self.from, &self.to)
    }
}

impl AnswerRequest for AllowedRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<ClientGrant> {
        caller.gate.allowed()
    }
}

impl AnswerRequest for ShareRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        let listener = caller.take_descriptor("no socket came with the request")?;
        shared::open_share(caller.state, *self.0, listener, caller.serve)
    }
}

impl AnswerRequest for UnshareRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        shared::close_share(caller.state, &self.path)
    }
}

impl AnswerRequest for SharesRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<Vec<ShareInfo>> {
        Ok(caller.state.shares.list())
    }
}

impl AnswerRequest for StatsRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<DaemonStats> {
        Ok(caller.state.stats())
    }
}

impl AnswerRequest for ReadsRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<Option<ReadReport>> {
        caller.state.reads(&self.stack)
    }
}

impl AnswerRequest for StopRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<()> {
        caller.state.may_stop(self.force)?;
        caller.after_reply = Some(End::Daemon);
        Ok(())
    }
}

impl AnswerRequest for UpgradeRequest {
    fn answer_caller(self, caller: &mut RequestCaller<'_>) -> Result<UpgradeReply> {
        caller.state.upgrade(self.exe)?;
        caller.after_reply = Some(End::Upgrade);
        Ok(UpgradeReply {
            pid: std::process::id(),
        })
    }
}
