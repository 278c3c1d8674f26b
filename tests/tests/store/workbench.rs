//! A store in a temporary directory, and shortcuts through the pipeline.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cachefs_store::copy::{CopyOptions, CopyReport, copy_out};
use cachefs_store::id::RepoId;
use cachefs_store::index::{Domains, Index};
use cachefs_store::layer::{self, BuiltLayer, Layer};
use cachefs_store::local::{FrameMemory, FrameReader, PackCache};
use cachefs_store::refs::{Creator, Key, LayerInfo, Scope};
use cachefs_store::remote::{DynRemote, FileRemote, PutMode, Remote};
use cachefs_store::repository::Repository;
use cachefs_store::save::{
    Baseline, Delta, Everything, Guard, MissingEntries, Packed, PlainFiles, Silent, StoreTarget,
    build_layer, confirm_unchanged, diff_tree, pack_files, scan_tree,
};
use cachefs_store::secrets::Scanner;
use cachefs_store::stack::Stack;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Room for the local copies of frames.
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

/// What a save in a scope believes, which restores from others too.
pub(crate) fn domains(remote: &DynRemote, repo: &RepoId, scope: &str, others: &[&str]) -> Domains {
    let scope = Scope::new(scope).unwrap();
    let others: Vec<_> = others
        .iter()
        .map(|name| Scope::new(*name).unwrap())
        .collect();
    Domains::new(&remote.id(), repo, &scope, &scope, &others)
}

/// What a save of a directory came to.
pub(crate) struct Saved {
    pub(crate) delta: Delta,
    pub(crate) packed: Packed,
    pub(crate) layer: Arc<Layer>,
    /// What was left out, relative to the directory.
    pub(crate) skipped: Vec<PathBuf>,
}

impl Workbench {
    /// A new store, with a remote that is a directory.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let remote = Arc::new(FileRemote::new(dir.path().join("remote")));
        Self::with_remote(dir, remote)
    }

    /// A new store in `dir`, with this remote.
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

    /// An empty directory of its own.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Saves a whole directory as a change of `base`; removals count.
    pub(crate) fn save(&self, directory: &Path, base: &Stack) -> Saved {
        self.save_with(directory, base, MissingEntries::Record)
    }

    pub(crate) fn save_with(
        &self,
        directory: &Path,
        base: &Stack,
        deletions: MissingEntries,
    ) -> Saved {
        let root = File::open(directory).unwrap();
        let mut scanned = scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent).unwrap();
        let packed = pack_files(
            root.as_fd(),
            &mut scanned.tree,
            &PlainFiles,
            &self.target,
            Packed::default(),
            &Guard {
                scanner: &Scanner::off(),
                root: directory,
                below: base,
            },
            &Silent,
        )
        .unwrap();
        let baseline = Baseline::new(base, &self.target).unwrap();
        let delta = diff_tree(&scanned.tree, &baseline, &packed, true, deletions).unwrap();
        confirm_unchanged(root.as_fd(), &scanned.tree).unwrap();
        let built = build_layer(&scanned.tree, &delta, &packed, &baseline).unwrap();
        let layer = self.put_layer(&built);
        let skipped = scanned
            .skipped
            .into_iter()
            .map(|skipped| skipped.path)
            .collect();
        Saved {
            delta,
            packed,
            layer,
            skipped,
        }
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

    /// A reader with empty memory.
    pub(crate) fn reader(&self) -> FrameReader {
        FrameReader::new(
            self.remote.clone(),
            self.cache.clone(),
            FrameMemory::default(),
        )
    }

    /// Writes a stack out to a new directory.
    pub(crate) fn copy(&self, stack: &Stack, name: &str) -> (PathBuf, CopyReport) {
        let path = self.directory(name);
        let options = CopyOptions::default();
        let handle = self.runtime.handle();
        let report = copy_out(stack, &self.reader(), handle, &path, &options, &Silent).unwrap();
        (path, report)
    }
}

/// Where a store directory keeps what is from a remote.
pub(crate) fn kept_of(remote: &DynRemote, store: &Path) -> PathBuf {
    store.join("remotes").join(remote.id().to_string())
}

/// Layers as a stack, the bottom one first.
pub(crate) fn stack(layers: &[&Arc<Layer>]) -> Stack {
    Stack::new(layers.iter().copied().cloned().collect()).unwrap()
}

/// How a record names a layer.
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
