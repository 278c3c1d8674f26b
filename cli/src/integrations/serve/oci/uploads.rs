//! Uploads of blobs: in one request, in one stream, or in chunks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::error::RegistryError;
use super::names::{ContentDigest, ContentHasher, DigestAlgorithm, RepositoryName};
use crate::integrations::serve::spool::SpooledUpload;

/// Idle time after which an upload is discarded.
const IDLE: Duration = Duration::from_secs(3600);
/// Maximum number of uploads in progress. Each has an open file.
const MAX_UPLOADS: usize = 1024;
/// Number of blocks of a request that wait to be written.
const BLOCKS_AHEAD: usize = 16;

/// Content that is being received.
pub(super) struct BlobUpload {
    spooled: SpooledUpload,
    size: u64,
    /// The digest so far. Nearly all digests are SHA-256; for another one, we read the file again.
    hasher: ContentHasher,
}

impl BlobUpload {
    pub(super) fn new(spooled: SpooledUpload) -> Self {
        Self {
            spooled,
            size: 0,
            hasher: ContentHasher::new(DigestAlgorithm::Sha256),
        }
    }

    /// Number of bytes received so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds the body of a request. If it breaks off, the bytes that arrived are kept.
    pub(super) async fn receive(self, mut body: Incoming) -> (Self, Result<(), RegistryError>) {
        let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
        let writer = tokio::task::spawn_blocking(move || self.write_blocks(blocks));
        let mut outcome = Ok(());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    if let Ok(block) = frame.into_data()
                        && sender.send(block).await.is_err()
                    {
                        // The writer failed, and its result has the error.
                        break;
                    }
                }
                Err(error) => {
                    let message = format!("the request ended early: {error}");
                    outcome = Err(RegistryError::upload_invalid(message));
                    break;
                }
            }
        }
        drop(sender);
        match writer.await {
            Ok((upload, written)) => (upload, written.and(outcome)),
            // The writer panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn write_blocks(
        mut self,
        mut blocks: mpsc::Receiver<Bytes>,
    ) -> (Self, Result<(), RegistryError>) {
        while let Some(block) = blocks.blocking_recv() {
            if let Err(error) = self.spooled.file().write_all(&block) {
                let error = cachefs::Error::io("write", self.spooled.path())(error);
                // The file may contain part of the block, so this upload cannot continue.
                return (self, Err(error.into()));
            }
            self.hasher.update(&block);
            self.size += block.len() as u64;
        }
        (self, Ok(()))
    }

    /// Returns the file if the content has the digest.
    pub(super) fn finish(mut self, digest: &ContentDigest) -> Result<SpooledUpload, RegistryError> {
        let found = match digest.algorithm() {
            DigestAlgorithm::Sha256 => self.hasher.finish(),
            algorithm => hash_file(self.spooled.file(), algorithm)
                .map_err(cachefs::Error::io("read", self.spooled.path()))?,
        };
        if found != *digest {
            let message = format!("the content has the digest {found}, not {digest}");
            return Err(RegistryError::digest_invalid(message));
        }
        Ok(self.spooled)
    }
}

fn hash_file(file: &mut File, algorithm: DigestAlgorithm) -> std::io::Result<ContentDigest> {
    let mut hasher = ContentHasher::new(algorithm);
    let mut block = vec![0; 256 << 10];
    file.rewind()?;
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&block[..length]);
    }
}

/// The uploads in progress, by repository and identifier. A request takes the upload out while it
/// adds to it, so two requests cannot write to it at once.
#[derive(Default)]
pub(super) struct UploadTable {
    uploads: Mutex<HashMap<(RepositoryName, String), IdleUpload>>,
}

struct IdleUpload {
    upload: BlobUpload,
    since: Instant,
}

impl UploadTable {
    /// Adds a new upload. Returns its identifier, which is unguessable.
    pub(super) fn begin(
        &self,
        repository: &RepositoryName,
        upload: BlobUpload,
    ) -> Result<String, RegistryError> {
        let mut uploads = self.uploads.lock();
        uploads.retain(|_, idle| idle.since.elapsed() < IDLE);
        if uploads.len() >= MAX_UPLOADS {
            let message = format!("there are {MAX_UPLOADS} uploads under way");
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(RegistryError::new(status, "TOOMANYREQUESTS", message));
        }
        let id = cachefs_store::id::SaveId::now().to_string();
        let since = Instant::now();
        uploads.insert(
            (repository.clone(), id.clone()),
            IdleUpload { upload, since },
        );
        Ok(id)
    }

    /// Takes an upload out, to add to it or to finish it.
    pub(super) fn take(
        &self,
        repository: &RepositoryName,
        id: &str,
    ) -> Result<BlobUpload, RegistryError> {
        let key = (repository.clone(), id.to_owned());
        let idle = self.uploads.lock().remove(&key);
        idle.map(|idle| idle.upload)
            .ok_or_else(RegistryError::upload_unknown)
    }

    /// Returns an upload to the table, for more requests.
    pub(super) fn put_back(&self, repository: &RepositoryName, id: &str, upload: BlobUpload) {
        let since = Instant::now();
        let key = (repository.clone(), id.to_owned());
        self.uploads
            .lock()
            .insert(key, IdleUpload { upload, since });
    }

    /// Number of bytes of an upload.
    pub(super) fn size(&self, repository: &RepositoryName, id: &str) -> Result<u64, RegistryError> {
        let key = (repository.clone(), id.to_owned());
        let uploads = self.uploads.lock();
        let idle = uploads
            .get(&key)
            .ok_or_else(RegistryError::upload_unknown)?;
        Ok(idle.upload.size)
    }
}
