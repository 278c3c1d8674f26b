//! Layers kept on the local disk.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::remote_dir::{note_remote_use, remote_folder};
use crate::error::{Error, Result};
use crate::id::LayerId;
use crate::layer::{self, Layer};
use crate::parallel::run_blocking;
use crate::refs::LayerInfo;
use crate::remote::{DynRemote, RemoteErrorKind, RemoteId};
use crate::replace_file::{Durability, replace_file};
use crate::task::join_all;

/// Size of unused layers in bytes that stay open for the next restore.
const RECENT_BYTES: u64 = 64 << 20;
/// Expected number of layers. It is small, so that the cache is not split into shards and one layer
/// may use the whole limit.
const RECENT_LAYERS: usize = 32;

#[derive(Debug, Clone)]
struct LayerWeight;

/// A layer of a remote.
type Held = (RemoteId, LayerId);

impl quick_cache::Weighter<Held, Arc<Layer>> for LayerWeight {
    fn weight(&self, _: &Held, layer: &Arc<Layer>) -> u64 {
        layer.memory()
    }
}

/// Layers in the store directory, and open layers of this process.
///
/// A stored layer is only a copy: a damaged one is fetched again. Names of layers are not secret,
/// so a layer is only found by clients that fetched it from the same remote with the same
/// credentials.
///
/// Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub struct LayerCache {
    inner: Arc<LayerCacheInner>,
}

#[derive(Debug)]
struct LayerCacheInner {
    root: PathBuf,
    recent: quick_cache::sync::Cache<Held, Arc<Layer>, LayerWeight>,
    /// All that are open, also those that are too large to stay when nobody uses them.
    open: Mutex<HashMap<Held, Weak<Layer>>>,
}

