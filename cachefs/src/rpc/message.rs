//! Messages of the protocol.

use std::path::PathBuf;

use cachefs_store::id::{DomainId, PackId, StackId, TrailerHash};
use cachefs_store::layer::TreeTotals;
use cachefs_store::local::ReadStats;
use cachefs_store::refs::{KeyQuery, LayerInfo, Resolved};
use cachefs_store::remote::{RemoteSpec, RemoteTraffic};
use cachefs_store::stack::Owner;
use serde::{Deserialize, Serialize};

use crate::error::RemoteFailure;
use crate::paths::{Places, Whole};
use crate::shares::{ClientGrant, ShareDescription};
use crate::view::ViewForm;

/// Data that is fetched before it is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefetch {
    /// Only the bytes right after the last read.
    None,
    /// The reads of earlier jobs, if they are known.
    Trace,
    /// The reads of earlier jobs, then everything unless the cache is large.
    #[default]
    Auto,
    /// The reads of earlier jobs, then everything.
    All,
}

/// Origin and options of a view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ViewOrigin {
    /// Where its layers are.
    pub(crate) remote: RemoteSpec,
    /// How long one request to the remote may take, in milliseconds.
    pub(crate) deadline_ms: Option<u64>,
    /// Data to prefetch.
    pub(crate) prefetch: Prefetch,
    /// The form that the client would like to mount.
    pub(crate) form: ViewForm,
    /// Whether reads are noted and published for later jobs.
    pub(crate) trace: bool,
    /// Whether the view shows devices, setuid bits and file capabilities.
    pub(crate) privileged: bool,
    /// The owner to show for all entries, instead of the saved owners.
    pub(crate) owner: Option<Owner>,
}

/// A request to find a stack and create a view of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RestoreRequest {
    /// The keys, the bottom of the stack first.
    pub(crate) wanted: Vec<KeyQuery>,
    /// Where to look for the keys, and the options of the view.
    #[serde(flatten)]
    pub(crate) shown: ViewOrigin,
}

/// A request to find the keys that hold parts of a cache of several paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Find {
    /// Where to look.
    pub(crate) remote: RemoteSpec,
    /// How long one request to the remote may take, in milliseconds.
    pub(crate) deadline_ms: Option<u64>,
    /// The keys.
    pub(crate) wanted: Vec<KeyQuery>,
    /// The paths as absolute globs, and the exclusions as the user wrote them.
    pub(crate) paths: Vec<String>,
    /// Which keys of one path count, too: a path that looks like a pattern may be a name.
    #[serde(default)]
    pub(crate) whole_from: Whole,
    /// Where they lead.
    pub(crate) places: Places,
}

/// A request to make a view of a stack that is known already.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OpenRequest {
    /// The stack, the bottom layer first.
    pub(crate) layers: Vec<LayerInfo>,
    /// Where it is, and how it is shown.
    #[serde(flatten)]
    pub(crate) shown: ViewOrigin,
}

/// Result of a lookup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RestoreReply {
    /// Each key's match.
    pub(crate) matched: Vec<Option<Resolved>>,
    /// The whole stack, the bottom layer first.
    pub(crate) layers: Vec<LayerInfo>,
    /// The view of the stack; `None` if no key matched.
    pub(crate) view: Option<OpenedView>,
    /// Why the keys that matched are not used, if the remote lost data of theirs. Nothing matched then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<String>,
    /// Totals of the tree, if they are known or quickly counted.
    pub(crate) tree: Option<TreeTotals>,
    /// Traffic of the request.
    pub(crate) traffic: RemoteTraffic,
}

/// A view that can be served.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct OpenedView {
    /// Its number.
    pub(crate) view: u64,
    /// The form that suits it: an image only if the client wished for one.
    pub(crate) form: ViewForm,
}

/// A view that is being served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ViewStats {
    /// Its number.
    pub view: u64,
    /// The remote it reads from.
    pub remote: String,
    /// Number of layers.
    pub layers: usize,
}

/// Numbers of restores by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestoreCounts {
    /// The exact key existed.
    pub exact: u64,
    /// A key with a prefix was, or only layers below it.
    pub partial: u64,
    /// Nothing was.
    pub missed: u64,
    /// It could not be found out.
    #[serde(default)]
    pub failed: u64,
}

