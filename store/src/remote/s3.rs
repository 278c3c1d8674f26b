//! An S3 bucket, or a prefix in one, as a remote.

mod bounded_body;
mod client;
mod container_credentials;
mod credentials;
mod errors;
mod put_options;
mod sts;
mod timeouts;

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime, SdkBody};
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::body::{Body, RequestedBytes};
use super::http_status::NotFoundSubject;
use super::identity::IdentityFields;
use super::spec::Environment;
use super::{
    ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind, RemoteId,
};
use crate::id::PlaceId;
pub use put_options::Storing;
pub use sts::Role;

/// Which bucket, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// Prefix of all keys, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The server's address, as `https://host:port`, where it isn't that of AWS.
    pub endpoint: Option<String>,
    /// The region; otherwise from the environment or the profile.
    pub region: Option<String>,
    /// Whether the bucket goes in the path instead of the host name.
    pub path_style: bool,
    /// Whether to send unsigned requests.
    pub anonymous: bool,
    /// The role to assume, unless requests are sent with the credentials themselves.
    pub role: Option<Role>,
    /// Options for objects that are written.
    pub storing: Storing,
    /// Where credentials are looked up.
    pub env: Environment,
}

/// A remote in an S3 bucket.
///
/// Deadlines and retries are not here but in [`Retry`](super::Retry). Connections belong to the
/// tokio runtime that first uses the remote, so use it from one runtime only.
#[derive(Debug)]
pub struct S3Remote {
    url: String,
    id: RemoteId,
    options: S3Options,
    client: OnceCell<Client>,
}

/// Identity of a bucket. Different partitions of AWS may have buckets of the same name; the region
/// distinguishes them.
fn place_id(options: &S3Options) -> PlaceId {
    let region = options.region.as_deref();
    let from_env = || {
        let env = &options.env;
        env.get("AWS_REGION").or(env.get("AWS_DEFAULT_REGION"))
    };
    let region = match &options.endpoint {
        Some(_) => None,
        None => region.or_else(from_env),
    };
    IdentityFields::place()
        .text("store", "s3")
        .option("endpoint", options.endpoint.as_deref())
        .option("region", region)
        .text("style", if options.path_style { "path" } else { "host" })
        .text("bucket", &options.bucket)
        .text("prefix", &options.prefix)
        .into_place()
}

impl S3Remote {
    /// Describes the remote; the client is built, and credentials are sought, with the first request.
    pub fn new(options: S3Options) -> Self {
        let separator = if options.prefix.is_empty() { "" } else { "/" };
        let url = format!("s3://{}{separator}{}", options.bucket, options.prefix);
        Self {
            url,
            id: RemoteId {
                place: place_id(&options),
                client: credentials::s3_identity(&options),
            },
            options,
            client: OnceCell::new(),
        }
    }

    async fn client(&self, action: &str) -> Result<&Client, RemoteError> {
        self.client
            .get_or_try_init(|| client::build_client(&self.options))
            .await
            .map_err(|error| {
                let hint = error.hint();
                RemoteError::new(RemoteErrorKind::Invalid, action)
                    .with_source(error)
                    .with_hint(hint)
            })
    }

    fn full_key(&self, key: &str) -> String {
        match self.options.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    fn relative_key(&self, full: &str) -> Option<ObjectKey> {
        let key = match self.options.prefix.as_str() {
            "" => full,
            prefix => full.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        ObjectKey::from_listing(key)
    }

    async fn read(&self, key: &ObjectKey, wanted: RequestedBytes) -> Result<Bytes, RemoteError> {
        let action = format!("get {key}");
        let client = self.client(&action).await?;
        let header = wanted
            .range()
            .map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let output = client
            .get_object()
            .bucket(&self.options.bucket)
            .key(self.full_key(key.as_str()))
            .set_range(header)
            .send()
            .await
            .map_err(|error| errors::from_sdk(&action, NotFoundSubject::Object, error))?;
        let promised = output
            .content_length
            .and_then(|length| u64::try_from(length).ok());
        let mut body = Body::new(&action, &wanted, promised)?;
        let mut stream = output.body;
        while let Some(chunk) = stream.next().await {
            // The connection broke off, which says nothing of the object.
            let broken =
                |error| RemoteError::new(RemoteErrorKind::Unavailable, &action).with_source(error);
            body.push(&chunk.map_err(broken)?)?;
        }
        body.finish()
    }
}

#[async_trait]
impl Remote for S3Remote {
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
        let client = self.client(&action).await?;
        let condition = (mode == PutMode::IfAbsent).then(|| "*".to_owned());
        let request = self.options.storing.apply(client.put_object());
        request
            .bucket(&self.options.bucket)
            .key(self.full_key(key.as_str()))
            .set_if_none_match(condition)
            .body(ByteStream::new(SdkBody::from(body)))
            .send()
            .await
            .map(drop)
            .map_err(|error| errors::from_sdk(&action, NotFoundSubject::Bucket, error))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        let action = format!("head {key}");
        let output = self
            .client(&action)
            .await?
            .head_object()
            .bucket(&self.options.bucket)
            .key(self.full_key(key.as_str()))
            .send()
            .await
            .map_err(|error| errors::from_sdk(&action, NotFoundSubject::Object, error))?;
        match output
            .content_length
            .and_then(|length| u64::try_from(length).ok())
        {
            Some(size) => Ok(ObjectInfo {
                key: key.clone(),
                size,
                modified: output.last_modified.as_ref().and_then(time_micros),
            }),
            None => Err(RemoteError::new(RemoteErrorKind::Damaged, action)),
        }
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        let action = format!("list {prefix}");
        let output = self
            .client(&action)
            .await?
            .list_objects_v2()
            .bucket(&self.options.bucket)
            .prefix(self.full_key(prefix))
            .set_continuation_token(next.map(str::to_owned))
            .send()
            .await
            .map_err(|error| errors::from_sdk(&action, NotFoundSubject::Bucket, error))?;
        let damaged = || RemoteError::new(RemoteErrorKind::Damaged, &action);
        let mut page = ListPage::default();
        for object in output.contents() {
            // Objects that can't be ours are left alone.
            let Some(key) = object.key().and_then(|key| self.relative_key(key)) else {
                continue;
            };
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            page.objects.push(ObjectInfo {
                key,
                size: size.ok_or_else(damaged)?,
                modified: object.last_modified().and_then(time_micros),
            });
        }
        if output.is_truncated() == Some(true) {
            // Without the token the rest can't be had, and half a listing must not pass for all.
            page.next = Some(output.next_continuation_token.ok_or_else(damaged)?);
        }
        Ok(page)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        let action = format!("delete {key}");
        let result = self
            .client(&action)
            .await?
            .delete_object()
            .bucket(&self.options.bucket)
            .key(self.full_key(key.as_str()))
            .send()
            .await
            .map_err(|error| errors::from_sdk(&action, NotFoundSubject::Object, error));
        match result {
            // Some servers say so, S3 itself never does.
            Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(()),
            result => result.map(drop),
        }
    }
}

fn time_micros(time: &DateTime) -> Option<u64> {
    u64::try_from(time.as_nanos() / 1000).ok()
}