impl LayerCache {
    /// Uses the store directory `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::keeping(root, RECENT_BYTES)
    }

    fn keeping(root: impl Into<PathBuf>, recent: u64) -> Self {
        let inner = LayerCacheInner {
            root: root.into(),
            recent: quick_cache::sync::Cache::with_weighter(RECENT_LAYERS, recent, LayerWeight),
            open: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The store directory.
    pub fn root(&self) -> &std::path::Path {
        &self.inner.root
    }

    fn path(&self, (remote, id): &Held) -> PathBuf {
        remote_folder(&self.inner.root, remote).join(layer::object_key(id).as_str())
    }

    fn opened(&self, id: &Held) -> Option<Arc<Layer>> {
        let inner = &self.inner;
        inner
            .recent
            .get(id)
            .or_else(|| inner.open.lock().get(id).and_then(Weak::upgrade))
    }

    fn remember(&self, remote: RemoteId, layer: &Arc<Layer>) {
        let held = (remote, layer.id());
        self.inner.recent.insert(held, Arc::clone(layer));
        let mut open = self.inner.open.lock();
        open.retain(|_, layer| layer.strong_count() > 0);
        open.insert(held, Arc::downgrade(layer));
    }

    fn local(&self, remote: RemoteId, id: &LayerId) -> Option<Arc<Layer>> {
        let held = (remote, *id);
        if let Some(opened) = self.opened(&held) {
            return Some(opened);
        }
        let bytes = fs::read(self.path(&held)).ok()?;
        // Every page, not only the head: a copy that is half written must not be found out later,
        // in the middle of a build. Hashing takes a fraction of a millisecond for 10,000 files.
        let layer = open_verified(*id, bytes.into());
        match layer {
            Ok(layer) => {
                let layer = Arc::new(layer);
                self.remember(remote, &layer);
                Some(layer)
            }
            Err(error) => {
                tracing::warn!("refetching the local copy of a layer: {error}");
                None
            }
        }
    }

    /// The layers that are on this machine, on a thread that may block: layers are read and their
    /// hashes checked.
    async fn read_local(
        &self,
        remote: RemoteId,
        layers: &[LayerInfo],
    ) -> Result<Vec<Option<Arc<Layer>>>> {
        let cache = self.clone();
        let ids: Vec<LayerId> = layers.iter().map(|info| info.id).collect();
        run_blocking(move || Ok(ids.iter().map(|id| cache.local(remote, id)).collect())).await
    }

    /// Keeps a layer's bytes; failing to is only a missed chance.
    pub fn keep(&self, remote: RemoteId, id: &LayerId, bytes: &[u8]) {
        let path = self.path(&(remote, *id));
        let written = note_remote_use(&self.inner.root, &remote)
            .and_then(|()| path.parent().map_or(Ok(()), fs::create_dir_all))
            .and_then(|()| replace_file(&path, bytes, Durability::Volatile));
        if let Err(error) = written {
            tracing::warn!("cannot store layer {id} in {}: {error}", path.display());
        }
    }

    /// Opens all layers of a stack, fetching those that are missing at the same time.
    pub async fn open(&self, remote: &DynRemote, layers: &[LayerInfo]) -> Result<Vec<Arc<Layer>>> {
        let bytes = layers.iter().map(|info| info.length);
        if bytes.fold(0, u64::saturating_add) > layer::MAX {
            // All are in memory at the same time.
            return Err(Error::damaged("a stack", "its layers take more than 1 GiB"));
        }
        let of = remote.id();
        if remote.local_dir().is_none() {
            // Only the order in which remotes are forgotten depends on it.
            let _ = note_remote_use(&self.inner.root, &of);
        }
        let mut opened = self.read_local(of, layers).await?;
        let missing = layers
            .iter()
            .zip(&opened)
            .filter(|(_, opened)| opened.is_none());
        let fetches: Vec<_> = missing
            .map(|(info, _)| {
                let (remote, info) = (remote.clone(), info.clone());
                async move { fetch_layer(&remote, &info).await }
            })
            .collect();
        let mut fetched = join_all(fetches).await.into_iter();
        for slot in opened.iter_mut().filter(|slot| slot.is_none()) {
            let Some(layer) = fetched.next() else { break };
            let layer = Arc::new(layer?);
            if remote.local_dir().is_none() {
                let (cache, layer) = (self.clone(), Arc::clone(&layer));
                run_blocking(move || {
                    cache.keep(of, &layer.id(), layer.object());
                    Ok(())
                })
                .await?;
            }
            self.remember(of, &layer);
            *slot = Some(layer);
        }
        let opened: Vec<_> = opened.into_iter().flatten().collect();
        for (info, layer) in layers.iter().zip(&opened) {
            // Users decide by these numbers whether a cache fits their disk.
            if layer.summary().bytes > info.summary.bytes {
                return Err(Error::damaged(
                    format!("layer {}", info.id),
                    "it exceeds the size in its key's record",
                ));
            }
        }
        Ok(opened)
    }
}

/// Opens a layer and checks the hashes of all its pages.
fn open_verified(id: LayerId, bytes: Bytes) -> Result<Layer> {
    let layer = Layer::open(id, bytes)?;
    layer.check_hashes()?;
    Ok(layer)
}

/// Reads a layer from the remote, and checks the hashes of all its pages.
pub(crate) async fn fetch_layer(remote: &DynRemote, info: &LayerInfo) -> Result<Layer> {
    let id = info.id;
    if info.length > layer::MAX {
        return Err(Error::damaged(
            format!("layer {id}"),
            "it exceeds the maximum size",
        ));
    }
    let object = layer::object_key(&id);
    let bytes: Bytes = match remote.get(&object, info.length).await {
        // A layer that a power cut truncated counts as missing.
        Ok(bytes) if (bytes.len() as u64) < info.length => {
            return Err(Error::Lost {
                what: format!("layer {id}"),
            });
        }
        Ok(bytes) => bytes,
        Err(error) if error.kind() == RemoteErrorKind::NotFound => {
            return Err(Error::Lost {
                what: format!("layer {id}"),
            });
        }
        Err(error) => return Err(error.into()),
    };
    run_blocking(move || open_verified(id, bytes)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{LayerBuilder, Meta, mode};

    fn layer() -> Arc<Layer> {
        let root = Meta {
            mode: mode::DIRECTORY | 0o755,
            ..Meta::default()
        };
        let built = LayerBuilder::new(&root, []).unwrap().finish().unwrap();
        Arc::new(Layer::open(built.id, built.bytes).unwrap())
    }

    #[tokio::test]
    async fn a_layer_that_is_larger_than_its_record_says_is_refused() {
        use crate::layer::{EntryTarget, NewEntry, NewFilePiece, NewInode, NewKind, ROOT};
        let dir = tempfile::tempdir().unwrap();
        let [root, file] = [mode::DIRECTORY | 0o755, mode::FILE | 0o644].map(|mode| Meta {
            mode,
            ..Meta::default()
        });
        let content = [NewFilePiece::Hole(1000)];
        let kind = NewKind::File {
            size: 1000,
            content: &content,
        };
        let mut builder = LayerBuilder::new(&root, []).unwrap();
        let entry = NewEntry {
            name: b"f",
            link: EntryTarget::New(NewInode { meta: &file, kind }),
        };
        builder.fill(ROOT, &[entry]).unwrap();
        let built = builder.finish().unwrap();
        let layers = LayerCache::new(dir.path());
        let remote: DynRemote = Arc::new(crate::remote::FileRemote::new("/nowhere"));
        layers.keep(remote.id(), &built.id, &built.bytes);
        for (bytes, is_fine) in [(1000, true), (999, false)] {
            let info = LayerInfo {
                id: built.id,
                length: built.bytes.len() as u64,
                summary: crate::layer::LayerSummary {
                    bytes,
                    ..built.summary
                },
                new_bytes: 0,
                contains: Vec::new(),
                created: 0,
                key: crate::refs::Key::new("k").unwrap(),
                role: None,
                creator: crate::refs::Creator::default(),
            };
            assert_eq!(
                layers.open(&remote, &[info]).await.is_ok(),
                is_fine,
                "{bytes}"
            );
        }
    }

    #[test]
    fn layers_that_nobody_uses_take_memory_up_to_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let layer = layer();
        let remote = RemoteId::of_url("here:");
        let id = (remote, layer.id());
        assert!(layer.memory() > layer.object_len());
        for (limit, stays) in [(layer.memory() * 2, true), (layer.memory() - 1, false)] {
            let layers = LayerCache::keeping(dir.path(), limit);
            let used = Arc::new(Layer::open(layer.id(), layer.object().clone()).unwrap());
            layers.remember(remote, &used);
            // In use, it is one and the same whatever the limit.
            assert!(Arc::ptr_eq(&layers.opened(&id).unwrap(), &used));
            drop(used);
            assert_eq!(layers.opened(&id).is_some(), stays, "{limit}");
        }
    }
}
