//! A repository with jobs and collectors, each of which can pause between any two steps.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefs_store::gc::{self, GcOptions, GcPlan, Inventory, MIN_GRACE};
use cachefs_store::layer::Layer;
use cachefs_store::progress::Silent;
use cachefs_store::refs::{self, Key, LayerInfo, RefName, Scope};
use cachefs_store::save::source::{PathSource, RestoredFrom};
use cachefs_store::save::{SaveJob, SaveRequest, StoredSave};
use cachefs_store::session::Session;
use cachefs_store::stack::Stack;
use cachefs_store::{Error, layer, pack};
use cachefs_tests::tree::TreeSpec;

use super::super::workbench::Workbench;

/// A time in 2027, in microseconds.
pub(super) const START: u64 = 1_800_000_000_000_000;
pub(super) const MINUTE: u64 = 60_000_000;

pub(super) fn name(scope: &str, key: &str) -> RefName {
    RefName::new(Scope::new(scope).unwrap(), Key::new(key).unwrap())
}

/// A repository with jobs and collectors, each of which can pause between any two steps.
pub(super) struct World {
    pub(super) bench: Workbench,
    /// The machine of the savers, on the simulated clock.
    session: Session,
    clock: Arc<AtomicU64>,
    pub(super) trees: Vec<PathBuf>,
    pub(super) now: u64,
    pub(super) jobs: Vec<Job>,
    /// The inventory and plan of a collector, and the time of its scan.
    pub(super) collector: Option<(Inventory, GcPlan, u64)>,
    /// Restored stacks that are still mounted, with the time of the restore.
    pub(super) mounts: Vec<(Vec<LayerInfo>, u64)>,
}

/// A save in progress.
pub(super) struct Job {
    save: SaveJob,
    tree: usize,
    /// The stack that the path was restored from, if any, and the time of the restore.
    mount: Option<(Vec<LayerInfo>, u64)>,
    stored: Option<StoredSave>,
}

impl World {
    pub(super) fn new() -> Self {
        let bench = Workbench::new();
        // Neighbouring trees share files, so that saves reuse each other's packs.
        let trees = (0..4_u64).map(|number| {
            let dir = bench.directory(&format!("tree{number}"));
            let mut spec = TreeSpec::default();
            spec.file("own", 3000, 100 + number);
            for file in number..number + 2 {
                spec.file(format!("shared{file}"), 3000, file);
            }
            spec.build(&dir).unwrap();
            dir
        });
        let trees = trees.collect();
        let clock = Arc::new(AtomicU64::new(START));
        let time = Arc::clone(&clock);
        Self {
            session: bench.session(Arc::new(move || time.load(Ordering::Relaxed))),
            clock,
            bench,
            trees,
            now: START,
            jobs: Vec::new(),
            collector: None,
            mounts: Vec::new(),
        }
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = cachefs_store::Result<T>>) -> T {
        self.bench.runtime.block_on(work).unwrap()
    }

    /// Savers read the clock themselves.
    fn set_clock(&self) {
        self.clock.store(self.now, Ordering::Relaxed);
    }

    pub(super) fn begin(&mut self, key: &str, tree: usize, mount: Option<usize>) {
        self.set_clock();
        let request = SaveRequest {
            ignore_times: true,
            // Squash earlier than by default, so that few steps suffice.
            squash_depth: 1,
            ..SaveRequest::new(name("main", key))
        };
        let opened = self.session.save(request, None).unwrap();
        self.jobs.push(Job {
            save: opened.connect(self.bench.target.index.clone()),
            tree,
            mount: mount.and_then(|number| self.mounts.get(number).cloned()),
            stored: None,
        });
    }

