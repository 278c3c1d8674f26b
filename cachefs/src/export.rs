//! Writing what a key holds as a tar archive.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs_store::archive::{self, Compression, WriteOptions, Written};
use cachefs_store::local::{FrameMemory, FrameReader, LayerCache, PackCache};
use cachefs_store::refs::{self, Resolved, Wanted};
use cachefs_store::remote::{RemoteSpec, RetryPolicy, Traffic, open};
use cachefs_store::save::Progress;
use cachefs_store::stack::Stack;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::store_dir::StoreDir;

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The remote.
    pub remote: RemoteSpec,
    /// The key.
    pub wanted: Wanted,
    /// How the archive is compressed.
    pub compression: Compression,
    /// What its names begin with.
    pub write: WriteOptions,
    /// Whether the archive holds what could lend rights, too: see [`Stack::without_privileges`].
    pub privileged: bool,
    /// How long one request to the remote may take.
    pub deadline: Option<Duration>,
}

/// What was exported.
#[derive(Debug)]
pub struct ExportReport {
    /// The key that was found.
    pub matched: Resolved,
    /// What was written.
    pub written: Written,
    /// What it cost.
    pub traffic: Traffic,
    /// How long it took.
    pub elapsed: Duration,
}

/// Writes what a key holds to the output that `begin` gives; `None` when there is no such key, and
/// then `begin` is not called.
///
/// Needs no daemon. The same content gives the same bytes.
pub fn export(
    store: &StoreDir,
    options: &ExportOptions,
    begin: impl FnOnce() -> Result<Box<dyn Write>>,
    progress: &dyn Progress,
) -> Result<Option<ExportReport>> {
    let started = Instant::now();
    let runtime = Runtime::new().map_err(Error::io("start", "the network runtime"))?;
    let policy = options
        .deadline
        .map_or_else(RetryPolicy::default, RetryPolicy::with_deadline);
    let remote = open(&options.remote, policy)?;
    let found = runtime.block_on(refs::resolve(&remote.remote, &options.wanted))?;
    let Some(matched) = found else {
        return Ok(None);
    };
    let layers = LayerCache::new(store.path());
    let opened = runtime.block_on(layers.open(&remote.remote, &matched.layers))?;
    let cache = Arc::new(PackCache::new(store.path(), store.cache_limit()));
    let reader = FrameReader::new(remote.remote.clone(), cache, FrameMemory::default());
    for layer in &opened {
        reader.describe(layer.packs()?);
    }
    let mut stack = Stack::new(opened)?;
    if !options.privileged {
        stack = stack.without_privileges();
    }
    let written = archive::compress(options.compression, begin()?, |out| {
        archive::write(
            &stack,
            &reader,
            runtime.handle(),
            out,
            &options.write,
            progress,
        )
        .map_err(Failed::Store)
    })
    .map_err(|error| match error {
        Failed::Store(error) => Error::from(error),
        Failed::Output(error) => Error::io("write", "the archive")(error),
    })?;
    Ok(Some(ExportReport {
        matched,
        written,
        traffic: remote.traffic(),
        elapsed: started.elapsed(),
    }))
}

enum Failed {
    Store(cachefs_store::Error),
    Output(std::io::Error),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}
