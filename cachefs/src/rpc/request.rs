//! The requests to the daemon, each with the type of its reply.

use std::path::PathBuf;

use cachefs_store::id::{DomainId, PackId, StackId, TrailerHash};
use cachefs_store::pack::PackRef;
use cachefs_store::refs::{FoundKey, KeyQuery, LayerInfo};
use cachefs_store::remote::RemoteSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::message::{DaemonStats, OpenedView, RestoreReply, ViewOrigin};
use crate::error::RemoteFailure;
use crate::paths::{Places, Whole};
use crate::shares::{ClientGrant, ShareDescription, ShareInfo};
use crate::view::{ReadReport, ViewForm};

/// A request to the daemon.
pub(crate) trait Request: Into<RpcRequest> {
    /// The reply to it.
    type Reply: Serialize + DeserializeOwned;

    /// Whether the request may be sent to another worker when the first one dies. A view that is
    /// not served yet dies with its worker, so requests about such a view must not be repeated.
    const MAY_REPEAT: bool;
}

/// Defines [`RpcRequest`] from a list of `Name(type) -> reply, once | repeatable;`.
macro_rules! requests {
    ($($name:ident($request:ty) -> $reply:ty, $repeat:ident;)+) => {
        /// Any request. On the wire, `op` holds the name in snake case.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(tag = "op", rename_all = "snake_case")]
        pub(crate) enum RpcRequest {
            $($name($request),)+
        }

        impl RpcRequest {
            /// The name of the request, for logs.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)+
                }
            }
        }

        $(
            impl Request for $request {
                type Reply = $reply;
                const MAY_REPEAT: bool = requests!(@$repeat);
            }

            impl From<$request> for RpcRequest {
                fn from(request: $request) -> Self {
                    Self::$name(request)
                }
            }
        )+
    };
    (@once) => { false };
    (@repeatable) => { true };
}

requests! {
    Restore(RestoreRequest) -> RestoreReply, repeatable;
    Find(FindRequest) -> Vec<Option<FoundKey>>, repeatable;
    Open(OpenRequest) -> OpenedView, repeatable;
    Serve(ServeRequest) -> (), once;
    Close(CloseRequest) -> (), once;
    Lookup(LookupRequest) -> (), repeatable;
    HasPack(HasPackRequest) -> bool, repeatable;
    Insert(InsertRequest) -> (), repeatable;
    RemovePack(RemovePackRequest) -> (), repeatable;
    PublishTrace(PublishTraceRequest) -> (), repeatable;
    Allowed(AllowedRequest) -> ClientGrant, repeatable;
    Share(ShareRequest) -> (), once;
    Unshare(UnshareRequest) -> (), once;
    Shares(SharesRequest) -> Vec<ShareInfo>, repeatable;
    Stats(StatsRequest) -> DaemonStats, repeatable;
    Reads(ReadsRequest) -> Option<ReadReport>, repeatable;
    Stop(StopRequest) -> (), once;
    Upgrade(UpgradeRequest) -> UpgradeReply, once;
}

impl RpcRequest {
    /// The keys that the request is about, for logs.
    pub(crate) fn keys(&self) -> Option<String> {
        let keys: Vec<&str> = match self {
            Self::Restore(RestoreRequest { wanted, .. })
            | Self::Find(FindRequest { wanted, .. }) => {
                wanted.iter().map(|wanted| wanted.key.as_str()).collect()
            }
            Self::Open(open) => open.layers.iter().map(|layer| layer.key.as_str()).collect(),
            _ => return None,
        };
        Some(keys.join(" "))
    }
}

/// Finds a stack and creates a view of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RestoreRequest {
    /// The keys, the bottom of the stack first.
    pub(crate) wanted: Vec<KeyQuery>,
    /// Where to look for the keys, and the options of the view.
    #[serde(flatten)]
    pub(crate) shown: ViewOrigin,
}

/// Finds the keys that hold parts of a cache of several paths. The reply has an entry for each key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FindRequest {
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

/// Creates a view of a known stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OpenRequest {
    /// The stack, the bottom layer first.
    pub(crate) layers: Vec<LayerInfo>,
    /// Where it is, and how it is shown.
    #[serde(flatten)]
    pub(crate) shown: ViewOrigin,
}

/// Serves a view on the descriptor of `/dev/fuse` that comes with the request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServeRequest {
    pub(crate) view: u64,
    pub(crate) form: ViewForm,
}

/// Drops a view that was never served.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CloseRequest {
    pub(crate) view: u64,
}

/// Looks up chunks; their ids are the payload. The payload of the reply has their locations, as
/// [`encode_indexed`](super::encode_indexed) writes them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LookupRequest {
    /// Searched in this order.
    pub(crate) domains: Vec<DomainId>,
}

