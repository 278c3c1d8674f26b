//! A bucket of Google Cloud Storage or a container of Azure, or a prefix in one, as a remote.

mod azure;
mod errors;
mod external_account;
mod google;
mod http;
mod token;
mod token_request;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions,
    RetryConfig,
};
use tokio::sync::OnceCell;

use super::body::{Body, RequestedBytes};
use super::http_status::NotFoundSubject;
use super::{
    ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind, RemoteId,
};
pub use azure::AzureOptions;
pub(super) use azure::ConnectionString;
use errors::Vendor;
pub use google::GoogleOptions;

/// Which store, and how to reach it.
#[derive(Debug)]
enum CloudOptions {
    Google(GoogleOptions),
    Azure(AzureOptions),
}

/// A remote at Google or Azure.
///
/// Deadlines and retries are not here but in [`Retry`](super::Retry). Connections belong to the
/// tokio runtime that first uses the remote, so use it from one runtime only.
#[derive(Debug)]
pub struct CloudRemote {
    url: String,
    id: RemoteId,
    prefix: String,
    options: CloudOptions,
    client: OnceCell<CloudClients>,
}

/// Views of one client.
struct CloudClients {
    objects: Arc<dyn ObjectStore>,
    listing: Arc<dyn PaginatedListStore>,
    /// Deletes objects in place of `objects`, if set.
    deletions: Option<azure::AzureDeleter>,
}

impl std::fmt::Debug for CloudClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.objects)
    }
}

impl CloudClients {
    fn new(
        store: impl ObjectStore + PaginatedListStore,
        deletions: Option<azure::AzureDeleter>,
    ) -> Self {
        let store = Arc::new(store);
        Self {
            objects: Arc::clone(&store) as _,
            listing: store,
            deletions,
        }
    }
}

impl CloudRemote {
    /// Describes a bucket; the client is built, and credentials are sought, with the first request.
    pub fn google(options: GoogleOptions) -> Self {
        Self {
            url: remote_address("gs", &options.bucket, &options.prefix),
            id: google::google_identity(&options),
            prefix: options.prefix.clone(),
            options: CloudOptions::Google(options),
            client: OnceCell::new(),
        }
    }

    /// Describes an Azure container.
    pub fn azure(options: AzureOptions) -> Self {
        Self {
            url: remote_address("az", &options.container, &options.prefix),
            id: azure::azure_identity(&options),
            prefix: options.prefix.clone(),
            options: CloudOptions::Azure(options),
            client: OnceCell::new(),
        }
    }

    fn vendor(&self) -> Vendor {
        match self.options {
            CloudOptions::Google(_) => Vendor::Google,
            CloudOptions::Azure(_) => Vendor::Azure,
        }
    }

    async fn client(&self, action: &str) -> Result<&CloudClients, RemoteError> {
        let build = || async {
            match &self.options {
                CloudOptions::Google(options) => google::build_google(options, no_retries())
                    .map(|store| CloudClients::new(store, None)),
                CloudOptions::Azure(options) => azure::build_azure(options, no_retries())
                    .map(|(store, deletions)| CloudClients::new(store, Some(deletions))),
            }
        };
        let client = self.client.get_or_try_init(build).await;
        client.map_err(|error| errors::from_credentials(self.vendor(), action, error))
    }

    fn judge(
        &self,
        action: &str,
        subject: NotFoundSubject,
        error: object_store::Error,
    ) -> RemoteError {
        errors::classify_failure(self.vendor(), action, subject, error)
    }

