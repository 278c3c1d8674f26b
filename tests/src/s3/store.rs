//! `s3s-fs` with fixes where its behaviour differs from S3 in ways that matter to a cache.

use std::path::PathBuf;

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    PutObjectInput, PutObjectOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::Mutex;

use super::content::content;

/// The subset of S3 that a cache uses, stored in files.
#[derive(Debug)]
pub(super) struct Store {
    files: FileSystem,
    root: PathBuf,
    ignore_conditions: bool,
    /// `s3s-fs` checks whether the object exists and writes later; S3 does both atomically, hence
    /// the lock.
    conditional_write: Mutex<()>,
}

impl Store {
    pub(super) fn new(files: FileSystem, root: PathBuf, ignore_conditions: bool) -> Self {
        Self {
            files,
            root,
            ignore_conditions,
            conditional_write: Mutex::new(()),
        }
    }

    /// `s3s-fs` creates a missing bucket with the first object, and reports a missing object
    /// instead of a missing bucket.
    fn require_bucket(&self, bucket: &str) -> S3Result<()> {
        match self.root.join(bucket).is_dir() {
            true => Ok(()),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for Store {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.require_bucket(&request.input.bucket)?;
        let input = &mut request.input;
        if self.ignore_conditions {
            input.if_none_match = None;
            input.if_match = None;
        }
        let conditional = input.if_none_match.is_some() || input.if_match.is_some();
        let _turn = match conditional {
            true => Some(self.conditional_write.lock().await),
            false => None,
        };
        self.files.put_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.require_bucket(&request.input.bucket)?;
        let path = self
            .root
            .join(&request.input.bucket)
            .join(&request.input.key);
        let range = request.input.range;
        let mut answer = self.files.get_object(request).await?;
        let length = answer.output.content_length.unwrap_or(0).unsigned_abs();
        answer.output.body = Some(
            content(&path, range.as_ref(), length)
                .map_err(|error| s3_error!(error, InternalError))?,
        );
        Ok(answer)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.require_bucket(&request.input.bucket)?;
        self.files.head_object(request).await
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.files.head_bucket(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        self.files.list_objects_v2(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<DeleteObjectOutput> {
        self.files.delete_object(request).await
    }
}
