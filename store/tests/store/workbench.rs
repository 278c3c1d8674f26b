//! A store in a temporary directory, and shortcuts through the real saver.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cachefs_store::Result;
use cachefs_store::copy::{CopyOptions, CopyReport, copy_out};
use cachefs_store::id::{RepoId, SaveId};
use cachefs_store::index::{Domains, Index};
use cachefs_store::layer::{self, BuiltLayer, Layer};
use cachefs_store::local::{FrameMemory, FrameReader, PackCache};
use cachefs_store::pack::PackRef;
use cachefs_store::progress::{Progress, Silent};
use cachefs_store::refs::{Creator, Key, LayerInfo, RefName, Scope};
use cachefs_store::remote::{DynRemote, FileRemote, OpenRemote, PutMode, Remote};
use cachefs_store::repository::Repository;
use cachefs_store::save::SaveRequest;
use cachefs_store::save::packed_path::PackedPath;
use cachefs_store::save::source::{PathSource, RestoredFrom};
use cachefs_store::save::store_target::StoreTarget;
use cachefs_store::session::{Clock, LocalStore, Session};
use cachefs_store::stack::Stack;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Size limit for local copies of frames.
const CACHE: u64 = 1 << 30;

/// One machine with its store directory, and a remote.
pub(crate) struct Workbench {
    pub(crate) runtime: Runtime,
    pub(crate) remote: DynRemote,
    pub(crate) repo: RepoId,
    pub(crate) cache: Arc<PackCache>,
    pub(crate) target: StoreTarget,
    pub(crate) dir: TempDir,
}

/// The domains that a save in `scope` trusts, if it also restores from `others`.
pub(crate) fn domains(remote: &DynRemote, repo: &RepoId, scope: &str, others: &[&str]) -> Domains {
    let scope = Scope::new(scope).unwrap();
    let others: Vec<_> = others
        .iter()
        .map(|name| Scope::new(*name).unwrap())
        .collect();
    Domains::new(&remote.id(), repo, &scope, &scope, &others)
}

/// The result of saving a directory.
pub(crate) struct Saved {
    /// Counts of added, modified and removed entries.
    pub(crate) changes: (u64, u64, u64),
    /// Directories of which only the time differs.
    pub(crate) touched: u64,
    /// Packs that the save stored.
    pub(crate) new_packs: Vec<PackRef>,
    /// Raw bytes that were in no pack yet.
    pub(crate) new_raw: u64,
    /// The new layer, or the top of the stack below if nothing changed.
    pub(crate) layer: Arc<Layer>,
    /// Paths that were left out, relative to the directory.
    pub(crate) skipped: Vec<PathBuf>,
}

impl Saved {
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changes == (0, 0, 0)
    }
}

