//! Data that requests and replies carry.

use cachefs_store::local::ReadStats;
use cachefs_store::remote::{RemoteSpec, RemoteTraffic};
use cachefs_store::restore::FoundStack;
use cachefs_store::stack::Owner;
use serde::{Deserialize, Serialize};

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

/// Result of a lookup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RestoreReply {
    /// The matches and their stack.
    #[serde(flatten)]
    pub(crate) found: FoundStack,
    /// The view of the stack; `None` if no key matched.
    pub(crate) view: Option<OpenedView>,
    /// Why the keys that matched are not used, if the remote lost data of theirs. Nothing matched then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<String>,
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
    #[serde(rename = "cache_limit_bytes")]
    pub cache_limit: u64,
}
