//! Mount points and the expected content of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::RwLock;

use anyhow::{Context, Result};
use cachefs_store::id::ChunkId;

use crate::common::Setup;
use crate::interrupt;
use crate::scale::trees::Shape;
use crate::tools::cachefs::Store;

/// Number of saved caches; each is mounted several times.
const CACHES: u64 = 10;
/// Number and size in bytes of the small and the large files in each cache.
const SMALL: (u64, usize) = (400, 8_000);
const LARGE: (u64, usize) = (6, 2_000_000);

/// A file with its expected content.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// Path relative to the mount.
    pub(super) path: PathBuf,
    /// Hash of the content.
    pub(super) hash: ChunkId,
}

impl Expected {
    pub(super) fn new(path: PathBuf, content: &[u8]) -> Self {
        Self {
            path,
            hash: ChunkId::of(content),
        }
    }
}

/// The saved caches.
pub(super) struct SoakContents(Vec<Arc<Vec<Expected>>>);

impl SoakContents {
    /// Generates and saves the caches.
    pub(super) fn make(setup: &Setup, store: &Store) -> Result<Self> {
        let mut caches = Vec::new();
        for number in 0..CACHES {
            interrupt::check_interrupt()?;
            let dir = setup.workspace.fresh("contents")?;
            let mut files = Vec::new();
            for (name, (count, bytes)) in [("small", SMALL), ("large", LARGE)] {
                let shape = Shape {
                    files: count,
                    bytes,
                    seed: number + 1,
                };
                shape.write(&dir.join(name))?;
                for file in 0..count {
                    let path = Path::new(name).join(shape.path(file));
                    let content = fs::read(dir.join(&path))?;
                    files.push(Expected::new(path, &content));
                }
            }
            store.save(&cache_key(number as usize), &dir)?;
            caches.push(Arc::new(files));
        }
        Ok(Self(caches))
    }

    /// The expected files of a cache.
    pub(super) fn of(&self, cache: usize) -> &Arc<Vec<Expected>> {
        &self.0[cache % self.0.len()]
    }

    pub(super) fn describe() -> String {
        format!(
            "{CACHES}, each with {} files of {} kB and {} of {} MB",
            SMALL.0,
            SMALL.1 / 1000,
            LARGE.0,
            LARGE.1 / 1_000_000
        )
    }
}

/// The key of a cache.
pub(super) fn cache_key(cache: usize) -> String {
    format!("soak-{}", cache % CACHES as usize)
}

/// The expected content of a mount.
#[derive(Debug, Clone)]
pub(super) struct SoakMount {
    /// Files of the cache that was mounted first.
    pub(super) base: Arc<Vec<Expected>>,
    /// Changed files, which take precedence over `base`.
    pub(super) changed: Vec<Expected>,
}

/// A mount point.
pub(super) struct Slot {
    pub(super) path: PathBuf,
    /// Locked for reading while a file is read, and for writing while the mount is replaced or
    /// changed.
    pub(super) shown: RwLock<SoakMount>,
}

/// All mount points.
pub(super) struct Slots(pub(super) Vec<Slot>);

impl Slots {
    /// Mounts the caches in rotation.
    pub(super) fn mount(
        setup: &Setup,
        store: &mut Store,
        contents: &SoakContents,
        count: usize,
    ) -> Result<Self> {
        let root = setup.workspace.fresh("mounts")?;
        let paths: Vec<_> = (0..count)
            .map(|number| root.join(number.to_string()))
            .collect();
        store.expect_mounts(&paths);
        let mut slots = Vec::new();
        for (number, path) in paths.into_iter().enumerate() {
            interrupt::check_interrupt()?;
            fs::create_dir(&path)?;
            store
                .restore_expected(&cache_key(number), &path)
                .with_context(|| format!("mount {number}"))?;
            let shown = SoakMount {
                base: Arc::clone(contents.of(number)),
                changed: Vec::new(),
            };
            slots.push(Slot {
                path,
                shown: RwLock::new(shown),
            });
        }
        Ok(Self(slots))
    }

    /// Unmounts all mount points.
    pub(super) fn unmount(&self, store: &Store) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|slot| store.take_down(&slot.path))
    }
}
