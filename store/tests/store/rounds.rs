//! The number of round trips to find a key, shown with requests that wait for each other.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefs_store::refs::{
    Creator, Key, KeyQuery, Platform, RefName, RefRecord, Scope, publish_record, resolve_key,
};
use cachefs_store::remote::{
    DynRemote, FileRemote, ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteId,
};
use tempfile::TempDir;
use tokio::sync::Barrier;

/// Holds requests back until the given number is in flight.
#[derive(Debug)]
struct Together {
    inner: FileRemote,
    all: Barrier,
    requests: AtomicUsize,
}

impl Together {
    async fn wait(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.all.wait().await;
    }
}

#[async_trait]
impl Remote for Together {
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
        self.wait().await;
        self.inner.get(key, limit).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        self.wait().await;
        self.inner.get_range(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        self.inner.put(key, body, mode).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        self.wait().await;
        self.inner.head(key).await
    }

    async fn list_page(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, RemoteError> {
        self.wait().await;
        self.inner.list_page(prefix, next).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        self.inner.delete(key).await
    }
}

fn scope(name: &str) -> Scope {
    Scope::new(name).unwrap()
}

/// Resolves a key that only the last scope has.
fn found_in_the_last(scopes: &[&str], prefixes: &[&str]) {
    // For each scope, the head, the list of records, and one list per prefix.
    let requests = scopes.len() * (2 + prefixes.len());
    let dir = TempDir::new().unwrap();
    let remote = Arc::new(Together {
        inner: FileRemote::new(dir.path()),
        all: Barrier::new(requests),
        requests: AtomicUsize::new(0),
    });
    let wanted = KeyQuery {
        scopes: scopes.iter().copied().map(scope).collect(),
        key: Key::new("k").unwrap(),
        prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        chosen: None,
        role: None,
    };
    let last = RefName::new(scope(scopes[scopes.len() - 1]), wanted.key.clone());
    let record = RefRecord::new(
        last.clone(),
        Vec::new(),
        Creator::default(),
        Platform::default(),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(async {
        let counted = Arc::clone(&remote);
        let remote: DynRemote = remote;
        publish_record(&remote, &record).await.unwrap();
        // Sequential requests would wait forever.
        let found = tokio::time::timeout(Duration::from_secs(30), resolve_key(&remote, &wanted));
        let found = found.await.expect("requests wait for others").unwrap();
        assert_eq!(counted.requests.load(Ordering::Relaxed), requests);
        found.unwrap()
    });
    assert_eq!(found.name, last);
}

#[test]
fn one_round_trip_whatever_the_scopes() {
    found_in_the_last(&["branch/main"], &[]);
    let behind = [
        "pr/12",
        "branch/v2",
        "branch/main",
        "branch/master",
        "default",
    ];
    found_in_the_last(&behind, &[]);
    found_in_the_last(&behind, &["k-", "m-"]);
}
