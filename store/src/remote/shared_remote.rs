//! A remote behind a pointer, as one that wrappers can wrap once more.

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

use super::{DynRemote, ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteId};

#[async_trait]
impl Remote for DynRemote {
    fn url(&self) -> &str {
        (**self).url()
    }

    fn id(&self) -> RemoteId {
        (**self).id()
    }

    fn local_dir(&self) -> Option<&Path> {
        (**self).local_dir()
    }

    async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, RemoteError> {
        (**self).get(key, limit).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        (**self).get_range(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        (**self).put(key, body, mode).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        (**self).head(key).await
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        (**self).list_page(prefix, next).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, RemoteError> {
        (**self).list(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        (**self).delete(key).await
    }
}