    fn full_key(&self, key: &str) -> String {
        match self.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    fn relative_key(&self, full: &str) -> Option<ObjectKey> {
        let key = match self.prefix.as_str() {
            "" => full,
            prefix => full.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        ObjectKey::from_listing(key)
    }

    /// The object's name as `object_store` has it, which encodes nothing.
    fn path(&self, key: &ObjectKey, action: &str) -> Result<Path, RemoteError> {
        Path::parse(self.full_key(key.as_str()))
            .map_err(|error| RemoteError::new(RemoteErrorKind::Invalid, action).with_source(error))
    }

    async fn read(&self, key: &ObjectKey, wanted: RequestedBytes) -> Result<Bytes, RemoteError> {
        let action = format!("get {key}");
        let path = self.path(key, &action)?;
        let options = GetOptions {
            range: wanted.range().cloned().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let objects = &self.client(&action).await?.objects;
        let result = objects.get_opts(&path, options).await;
        let result = result.map_err(|error| self.judge(&action, NotFoundSubject::Object, error))?;
        let promised = result.range.clone();
        if wanted.range().is_some_and(|range| *range != promised) {
            return Err(RemoteError::new(RemoteErrorKind::Damaged, action));
        }
        let mut body = Body::new(&action, &wanted, Some(promised.end - promised.start))?;
        let mut stream = result.into_stream();
        while let Some(chunk) = stream.next().await {
            body.push(
                &chunk.map_err(|error| self.judge(&action, NotFoundSubject::Object, error))?,
            )?;
        }
        body.finish()
    }

    /// Whether there is an object of exactly this name.
    async fn find(&self, name: &str, action: &str) -> Result<Option<ObjectInfo>, RemoteError> {
        let Some(key) = ObjectKey::from_listing(name) else {
            return Ok(None);
        };
        match self.info(&key, action).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn info(&self, key: &ObjectKey, action: &str) -> Result<ObjectInfo, RemoteError> {
        let path = self.path(key, action)?;
        let found = self.client(action).await?.objects.head(&path).await;
        found
            .map(|meta| object_info(key.clone(), &meta))
            .map_err(|error| self.judge(action, NotFoundSubject::Object, error))
    }
}

#[async_trait]
impl Remote for CloudRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn id(&self) -> RemoteId {
        self.id
    }

    async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, RemoteError> {
        self.read(key, RequestedBytes::Whole { limit }).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        if range.start >= range.end {
            return Err(RemoteError::new(
                RemoteErrorKind::Invalid,
                format!("get {key}"),
            ));
        }
        self.read(key, RequestedBytes::Range(range)).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        let action = format!("put {key}");
        let path = self.path(key, &action)?;
        let options = PutOptions::from(match mode {
            PutMode::Overwrite => object_store::PutMode::Overwrite,
            PutMode::IfAbsent => object_store::PutMode::Create,
        });
        let objects = &self.client(&action).await?.objects;
        let result = objects.put_opts(&path, body.into(), options).await;
        result
            .map(drop)
            .map_err(|error| self.judge(&action, NotFoundSubject::Bucket, error))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        self.info(key, &format!("head {key}")).await
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        let action = format!("list {prefix}");
        let full = self.full_key(prefix);
        let listing = &self.client(&action).await?.listing;
        let options = PaginatedListOptions {
            page_token: next.map(str::to_owned),
            ..PaginatedListOptions::default()
        };
        let listed = async {
            let listed = listing.list_paginated(Some(&full), options).await;
            listed.map_err(|error| self.judge(&action, NotFoundSubject::Bucket, error))
        };
        // For Azure, `object_store` omits the object whose name equals the prefix, so we look for
        // it in addition to a listing that could contain it.
        let exact = async {
            match next.is_none() && self.vendor() == Vendor::Azure {
                true => self.find(prefix, &action).await,
                false => Ok(None),
            }
        };
        let (listed, exact) = tokio::try_join!(listed, exact)?;
        let objects = listed.result.objects.iter().filter_map(|object| {
            // Objects that can't be ours are left alone.
            let key = self.relative_key(object.location.as_ref())?;
            key.as_str()
                .starts_with(prefix)
                .then(|| object_info(key, object))
        });
        Ok(ListPage {
            objects: exact.into_iter().chain(objects).collect(),
            next: listed.page_token.filter(|token| !token.is_empty()),
        })
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        let action = format!("delete {key}");
        let path = self.path(key, &action)?;
        let client = self.client(&action).await?;
        let result = match &client.deletions {
            Some(deletions) => deletions.delete(path.as_ref()).await,
            None => client.objects.delete(&path).await,
        };
        match result.map_err(|error| self.judge(&action, NotFoundSubject::Object, error)) {
            Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

fn object_info(key: ObjectKey, meta: &ObjectMeta) -> ObjectInfo {
    ObjectInfo {
        key,
        size: meta.size,
        modified: u64::try_from(meta.last_modified.timestamp_micros()).ok(),
    }
}

fn remote_address(scheme: &str, bucket: &str, prefix: &str) -> String {
    let separator = if prefix.is_empty() { "" } else { "/" };
    format!("{scheme}://{bucket}{separator}{prefix}")
}

fn no_retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 0,
        retry_timeout: Duration::ZERO,
    }
}
