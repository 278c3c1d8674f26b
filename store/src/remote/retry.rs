//! Deadlines and retries, for every kind of remote and in this one place.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{
    ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind, RemoteId,
    TrafficMeter,
};

/// Limits of repeated requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most that one operation may take with all its attempts, before the time for its bytes.
    pub deadline: Duration,
    /// The most that a first attempt may take, before the time for its bytes. It doubles after
    /// an attempt that took too long, so that a large object on a slow link arrives in the end.
    pub attempt: Duration,
    /// Slowest acceptable transfer in bytes per second. Operations of known size get this much more
    /// time.
    pub slowest: u64,
    /// The longest pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Total attempts for a damaged answer: damage in the store itself does not go away.
    pub damaged_attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            attempt: Duration::from_secs(10),
            slowest: 1_000_000,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
            damaged_attempts: 5,
        }
    }
}

impl RetryPolicy {
    /// The default policy with another deadline.
    pub fn with_deadline(deadline: Duration) -> Self {
        Self {
            deadline,
            ..Self::default()
        }
    }

    /// The default policy, with another deadline if there is one.
    pub fn within(deadline: Option<Duration>) -> Self {
        deadline.map_or_else(Self::default, Self::with_deadline)
    }

    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.slowest.max(1))
    }

    /// Full jitter: any pause up to the bound, so that clients that failed together come back apart.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << (failures - 1).min(16));
        doubled.min(self.longest_pause).mul_f64(fastrand::f64())
    }
}

/// An attempt got no answer in the time it had.
#[derive(Debug, thiserror::Error)]
#[error("attempt {number} timed out after {:.1} s", .waited.as_secs_f64())]
struct AttemptTimedOut {
    number: u32,
    waited: Duration,
}

/// A remote whose operations have a deadline and are repeated while that can help.
///
/// Only transient failures are repeated. After the deadline, the error is
/// [`RemoteErrorKind::Deadline`], with the failure of the last attempt as its source.
#[derive(Debug)]
pub struct Retry<R> {
    inner: R,
    policy: RetryPolicy,
    meter: Option<Arc<TrafficMeter>>,
}

impl<R: Remote> Retry<R> {
    /// Wraps `inner`.
    pub fn new(inner: R, policy: RetryPolicy) -> Self {
        Self {
            inner,
            policy,
            meter: None,
        }
    }

    /// Reports repeated attempts to `meter`.
    pub fn counting_in(mut self, meter: Arc<TrafficMeter>) -> Self {
        self.meter = Some(meter);
        self
    }

    fn operation(&self, bytes: u64, action: String) -> RetriedOperation<'_> {
        let extra = self.policy.time_for(bytes);
        RetriedOperation {
            policy: &self.policy,
            meter: self.meter.as_deref(),
            action,
            deadline: Instant::now() + self.policy.deadline + extra,
            attempt: self.policy.attempt + extra,
            failures: 0,
            damaged: 0,
            last_error: None,
        }
    }
}

/// The state of one operation across its attempts.
struct RetriedOperation<'a> {
    policy: &'a RetryPolicy,
    meter: Option<&'a TrafficMeter>,
    action: String,
    deadline: Instant,
    attempt: Duration,
    failures: u32,
    damaged: u32,
    last_error: Option<RemoteError>,
}

impl RetriedOperation<'_> {
    async fn run<T, F>(&mut self, mut request: impl FnMut() -> F) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        loop {
            let error = match self.attempt(request()).await {
                Err(error) if error.kind().is_transient() => error,
                done => return done,
            };
            self.after_failure(error).await?;
        }
    }

    async fn attempt<T>(
        &mut self,
        request: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        if self.failures > 0
            && let Some(meter) = self.meter
        {
            meter.count_retry();
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let waited = self.attempt.min(left);
        if let Ok(result) = timeout(waited, request).await {
            return result;
        }
        let cut_short = left < self.attempt;
        self.attempt = self.attempt.saturating_mul(2);
        match self.last_error.take() {
            // The earlier answer of the remote explains more than our own deadline.
            Some(error) if cut_short => Err(error),
            _ => {
                let cause = AttemptTimedOut {
                    number: self.failures + 1,
                    waited,
                };
                Err(RemoteError::new(RemoteErrorKind::Unavailable, &self.action).with_source(cause))
            }
        }
    }

    /// Pauses before the next attempt, or fails when there is to be none.
    async fn after_failure(&mut self, error: RemoteError) -> Result<(), RemoteError> {
        self.failures += 1;
        if error.kind() == RemoteErrorKind::Damaged {
            self.damaged += 1;
            if self.damaged >= self.policy.damaged_attempts {
                return Err(error);
            }
        }
        let pause = self.policy.pause(self.failures);
        if Instant::now() + pause >= self.deadline {
            let deadline = RemoteError::new(RemoteErrorKind::Deadline, &self.action);
            return Err(match error.hint().cloned() {
                Some(hint) => deadline.with_hint(hint),
                None => deadline,
            }
            .with_source(error));
        }
        tracing::debug!(
            action = %self.action, failures = self.failures, error = ?error, ?pause,
            "retrying a failed request to the remote",
        );
        self.last_error = Some(error);
        sleep(pause).await;
        Ok(())
    }
}

#[async_trait]
impl<R: Remote> Remote for Retry<R> {
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
        self.operation(0, format!("get {key}"))
            .run(|| self.inner.get(key, limit))
            .await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let length = range.end.saturating_sub(range.start);
        let mut operation = self.operation(length, format!("get {key}"));
        operation
            .run(|| self.inner.get_range(key, range.clone()))
            .await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        let mut operation = self.operation(body.len() as u64, format!("put {key}"));
        let result = operation
            .run(|| self.inner.put(key, body.clone(), mode))
            .await;
        match result {
            // An attempt that seemed to fail may have been carried out, its answer lost on the
            // way; then it is our own object that is in the way now.
            Err(exists)
                if exists.kind() == RemoteErrorKind::Exists
                    && mode == PutMode::IfAbsent
                    && operation.failures > 0 =>
            {
                // Another object may be larger than ours, which answers the question as well.
                let limit = body.len() as u64;
                match operation.run(|| self.inner.get(key, limit)).await {
                    Ok(present) if present == body => Ok(()),
                    Err(error) if error.kind() != RemoteErrorKind::TooLarge => Err(error),
                    _ => Err(exists),
                }
            }
            result => result,
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        self.operation(0, format!("head {key}"))
            .run(|| self.inner.head(key))
            .await
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        let mut operation = self.operation(0, format!("list {prefix}"));
        operation.run(|| self.inner.list_page(prefix, next)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        self.operation(0, format!("delete {key}"))
            .run(|| self.inner.delete(key))
            .await
    }
}