/// A pack as requests about the index name it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NamedPack {
    pub(crate) pack: PackId,
    pub(crate) length: u32,
    pub(crate) trailer: u32,
    pub(crate) hash: TrailerHash,
}

impl From<NamedPack> for PackRef {
    fn from(named: NamedPack) -> Self {
        Self {
            id: named.pack,
            length: named.length,
            trailer: named.trailer,
            hash: Some(named.hash),
        }
    }
}

/// Asks whether one of the domains has exactly this pack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HasPackRequest {
    pub(crate) domains: Vec<DomainId>,
    #[serde(flatten)]
    pub(crate) pack: NamedPack,
}

/// Inserts the chunks of a pack. The payload is the trailer of the pack, whose hash must match.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InsertRequest {
    /// The domain of the save.
    pub(crate) domain: DomainId,
    #[serde(flatten)]
    pub(crate) pack: NamedPack,
}

/// Removes a pack from the index.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemovePackRequest {
    pub(crate) domains: Vec<DomainId>,
    pub(crate) pack: PackId,
}

/// Publishes the reads of one stack's views as the trace of the stack that was saved from it, or,
/// if both are the same, as its own trace. The reply is sent after the trace is published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishTraceRequest {
    pub(crate) from: StackId,
    pub(crate) to: StackId,
}

/// Returns the grant of the share that this socket belongs to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AllowedRequest {}

/// Opens a share on the listening socket that comes with the request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShareRequest(pub(crate) Box<ShareDescription>);

/// Ends a share. Views that it has opened stay.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UnshareRequest {
    pub(crate) path: PathBuf,
}

/// Lists the shares.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SharesRequest {}

/// Returns the statistics of the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatsRequest {}

/// Returns the reads of a stack through all of its views; nothing if it has no view.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadsRequest {
    pub(crate) stack: StackId,
}

/// Ends the daemon after the reply. Refused while the daemon serves mounts, unless forced.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StopRequest {
    pub(crate) force: bool,
}

/// Replaces the daemon by another version after the reply. Daemons of all versions understand this
/// request, so its form must not change.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpgradeRequest {
    pub(crate) exe: PathBuf,
}

/// The reply to an upgrade. Commands of all versions understand it, so its form must not change;
/// older ones require the tag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename = "upgrading")]
pub(crate) struct UpgradeReply {
    /// The worker, which exits after the reply.
    pub(crate) pid: u32,
}

/// A message to the daemon: [`RpcRequest`] or a reference to one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<R = RpcRequest> {
    /// The sender's version: both ends must be the same program.
    pub(crate) version: String,
    pub(crate) request: R,
}

/// The daemon's answer to a request whose reply has the type `R`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RpcReply<R> {
    Ok(R),
    Failed(RemoteFailure),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_named_by_its_op() {
        let wire = serde_json::to_value(RpcRequest::from(StatsRequest {})).unwrap();
        assert_eq!(wire, json!({ "op": "stats" }));
        let hash = TrailerHash([1; 32]);
        let insert = InsertRequest {
            domain: DomainId([2; 16]),
            pack: NamedPack {
                pack: PackId([3; 16]),
                length: 10,
                trailer: 8,
                hash,
            },
        };
        let wire = serde_json::to_value(RpcRequest::from(insert)).unwrap();
        assert_eq!(wire["op"], "insert");
        assert_eq!(wire["length"], 10);
        assert!(matches!(
            serde_json::from_value(wire).unwrap(),
            RpcRequest::Insert(insert) if insert.pack.hash == hash
        ));
    }

    /// The forms that every version has understood since 0.1.0.
    #[test]
    fn an_upgrade_keeps_its_form() {
        let exe = PathBuf::from("/usr/bin/cachefs");
        let wire = serde_json::to_value(RpcRequest::from(UpgradeRequest { exe })).unwrap();
        assert_eq!(wire, json!({ "op": "upgrade", "exe": "/usr/bin/cachefs" }));
        let reply = json!({ "ok": { "reply": "upgrading", "pid": 7 } });
        let ours = RpcReply::Ok(UpgradeReply { pid: 7 });
        assert_eq!(serde_json::to_value(ours).unwrap(), reply);
        let RpcReply::Ok(read) = serde_json::from_value::<RpcReply<UpgradeReply>>(reply).unwrap()
        else {
            panic!("a failure");
        };
        assert_eq!(read.pid, 7);
    }

    #[test]
    fn a_failure_has_the_same_form_for_every_request() {
        let wire = json!({ "failed": { "kind": "usage", "message": "m", "hint": null } });
        assert!(matches!(
            serde_json::from_value::<RpcReply<DaemonStats>>(wire).unwrap(),
            RpcReply::Failed(failure) if failure.message == "m"
        ));
    }
}
