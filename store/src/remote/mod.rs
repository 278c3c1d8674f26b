//! Remotes: object stores that hold packs, layers and refs.
//!
//! One narrow trait is implemented once per kind of store, and wrapped by common behaviour:
//! [`Retry`] (deadlines and retries, which no other code has) over [`Meter`] (requests and bytes by
//! kind) over an implementation. [`open_remote()`] builds that stack from a [`RemoteSpec`]. An
//! implementation passes [`conformance`].
//!
//! Correctness never depends on conditional writes, because some stores accept the condition and
//! ignore it. `PutMode::IfAbsent` is used only for random names, or for objects whose content is
//! read back.

mod body;
mod cloud;
mod error;
mod file;
mod hedge;
mod http_status;
mod identity;
mod key;
mod meter;
mod open;
mod operation_traffic;
mod retry;
mod s3;
mod shared_remote;
mod spec;
mod stream;

pub mod conformance;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use cloud::{AzureOptions, CloudRemote, GoogleOptions};
pub use error::{RemoteError, RemoteErrorKind};
pub use file::FileRemote;
pub(crate) use file::open_object;
pub use hedge::Hedge;
pub use identity::RemoteId;
pub use key::ObjectKey;
pub use meter::{Meter, Operation, RemoteTraffic, TrafficMeter};
pub use open::{OpenRemote, open_remote};
pub use operation_traffic::Spending;
pub(crate) use operation_traffic::WatchedMeter;
pub use retry::{Retry, RetryPolicy};
pub use s3::{Role, S3Options, S3Remote, Storing};
pub use spec::{Environment, NO_MACHINE_IDENTITY, RemoteSpec, SpecError, without_secrets};
pub use stream::ObjectStream;

/// No listing has more objects.
const MAX_LISTED: usize = 10_000_000;

/// Behaviour of a `put` if the object exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// Replaces it.
    Overwrite,
    /// Fails with [`RemoteErrorKind::Exists`], where the store honours the condition.
    IfAbsent,
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The whole key, relative to the remote's prefix.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, in microseconds since 1970 by the store's own clock; `None` when the
    /// store does not say.
    pub modified: Option<u64>,
}

/// A part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects of this page.
    pub objects: Vec<ObjectInfo>,
    /// Token for the next page; `None` on the last page.
    pub next: Option<String>,
}

/// An object store, or a directory that serves as one.
///
/// All keys are relative to the prefix that the remote was opened with. Every call succeeds
/// completely or fails; a read never returns fewer bytes than requested.
#[async_trait]
pub trait Remote: Send + Sync + std::fmt::Debug {
    /// The address as the user would write it, without credentials.
    fn url(&self) -> &str;

    /// Identity of the remote and of the client's credentials. Local copies are stored under it.
    /// Wrappers return the id of the wrapped remote.
    fn id(&self) -> RemoteId;

    /// The directory on a local disk that holds the objects, if the remote is one.
    ///
    /// Frames of such a remote are read in place and never copied into the local store. `None` for
    /// directories on network filesystems.
    fn local_dir(&self) -> Option<&Path> {
        None
    }

    /// Reads a whole object of at most `limit` bytes.
    ///
    /// A larger object fails with [`RemoteErrorKind::TooLarge`]. Memory is bounded by `limit` bytes
    /// and one network buffer, whatever length the store announces, because anyone with write
    /// access to the remote controls the length of its objects.
    async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, RemoteError>;

    /// Reads exactly the bytes of `range`, which is not empty.
    ///
    /// An object that is too short is [`RemoteErrorKind::Damaged`].
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError>;

    /// Writes a whole object; it is visible in full or not at all.
    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError>;

    /// Reads an object's size.
    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError>;

    /// Reads one page of a listing: the first, or the one that `next` of the page before names.
    ///
    /// The unit of retries, deadlines and request counts, because a page is one request.
    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError>;

    /// Lists all objects whose key starts with `prefix`, in no particular order. The prefix is any
    /// string, not only a whole folder. The list is empty if there are none. More than ten million
    /// objects, or a page that refers to itself, fail with [`RemoteErrorKind::TooLarge`].
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, RemoteError> {
        let mut page = self.list_page(prefix, None).await?;
        let mut objects = page.objects;
        while let Some(next) = page.next {
            page = self.list_page(prefix, Some(&next)).await?;
            objects.append(&mut page.objects);
            // A store that never comes to an end would fill the memory.
            if page.next.as_deref() == Some(&*next) || objects.len() > MAX_LISTED {
                return Err(RemoteError::new(
                    RemoteErrorKind::TooLarge,
                    format!("list {prefix}"),
                ));
            }
        }
        Ok(objects)
    }

    /// Deletes an object; succeeds if it does not exist.
    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError>;
}

/// A remote as everything above this module holds it.
pub type DynRemote = Arc<dyn Remote>;
