//! A remote that lies or fails on demand.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cachefs_store::remote::{
    DynRemote, ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind,
    RemoteId,
};
use parking_lot::Mutex;

/// The kind of a request to the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    GetRange,
    Put,
    Head,
    List,
    Delete,
}

/// The response to a request.
pub(crate) enum Answer {
    /// The response of the real remote.
    Honest,
    /// The real bytes with one bit flipped.
    Flipped,
    /// A failure.
    Failed(RemoteErrorKind),
}

type Rule = Arc<dyn Fn(Ask, &str) -> Answer + Send + Sync>;

/// A remote that is no local directory, ignores conditions, and follows a rule.
pub(crate) struct Bent {
    inner: DynRemote,
    rule: Mutex<Rule>,
    /// Requests since the last call of [`Self::asked`], in order.
    asked: Mutex<Vec<(Ask, String)>>,
}

impl fmt::Debug for Bent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bent").finish_non_exhaustive()
    }
}

impl Bent {
    pub(crate) fn new(inner: DynRemote) -> Arc<Self> {
        let rule: Rule = Arc::new(|_, _| Answer::Honest);
        Arc::new(Self {
            inner,
            rule: Mutex::new(rule),
            asked: Mutex::default(),
        })
    }

    /// Sets the rule for responses; it may also modify the remote out of band.
    pub(crate) fn rule(&self, rule: impl Fn(Ask, &str) -> Answer + Send + Sync + 'static) {
        *self.rule.lock() = Arc::new(rule);
    }

    /// Removes the rule.
    pub(crate) fn straighten(&self) {
        self.rule(|_, _| Answer::Honest);
    }

    /// The requests since the last call.
    pub(crate) fn asked(&self) -> Vec<(Ask, String)> {
        std::mem::take(&mut self.asked.lock())
    }

    fn ask(&self, ask: Ask, key: &str) -> Result<bool, RemoteError> {
        self.asked.lock().push((ask, key.to_owned()));
        let rule = self.rule.lock().clone();
        match rule(ask, key) {
            Answer::Honest => Ok(false),
            Answer::Flipped => Ok(true),
            Answer::Failed(kind) => Err(RemoteError::new(kind, format!("{ask:?} {key}"))),
        }
    }
}

fn flip(bytes: Bytes, flipped: bool) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle).filter(|_| flipped) {
        *byte ^= 4;
    }
    bytes.into()
}

#[async_trait]
impl Remote for Bent {
    fn url(&self) -> &str {
        "bent:"
    }

    fn id(&self) -> RemoteId {
        self.inner.id()
    }

    async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, RemoteError> {
        let flipped = self.ask(Ask::Get, key.as_str())?;
        Ok(flip(self.inner.get(key, limit).await?, flipped))
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let flipped = self.ask(Ask::GetRange, key.as_str())?;
        Ok(flip(self.inner.get_range(key, range).await?, flipped))
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, _: PutMode) -> Result<(), RemoteError> {
        self.ask(Ask::Put, key.as_str())?;
        self.inner.put(key, body, PutMode::Overwrite).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        self.ask(Ask::Head, key.as_str())?;
        self.inner.head(key).await
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        self.ask(Ask::List, prefix)?;
        self.inner.list_page(prefix, next).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        self.ask(Ask::Delete, key.as_str())?;
        self.inner.delete(key).await
    }
}
