//! A remote as a cachefs repository: with an identity of its own.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::error::{Error, Result};
use crate::id::RepoId;
use crate::remote::{DynRemote, ObjectKey, PutMode, RemoteErrorKind};

/// The version of the repository's layout that this code writes and the newest it reads.
const FORMAT: u32 = 1;
/// The description is a line of JSON; nothing longer is read.
const MAX: u64 = 1 << 20;

/// The field that the description has in every format version. It is decoded first, so that a newer
/// format is recognized even if all other fields change.
#[derive(Deserialize)]
struct Version {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requires: Vec<String>,
    id: RepoId,
}

/// Refuses a repository of a newer format. This version must not write or delete anything there,
/// because a newer format may reference objects in other ways.
///
/// # Errors
///
/// [`Error::Unsupported`], and those of the remote. A repository without a description, or with a
/// damaged one, passes.
pub async fn refuse_newer_format(remote: &DynRemote) -> Result<()> {
    match Repository::new(remote.clone()).existing_id().await {
        Ok(_) | Err(Error::Damaged { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A remote and the identity of the repository in it.
///
/// The local index is scoped by this identity. A bucket that was emptied and reused is another
/// repository, so a save never takes the old chunks for stored. Restores do not need the identity;
/// a save reads it once.
#[derive(Debug)]
pub struct Repository {
    remote: DynRemote,
    id: OnceCell<RepoId>,
}

impl Repository {
    /// Wraps a remote; nothing is read yet.
    pub fn new(remote: DynRemote) -> Self {
        Self {
            remote,
            id: OnceCell::new(),
        }
    }

    /// The remote.
    pub fn remote(&self) -> &DynRemote {
        &self.remote
    }

    /// The object that describes the repository.
    pub fn object_key() -> ObjectKey {
        ObjectKey::new("cachefs.json")
    }

    /// Returns the repository's identity, and creates it on first use.
    ///
    /// If the remote ignores conditional writes, two first savers may both write a description.
    /// Each reads it back afterwards. If they still differ, the loser's index entries are useless,
    /// but not wrong.
    pub async fn id(&self) -> Result<RepoId> {
        self.id
            .get_or_try_init(|| self.read_or_create())
            .await
            .copied()
    }

    /// The repository's identity if it has one; writes nothing.
    pub async fn existing_id(&self) -> Result<Option<RepoId>> {
        match self.read().await {
            Err(Error::Remote(error)) if error.kind() == RemoteErrorKind::NoRemote => Ok(None),
            other => other,
        }
    }

    async fn read_or_create(&self) -> Result<RepoId> {
        match self.read().await {
            Ok(Some(id)) => return Ok(id),
            Ok(None) => {}
            // A directory that is the remote comes into being by its first object.
            Err(Error::Remote(error)) if error.kind() == RemoteErrorKind::NoRemote => {}
            Err(error) => return Err(error),
        }
        let description = Description {
            format: FORMAT,
            requires: Vec::new(),
            id: RepoId::random(),
        };
        let bytes = serde_json::to_vec_pretty(&description)
            .map_err(|error| Error::damaged("a new repository", error.to_string()))?;
        let bytes = Bytes::from(bytes);
        match self
            .remote
            .put(&Self::object_key(), bytes.clone(), PutMode::IfAbsent)
            .await
        {
            Ok(()) => {}
            Err(error) if error.kind() == RemoteErrorKind::Exists => {}
            Err(error) => return Err(error.into()),
        }
        if self.read().await?.is_none() {
            // A description that a power cut left: it says nothing, and is in the way.
            self.remote
                .put(&Self::object_key(), bytes, PutMode::Overwrite)
                .await?;
        }
        self.read().await?.ok_or_else(|| {
            Error::damaged(
                "the repository",
                "its description disappeared right after it was written",
            )
        })
    }

    async fn read(&self) -> Result<Option<RepoId>> {
        let bytes = match self.remote.get(&Self::object_key(), MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == RemoteErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Ok(version) = serde_json::from_slice::<Version>(&bytes)
            && (version.format > FORMAT || !version.requires.is_empty())
        {
            return Err(Error::Unsupported {
                what: "the repository".to_owned(),
                detail: format!("format {}, features {:?}", version.format, version.requires),
            });
        }
        let description: Description = match serde_json::from_slice(&bytes) {
            Ok(description) => description,
            Err(error) if error.is_eof() || bytes.contains(&0) => {
                tracing::warn!("the repository's description is empty or truncated: {error}");
                return Ok(None);
            }
            Err(error) => {
                let what = "the repository's description";
                return Err(Error::damaged(what, error.to_string()));
            }
        };
        Ok(Some(description.id))
    }
}