/// Statistics of the daemon since its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DaemonStats {
    /// The process that does its work.
    pub pid: u32,
    /// The supervisor, which keeps the descriptors of mounts and restarts the worker.
    pub supervisor: u32,
    /// How many workers there were before this one.
    pub restarts: u64,
    /// Mounts of the worker before this one that are not served yet.
    pub waiting: usize,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The views that it serves.
    pub views: Vec<ViewStats>,
    /// Reads through views.
    pub reads: ReadStats,
    /// Restores, without those that copied from the beginning.
    pub restores: RestoreCounts,
    /// Requests to remotes.
    pub traffic: RemoteTraffic,
    /// Bytes in the local cache of frames.
    pub cache_bytes: u64,
    /// Its limit.
    pub cache_limit: u64,
}

/// Every message to the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<R = RpcRequest> {
    /// The sender's version: both must be the same program.
    pub(crate) version: String,
    pub(crate) request: R,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum RpcRequest {
    Restore(RestoreRequest),
    Find(Find),
    Open(OpenRequest),
    /// Serves a view on the descriptor that comes with the message.
    Serve {
        view: u64,
        form: ViewForm,
    },
    /// Forgets a view that was never served.
    Close {
        view: u64,
    },
    /// Payload: chunk ids. The answer's payload: their locations according to these domains.
    Lookup {
        domains: Vec<DomainId>,
    },
    /// Whether one of the domains has just this pack.
    HasPack {
        domains: Vec<DomainId>,
        pack: PackId,
        length: u32,
        trailer: u32,
        hash: TrailerHash,
    },
    /// Payload: the pack's trailer, which must have the hash. The domain is that of the save.
    Insert {
        domain: DomainId,
        pack: PackId,
        length: u32,
        trailer: u32,
        hash: TrailerHash,
    },
    RemovePack {
        domains: Vec<DomainId>,
        pack: PackId,
    },
    /// Publishes the reads of one stack's views as the trace of the stack that was saved from it;
    /// if both are the same, as its own trace. The answer is sent when that is done.
    PublishTrace {
        from: StackId,
        to: StackId,
    },
    /// Requests the grant of this socket, if it belongs to a share.
    Allowed,
    /// Opens a share on the listening socket that comes with the message.
    Share(Box<ShareDescription>),
    /// Ends a share.
    Unshare {
        path: PathBuf,
    },
    /// Lists the shares.
    Shares,
    Stats,
    /// Requests the reads of a stack.
    Reads {
        stack: StackId,
    },
    /// Ends the daemon; refused while it serves mounts unless forced.
    Stop {
        force: bool,
    },
    /// Replaces the daemon by another version. Daemons of all versions understand this request.
    Upgrade {
        exe: PathBuf,
    },
}

impl RpcRequest {
    /// Whether it can be asked of another worker when the first one dies. Views that are not served
    /// yet die with their worker.
    pub(crate) fn may_repeat(&self) -> bool {
        match self {
            Self::Restore(_)
            | Self::Find(_)
            | Self::Open(_)
            | Self::Lookup { .. }
            | Self::HasPack { .. }
            | Self::Insert { .. }
            | Self::RemovePack { .. }
            | Self::PublishTrace { .. }
            | Self::Allowed
            | Self::Shares
            | Self::Stats
            | Self::Reads { .. } => true,
            Self::Serve { .. }
            | Self::Close { .. }
            | Self::Share(_)
            | Self::Unshare { .. }
            | Self::Stop { .. }
            | Self::Upgrade { .. } => false,
        }
    }
}

/// A request with its payload and descriptors.
pub(crate) struct Call<'a> {
    pub(crate) request: RpcRequest,
    pub(crate) payload: &'a [u8],
    pub(crate) fd: Option<std::os::fd::BorrowedFd<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    /// The daemon ends when this has been sent.
    Ending,
    /// The worker, which is this process, exits once this is sent, and another program takes over.
    Upgrading {
        pid: u32,
    },
    /// Payload: a [`RestoreReply`] as JSON, which can be larger than a header may be.
    Restored,
    /// Payload: for each key a [`FoundKey`](cachefs_store::refs::FoundKey) or nothing, as JSON.
    FoundParts,
    Opened(OpenedView),
    Found {
        found: bool,
    },
    Stats(Box<DaemonStats>),
    Allowed(Box<ClientGrant>),
    /// Payload: a list of [`ShareInfo`](crate::shares::ShareInfo) as JSON.
    Shares,
    /// Payload: a [`ReadReport`](crate::ReadReport) as JSON; none when no view shows the stack.
    Reads,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RpcReply {
    Ok(Reply),
    Failed(RemoteFailure),
}
