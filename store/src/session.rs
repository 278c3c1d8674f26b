//! An open remote and the local copies of its objects, from which every operation starts.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};

use crate::error::{Error, Result};
use crate::id::SaveId;
use crate::layer::Layer;
use crate::local::{FrameMemory, FrameReader, LayerCache, PackCache};
use crate::refs::LayerInfo;
use crate::remote::{
    DynRemote, OpenRemote, RemoteSpec, RemoteTraffic, RetryPolicy, Spending, WatchedMeter,
    open_remote,
};
use crate::stack::Stack;

/// Location and limit of the local copies of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalStore {
    /// The store directory.
    pub path: PathBuf,
    /// The limit of the local cache of frames, in bytes.
    pub cache_limit: u64,
}

/// The time, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// One process's way to a remote, for the time of one operation.
///
/// Its methods block, so call them from threads outside of its runtime.
///
/// # Examples
///
/// Saves a directory, and writes the key's tree to another one:
///
/// ```
/// use std::fs::{self, File};
/// use std::sync::Arc;
///
/// use cachefs_store::copy::{CopyOptions, copy_out};
/// use cachefs_store::index::Index;
/// use cachefs_store::progress::Silent;
/// use cachefs_store::refs::{Key, RefName, Scope};
/// use cachefs_store::remote::RemoteSpec;
/// use cachefs_store::save::source::PathSource;
/// use cachefs_store::save::SaveRequest;
/// use cachefs_store::session::{LocalStore, Session};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("node_modules");
/// fs::create_dir(&path)?;
/// fs::write(path.join("index.js"), "module.exports = 1;")?;
///
/// let local = LocalStore {
///     path: dir.path().join("store"),
///     cache_limit: 1 << 30,
/// };
/// let spec = RemoteSpec {
///     url: format!("file://{}", dir.path().join("remote").display()),
///     ..RemoteSpec::default()
/// };
/// let session = Session::open(local, &spec, None)?;
///
/// let name = RefName::new(Scope::new("main")?, Key::new("npm-linux")?);
/// let index = Arc::new(Index::open(&dir.path().join("index"))?);
/// let job = session.save(SaveRequest::new(name), None)?.connect(index);
/// let report = job.run(PathSource::directory(File::open(&path)?, &path), &Silent)?;
/// assert_eq!(report.changes, (1, 0, 0));
///
/// let stack = session.open_stack(&report.layers)?;
/// let reader = session.frame_reader(&stack)?;
/// let (target, options) = (dir.path().join("copy"), CopyOptions::default());
/// copy_out(&stack, &reader, session.handle(), &target, &options, &Silent)?;
/// assert_eq!(fs::read_to_string(target.join("index.js"))?, "module.exports = 1;");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    runtime: Runtime,
    opened: OpenRemote,
    local: LocalStore,
    layers: LayerCache,
    clock: Clock,
    started: Instant,
    _spent: Option<WatchedMeter>,
}

impl Session {
    /// Opens a remote. Nothing is requested yet, and nothing is written to the local store.
    ///
    /// `deadline` is the time that one request may take with all its retries; `None` is the default
    /// of [`RetryPolicy`].
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] when the address or the options can't be used.
    pub fn open(local: LocalStore, spec: &RemoteSpec, deadline: Option<Duration>) -> Result<Self> {
        let started = Instant::now();
        let runtime = start_runtime()?;
        let opened = open_remote(spec, RetryPolicy::within(deadline))?;
        Ok(Self {
            runtime,
            opened,
            layers: LayerCache::new(&local.path),
            local,
            clock: Arc::new(|| SaveId::now().micros),
            started,
            _spent: None,
        })
    }

    /// A session on a remote that is open already, with a clock of the caller's choice.
    ///
    /// # Errors
    ///
    /// When the runtime cannot be started.
    pub fn with_remote(local: LocalStore, opened: OpenRemote, clock: Clock) -> Result<Self> {
        Ok(Self {
            runtime: start_runtime()?,
            opened,
            layers: LayerCache::new(&local.path),
            local,
            clock,
            started: Instant::now(),
            _spent: None,
        })
    }

    /// Adds the traffic of this session to `spent` when the session ends.
    #[must_use]
    pub fn counted_in(self, spent: &Spending) -> Self {
        Self {
            _spent: Some(spent.watch(&self.opened.meter)),
            ..self
        }
    }

    /// The remote, with retries and deadlines.
    pub fn remote(&self) -> &DynRemote {
        &self.opened.remote
    }

    /// The traffic since the session was opened.
    pub fn traffic(&self) -> RemoteTraffic {
        self.opened.traffic()
    }

    /// The remote with its counters.
    pub(crate) fn opened(&self) -> &OpenRemote {
        &self.opened
    }

    /// The time, in microseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// When the session was opened.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The runtime that requests run on.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// The local copies of layers.
    pub fn layers(&self) -> &LayerCache {
        &self.layers
    }

    /// Opens layers, the bottom one first, from the local copies or the remote.
    pub fn open_layers(&self, layers: &[LayerInfo]) -> Result<Vec<Arc<Layer>>> {
        self.block_on(self.layers.open(self.remote(), layers))
    }

    /// Opens layers as one tree.
    pub fn open_stack(&self, layers: &[LayerInfo]) -> Result<Stack> {
        Stack::new(self.open_layers(layers)?)
    }

    /// A cache of packs in the local store.
    pub(crate) fn pack_cache(&self) -> Arc<PackCache> {
        Arc::new(PackCache::new(&self.local.path, self.local.cache_limit))
    }

    /// A reader that knows the packs of a stack and has nothing in memory yet.
    pub fn frame_reader(&self, stack: &Stack) -> Result<FrameReader> {
        let reader = FrameReader::new(
            self.remote().clone(),
            self.pack_cache(),
            FrameMemory::default(),
        );
        for layer in stack.layers() {
            reader.describe(layer.packs()?);
        }
        Ok(reader)
    }
}

fn start_runtime() -> Result<Runtime> {
    Runtime::new().map_err(Error::io("start", "the network runtime"))
}
