//! Counts requests and bytes of a remote.

use std::ops::{Range, Sub};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind, RemoteId,
};

/// The kinds of request that stores count and bill apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A read of a whole object or of a range.
    Get,
    /// A write.
    Put,
    /// A size query.
    Head,
    /// One page of a listing.
    List,
    /// A deletion.
    Delete,
}

impl Operation {
    const COUNT: usize = 5;

    fn slot(self) -> usize {
        match self {
            Self::Get => 0,
            Self::Put => 1,
            Self::Head => 2,
            Self::List => 3,
            Self::Delete => 4,
        }
    }
}

/// Requests and bytes up to some moment, or between two when subtracted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTraffic {
    /// Reads, every attempt counted.
    pub gets: u64,
    /// Writes, every attempt counted.
    pub puts: u64,
    /// Size queries, every attempt counted.
    pub heads: u64,
    /// Listing pages, every attempt counted.
    pub lists: u64,
    /// Deletions, every attempt counted.
    pub deletes: u64,
    /// Bytes of objects that were read; bytes of failed attempts are unknown and not included.
    pub bytes_in: u64,
    /// Bytes of objects that attempts to write set out to send.
    pub bytes_out: u64,
    /// Attempts that failed or were given up. "Not found" and "exists already" are answers.
    pub errors: u64,
    /// Attempts that repeated an earlier one.
    pub retries: u64,
}

impl RemoteTraffic {
    /// The requests of one kind.
    pub fn requests(&self, operation: Operation) -> u64 {
        match operation {
            Operation::Get => self.gets,
            Operation::Put => self.puts,
            Operation::Head => self.heads,
            Operation::List => self.lists,
            Operation::Delete => self.deletes,
        }
    }

    /// The requests of all kinds.
    pub fn total_requests(&self) -> u64 {
        self.gets + self.puts + self.heads + self.lists + self.deletes
    }
}

impl std::ops::AddAssign for RemoteTraffic {
    fn add_assign(&mut self, other: Self) {
        self.gets += other.gets;
        self.puts += other.puts;
        self.heads += other.heads;
        self.lists += other.lists;
        self.deletes += other.deletes;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.errors += other.errors;
        self.retries += other.retries;
    }
}

impl Sub for RemoteTraffic {
    type Output = Self;

    /// The traffic since `earlier`; zero if `earlier` is in fact later.
    fn sub(self, earlier: Self) -> Self {
        Self {
            gets: self.gets.saturating_sub(earlier.gets),
            puts: self.puts.saturating_sub(earlier.puts),
            heads: self.heads.saturating_sub(earlier.heads),
            lists: self.lists.saturating_sub(earlier.lists),
            deletes: self.deletes.saturating_sub(earlier.deletes),
            bytes_in: self.bytes_in.saturating_sub(earlier.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(earlier.bytes_out),
            errors: self.errors.saturating_sub(earlier.errors),
            retries: self.retries.saturating_sub(earlier.retries),
        }
    }
}

/// Running totals of one remote, shared by counters and reporters.
#[derive(Debug, Default)]
pub struct TrafficMeter {
    requests: [AtomicU64; Operation::COUNT],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
}

impl TrafficMeter {
    /// The counts so far.
    pub fn traffic(&self) -> RemoteTraffic {
        let requests = |operation: Operation| load_counter(&self.requests[operation.slot()]);
        RemoteTraffic {
            gets: requests(Operation::Get),
            puts: requests(Operation::Put),
            heads: requests(Operation::Head),
            lists: requests(Operation::List),
            deletes: requests(Operation::Delete),
            bytes_in: load_counter(&self.bytes_in),
            bytes_out: load_counter(&self.bytes_out),
            errors: load_counter(&self.errors),
            retries: load_counter(&self.retries),
        }
    }

    pub(super) fn count_retry(&self) {
        add_to_counter(&self.retries, 1);
    }

    fn start(&self, operation: Operation) -> MeteredAttempt<'_> {
        add_to_counter(&self.requests[operation.slot()], 1);
        MeteredAttempt {
            meter: self,
            failed: true,
        }
    }
}

// The counts are independent statistics, so nothing is ordered by them.
fn load_counter(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add_to_counter(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// A request in progress. It counts as an error unless it finishes successfully, so a request whose
/// future is dropped by a deadline is counted, too.
struct MeteredAttempt<'a> {
    meter: &'a TrafficMeter,
    failed: bool,
}

impl MeteredAttempt<'_> {
    fn end<T>(mut self, result: Result<T, RemoteError>) -> Result<T, RemoteError> {
        self.failed = match &result {
            Ok(_) => false,
            Err(error) => !matches!(
                error.kind(),
                RemoteErrorKind::NotFound | RemoteErrorKind::Exists
            ),
        };
        result
    }
}

impl Drop for MeteredAttempt<'_> {
    fn drop(&mut self) {
        if self.failed {
            add_to_counter(&self.meter.errors, 1);
        }
    }
}

/// A remote that counts its requests.
#[derive(Debug)]
pub struct Meter<R> {
    inner: R,
    meter: Arc<TrafficMeter>,
}

impl<R: Remote> Meter<R> {
    /// Counts the requests to `inner` in `meter`.
    pub fn new(inner: R, meter: Arc<TrafficMeter>) -> Self {
        Self { inner, meter }
    }

    fn received(&self, result: Result<Bytes, RemoteError>) -> Result<Bytes, RemoteError> {
        if let Ok(body) = &result {
            add_to_counter(&self.meter.bytes_in, body.len() as u64);
        }
        result
    }
}

#[async_trait]
impl<R: Remote> Remote for Meter<R> {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn id(&self) -> RemoteId {
        self.inner.id()
    }

    fn local_dir(&self) -> Option<&Path> {
        self.inner.local_dir()
    }

    async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, RemoteError> {
        let attempt = self.meter.start(Operation::Get);
        self.received(attempt.end(self.inner.get(key, limit).await))
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let attempt = self.meter.start(Operation::Get);
        self.received(attempt.end(self.inner.get_range(key, range).await))
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        let attempt = self.meter.start(Operation::Put);
        add_to_counter(&self.meter.bytes_out, body.len() as u64);
        attempt.end(self.inner.put(key, body, mode).await)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        let attempt = self.meter.start(Operation::Head);
        attempt.end(self.inner.head(key).await)
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        let attempt = self.meter.start(Operation::List);
        attempt.end(self.inner.list_page(prefix, next).await)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        let attempt = self.meter.start(Operation::Delete);
        attempt.end(self.inner.delete(key).await)
    }
}
