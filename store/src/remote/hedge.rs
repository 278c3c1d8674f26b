//! Sends a second request for a read that takes unusually long.
//!
//! One slow server among many would otherwise determine the slowest read of a build. If a read
//! takes longer than 95 of 100 earlier ones, we request it again and use the first answer. The
//! store gets about 5 % more requests, and the tail is cut.
//!
//! Source: Dean and Barroso, "The Tail at Scale", 2013.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteId};

/// Reads of more bytes are bound by bandwidth, which a second request only divides.
const LARGEST: u64 = 1 << 20;
/// Number of recent reads to consider.
const SAMPLES: usize = 128;
/// With fewer reads, the percentile means nothing.
const ENOUGH: usize = 20;
/// Shortest delay before a second request.
const SOONEST: Duration = Duration::from_millis(5);

/// Times of the latest reads.
#[derive(Debug, Default)]
struct ReadTimes {
    latest: Vec<Duration>,
    next: usize,
}

impl ReadTimes {
    fn add(&mut self, time: Duration) {
        if self.latest.len() < SAMPLES {
            self.latest.push(time);
        } else {
            self.latest[self.next] = time;
            self.next = (self.next + 1) % SAMPLES;
        }
    }

    /// The time that 95 of 100 reads took at most.
    fn usual(&self) -> Option<Duration> {
        if self.latest.len() < ENOUGH {
            return None;
        }
        let mut sorted = self.latest.clone();
        let rank = sorted.len() * 95 / 100;
        let (_, time, _) = sorted.select_nth_unstable(rank);
        Some((*time).max(SOONEST))
    }
}

/// A remote that hedges small reads.
#[derive(Debug)]
pub struct Hedge<R> {
    inner: R,
    times: Mutex<ReadTimes>,
}

impl<R: Remote> Hedge<R> {
    /// Wraps `inner`.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            times: Mutex::default(),
        }
    }

    async fn read(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let usual = self.times.lock().usual();
        let Some(usual) = usual else {
            return self.inner.get_range(key, range).await;
        };
        let first = self.inner.get_range(key, range.clone());
        tokio::pin!(first);
        if let Ok(answer) = tokio::time::timeout(usual, &mut first).await {
            return answer;
        }
        let second = self.inner.get_range(key, range);
        tokio::pin!(second);
        tokio::select! {
            // A failure of one leaves the other its chance.
            answer = &mut first => if answer.is_ok() { answer } else { second.await },
            answer = &mut second => if answer.is_ok() { answer } else { first.await },
        }
    }
}

#[async_trait]
impl<R: Remote> Remote for Hedge<R> {
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
        self.inner.get(key, limit).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        if range.end.saturating_sub(range.start) > LARGEST {
            return self.inner.get_range(key, range).await;
        }
        let started = Instant::now();
        let answer = self.read(key, range).await;
        if answer.is_ok() {
            self.times.lock().add(started.elapsed());
        }
        answer
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        self.inner.put(key, body, mode).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        self.inner.head(key).await
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        self.inner.list_page(prefix, next).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        self.inner.delete(key).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::remote::RemoteErrorKind;

    /// Answers quickly, except for a read that the test selects.
    #[derive(Debug, Default)]
    struct Uneven {
        reads: AtomicUsize,
        forgets: AtomicBool,
    }

    #[async_trait]
    impl Remote for Uneven {
        fn url(&self) -> &str {
            "uneven://"
        }

        fn id(&self) -> RemoteId {
            RemoteId::of_url(self.url())
        }

        async fn get(&self, key: &ObjectKey, _: u64) -> Result<Bytes, RemoteError> {
            self.get_range(key, 0..1).await
        }

        async fn get_range(&self, _: &ObjectKey, _: Range<u64>) -> Result<Bytes, RemoteError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            if self.forgets.swap(false, Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Bytes::from_static(b"read"))
        }

        async fn put(&self, _: &ObjectKey, _: Bytes, _: PutMode) -> Result<(), RemoteError> {
            Err(RemoteError::new(RemoteErrorKind::Invalid, "put"))
        }

        async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
            let key = key.clone();
            Ok(ObjectInfo {
                key,
                size: 1,
                modified: None,
            })
        }

        async fn list_page(&self, _: &str, _: Option<&str>) -> Result<ListPage, RemoteError> {
            Ok(ListPage::default())
        }

        async fn delete(&self, _: &ObjectKey) -> Result<(), RemoteError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_read_that_hangs_is_asked_for_once_more() {
        let remote = Hedge::new(Uneven::default());
        let key = ObjectKey::new("packs/one");
        for _ in 0..ENOUGH {
            remote.get_range(&key, 0..100).await.unwrap();
        }
        let before = remote.inner.reads.load(Ordering::Relaxed);
        remote.inner.forgets.store(true, Ordering::Relaxed);
        remote.get_range(&key, 0..100).await.unwrap();
        assert_eq!(remote.inner.reads.load(Ordering::Relaxed), before + 2);
    }

    #[test]
    fn what_is_usual_follows_the_latest_reads() {
        let mut times = ReadTimes::default();
        for _ in 0..ENOUGH - 1 {
            times.add(Duration::from_millis(10));
        }
        assert_eq!(times.usual(), None);
        times.add(Duration::from_secs(9));
        assert_eq!(times.usual(), Some(Duration::from_secs(9)));
        for _ in 0..SAMPLES - 7 {
            times.add(Duration::from_millis(20));
        }
        assert_eq!(times.usual(), Some(Duration::from_millis(20)));
        for _ in 0..SAMPLES {
            times.add(Duration::from_millis(1));
        }
        assert_eq!(times.usual(), Some(SOONEST));
    }
}
