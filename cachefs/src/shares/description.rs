//! Shares as data: messages contain it, and the supervisor keeps it.

use std::path::PathBuf;

use cachefs_store::id::StackId;
use cachefs_store::refs::Scope;
use cachefs_store::remote::{Environment, RemoteSpec};
use serde::{Deserialize, Serialize};

/// Permissions of a share's clients, and the credentials that the daemon uses for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The remote, with the credentials that the daemon uses for it.
    pub remote: RemoteSpec,
    /// How long one request to the remote may take, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// The scopes, the clients' own first; at least one.
    pub scopes: Vec<Scope>,
    /// The only user apart from root who may connect; the daemon's own user for `None`.
    pub uid: Option<u32>,
    /// Whether the reads of the clients are not published for later jobs.
    pub read_only: bool,
    /// Whether clients may have a large cache fetched completely, including data that nobody reads.
    #[serde(default)]
    pub prefetch_all: bool,
}

impl Grant {
    /// The clients' view of the grant.
    pub fn allowed(&self) -> ClientGrant {
        let RemoteSpec {
            url,
            endpoint,
            region,
            path_style,
            account,
            ..
        } = self.remote.clone();
        ClientGrant {
            remote: RemoteSpec {
                url,
                endpoint,
                region,
                path_style,
                account,
                ..RemoteSpec::default()
            },
            scopes: self.scopes.clone(),
            read_only: self.read_only,
        }
    }
}

/// A grant as its clients see it: without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientGrant {
    /// The remote.
    pub remote: RemoteSpec,
    /// The scopes, the clients' own first.
    pub scopes: Vec<Scope>,
    /// Whether the reads of the clients are not published.
    pub read_only: bool,
}

impl ClientGrant {
    /// The remote as it is reached from the client's own environment, with credentials from `env`.
    /// Only operations of the client itself, such as a save, use them.
    pub fn reached_with(&self, env: Environment) -> RemoteSpec {
        RemoteSpec {
            env,
            ..self.remote.clone()
        }
    }
}

/// The data to reopen a share, except for its listening descriptor. It contains credentials, so it
/// is passed to processes of the same user in memory, and never written to disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareDescription {
    /// Where the socket was made.
    pub path: PathBuf,
    /// Device and inode of the socket's file.
    pub file: (u64, u64),
    /// Permissions of its clients.
    pub grant: Grant,
    /// The stacks that its clients were given.
    pub stacks: Vec<StackId>,
}

/// A share in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareInfo {
    /// Where its socket is.
    pub path: PathBuf,
    /// Permissions of its clients.
    pub allowed: ClientGrant,
    /// The only user apart from root who may connect; the daemon's own user for `None`.
    pub uid: Option<u32>,
    /// Number of connections now.
    pub connections: usize,
}