impl Workbench {
    /// A new store with a directory remote.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let remote = Arc::new(FileRemote::new(dir.path().join("remote")));
        Self::with_remote(dir, remote)
    }

    /// A new store in `dir` with this remote.
    pub(crate) fn with_remote(dir: TempDir, remote: DynRemote) -> Self {
        let runtime = Runtime::new().unwrap();
        let repo = runtime
            .block_on(Repository::new(remote.clone()).id())
            .unwrap();
        let cache = Arc::new(PackCache::new(dir.path().join("store"), CACHE));
        let target = StoreTarget {
            runtime: runtime.handle().clone(),
            remote: remote.clone(),
            domains: domains(&remote, &repo, "s", &[]),
            index: Arc::new(Index::open(&dir.path().join("index")).unwrap()),
            cache: cache.of(remote.id()),
            condemned: Arc::default(),
        };
        Self {
            runtime,
            remote,
            repo,
            cache,
            target,
            dir,
        }
    }

    /// Creates an empty directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// The machine's session with the remote, on a given clock.
    pub(crate) fn session(&self, clock: Clock) -> Session {
        let local = LocalStore {
            path: self.dir.path().join("store"),
            cache_limit: CACHE,
        };
        let opened = OpenRemote {
            remote: self.remote.clone(),
            meter: Arc::default(),
        };
        Session::with_remote(local, opened, clock).unwrap()
    }

    /// Saves a whole directory as a change of `base`, including removals.
    pub(crate) fn save(&self, directory: &Path, base: &Stack) -> Saved {
        let base = base.layers().iter().map(|layer| info(layer)).collect();
        let restored = RestoredFrom {
            privileged: true,
            ..RestoredFrom::default()
        };
        let directory = open_source(directory).restored_from(base, restored);
        let request = SaveRequest {
            strict_consistency: true,
            ..request("workbench")
        };
        self.save_source(request, directory, &Silent)
    }

    /// Stores the changes of a path as [`SaveJob::run`](cachefs_store::save::SaveJob::run) does,
    /// but publishes nothing.
    pub(crate) fn save_source(
        &self,
        request: SaveRequest,
        source: PathSource,
        progress: &dyn Progress,
    ) -> Saved {
        let packed = self.try_pack(request, source, progress).unwrap();
        let layer = match packed.layer() {
            Some(built) => self.put_layer(built),
            None => {
                let session = self.session(Arc::new(|| SaveId::now().micros));
                let base = session.open_layers(packed.base()).unwrap();
                base.last().unwrap().clone()
            }
        };
        let skipped = packed.skipped().iter();
        Saved {
            changes: packed.changes(),
            touched: packed.touched(),
            new_packs: packed.new_packs().to_vec(),
            new_raw: packed.new_raw(),
            layer,
            skipped: skipped.map(|skipped| skipped.path.clone()).collect(),
        }
    }

    /// Stores the new chunks of a path.
    pub(crate) fn try_pack(
        &self,
        request: SaveRequest,
        source: PathSource,
        progress: &dyn Progress,
    ) -> Result<PackedPath> {
        let session = self.session(Arc::new(|| SaveId::now().micros));
        let opened = session.save(request, None)?;
        let mut job = opened.connect_to(self.target.clone());
        Ok(job.pack(source, progress)?.unwrap())
    }

    /// Stores a layer and opens it as a reader would.
    pub(crate) fn put_layer(&self, built: &BuiltLayer) -> Arc<Layer> {
        let object = layer::object_key(&built.id);
        let put = self
            .remote
            .put(&object, built.bytes.clone(), PutMode::Overwrite);
        self.runtime.block_on(put).unwrap();
        let layer = Layer::open(built.id, built.bytes.clone()).unwrap();
        layer.verify().unwrap();
        assert_eq!(layer.summary(), &built.summary);
        Arc::new(layer)
    }

    /// A reader with an empty memory cache.
    pub(crate) fn reader(&self) -> FrameReader {
        FrameReader::new(
            self.remote.clone(),
            self.cache.clone(),
            FrameMemory::default(),
        )
    }

    /// Copies a stack to a new directory.
    pub(crate) fn copy(&self, stack: &Stack, name: &str) -> (PathBuf, CopyReport) {
        let path = self.directory(name);
        let options = CopyOptions::default();
        let handle = self.runtime.handle();
        let report = copy_out(stack, &self.reader(), handle, &path, &options, &Silent).unwrap();
        (path, report)
    }
}

/// A key that no other save uses. Every file is read, as on a fresh machine.
pub(crate) fn request(key: &str) -> SaveRequest {
    let name = RefName::new(Scope::new("s").unwrap(), Key::new(key).unwrap());
    SaveRequest {
        ignore_times: true,
        ..SaveRequest::new(name)
    }
}

/// A directory without a restored cache.
pub(crate) fn open_source(directory: &Path) -> PathSource {
    PathSource::directory(File::open(directory).unwrap(), directory)
}

/// Directory in which a store caches the data of a remote.
pub(crate) fn kept_of(remote: &DynRemote, store: &Path) -> PathBuf {
    store.join("remotes").join(remote.id().to_string())
}

/// Stacks layers, bottom first.
pub(crate) fn stack(layers: &[&Arc<Layer>]) -> Stack {
    Stack::new(layers.iter().copied().cloned().collect()).unwrap()
}

/// The entry of a layer in a record.
pub(crate) fn info(layer: &Layer) -> LayerInfo {
    LayerInfo {
        id: layer.id(),
        length: layer.object_len(),
        summary: *layer.summary(),
        new_bytes: 0,
        contains: Vec::new(),
        created: 0,
        key: Key::new("k").unwrap(),
        role: None,
        creator: Creator::default(),
    }
}