    /// Stores the packs and the layers of a job. The job is dropped if layers that it builds upon
    /// are gone.
    pub(super) fn store(&mut self, number: usize) {
        self.set_clock();
        let job = &mut self.jobs[number];
        let path = &self.trees[job.tree];
        let mut source = PathSource::directory(File::open(path).unwrap(), path);
        if let Some((base, at)) = job.mount.clone() {
            let restored = RestoredFrom {
                at,
                privileged: true,
                ..RestoredFrom::default()
            };
            source = source.restored_from(base, restored);
        }
        let packed = job.save.pack(source, &Silent);
        let stored = packed.and_then(|packed| job.save.store_layers(packed.unwrap()));
        match stored {
            Ok(stored) => job.stored = Some(stored),
            Err(error) if error.is_lost() => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Publishes the record of a job, or drops the job.
    pub(super) fn publish(&mut self, number: usize) {
        self.set_clock();
        let job = self.jobs.remove(number);
        let Some(stored) = job.stored else {
            return;
        };
        match job.save.publish(stored) {
            Ok(_) | Err(Error::BeingCollected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn restore(&mut self, key: &str) {
        let records = self.run(refs::read_records(&self.bench.remote, &name("main", key)));
        if !records.is_empty() {
            self.mounts.push((refs::unite_records(records).0, self.now));
        }
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.run(refs::delete_name(&self.bench.remote, &name("main", key)));
    }

    pub(super) fn options(&self, grace: Duration) -> GcOptions {
        GcOptions {
            grace,
            older_than: None,
            dry_run: false,
            now: self.now,
        }
    }

    pub(super) fn look(&mut self) {
        let inventory = self.run(Inventory::take(&self.bench.remote, &Silent));
        let plan = gc::plan_collection(&inventory, &self.options(MIN_GRACE));
        self.collector = Some((inventory, plan, self.now));
    }

    pub(super) fn sweep(&mut self) {
        if let Some((inventory, mut plan, looked)) = self.collector.take() {
            let options = GcOptions {
                now: looked,
                ..self.options(MIN_GRACE)
            };
            let remote = &self.bench.remote;
            let swept =
                gc::execute_plan(remote, &inventory, &mut plan, &options, self.now, &Silent);
            match self.bench.runtime.block_on(swept) {
                Ok(()) | Err(Error::TookTooLong { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(super) fn collect(&self, grace: Duration) -> gc::GcReport {
        self.run(gc::collect_garbage(
            &self.bench.remote,
            &self.options(grace),
            &Silent,
        ))
    }

    pub(super) fn open(&self, layers: &[LayerInfo]) -> Option<Stack> {
        let read = |info: &LayerInfo| {
            let key = layer::object_key(&info.id);
            let object = self
                .bench
                .runtime
                .block_on(self.bench.remote.get(&key, layer::MAX))
                .ok()?;
            Some(Arc::new(Layer::open(info.id, object).unwrap()))
        };
        let opened = layers.iter().map(read).collect::<Option<Vec<_>>>()?;
        Some(Stack::new(opened).unwrap())
    }

    /// Counts the objects in a folder of the remote.
    pub(super) fn count(&self, folder: &str) -> usize {
        let listed = self.bench.runtime.block_on(self.bench.remote.list(folder));
        listed.unwrap().len()
    }

    /// Asserts that every object that a key references exists.
    pub(super) fn assert_whole(&self) {
        let inventory = self.run(Inventory::take(&self.bench.remote, &Silent));
        for record in inventory.saves.values().flatten() {
            for info in &record.layers {
                let layer = inventory.layers.get(&info.id);
                let layer = layer.unwrap_or_else(|| panic!("{}: no {}", record.key, info.id));
                for id in &layer.packs {
                    let has = inventory.packs.contains_key(id);
                    assert!(has, "{}: no {}", record.key, pack::object_key(id));
                }
            }
        }
    }
}

impl World {
    pub(super) fn save(&mut self, key: &str, tree: usize) {
        self.begin(key, tree, None);
        let job = self.jobs.len() - 1;
        self.store(job);
        self.publish(job);
    }
}
