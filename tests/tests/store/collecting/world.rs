//! A repository with jobs and collectors at work, each stopped between any two of its steps.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cachefs_store::gc::{self, Condemned, GcOptions, GcPlan, Inventory, LEASE, MIN_GRACE, Needs};
use cachefs_store::id::LayerId;
use cachefs_store::layer::Layer;
use cachefs_store::refs::{self, Creator, Key, LayerInfo, Platform, RefName, RefRecord, Scope};
use cachefs_store::save::{
    Baseline, Everything, Guard, MissingEntries, PlainFiles, Silent, StoreTarget, Target as _,
    build_layer, diff_tree, pack_files, scan_tree,
};
use cachefs_store::secrets::Scanner;
use cachefs_store::stack::{Stack, squash_layers};
use cachefs_store::{Error, layer, pack};
use cachefs_tests::tree::TreeSpec;

use super::super::workbench::{Workbench, info};

/// Some time in 2027, in microseconds.
pub(super) const START: u64 = 1_800_000_000_000_000;
pub(super) const MINUTE: u64 = 60_000_000;

pub(super) fn name(scope: &str, key: &str) -> RefName {
    RefName::new(Scope::new(scope).unwrap(), Key::new(key).unwrap())
}

/// A repository with jobs and collectors at work, each stopped between any two of its steps.
pub(super) struct World {
    pub(super) bench: Workbench,
    pub(super) trees: Vec<PathBuf>,
    pub(super) now: u64,
    pub(super) jobs: Vec<Job>,
    /// What a collector has seen and will do, and when it looked.
    pub(super) collector: Option<(Inventory, GcPlan, u64)>,
    /// Stacks that were restored and are mounted somewhere, with the time.
    pub(super) mounts: Vec<(Vec<LayerInfo>, u64)>,
}

/// A save under way.
pub(super) struct Job {
    pub(super) name: RefName,
    pub(super) tree: usize,
    pub(super) base: Vec<LayerInfo>,
    pub(super) restored: u64,
    pub(super) condemned: Arc<Condemned>,
    pub(super) existing: Vec<RefRecord>,
    pub(super) stored: Option<(Arc<Layer>, Needs)>,
}

impl World {
    pub(super) fn new() -> Self {
        let bench = Workbench::new();
        // Neighbours share files, so that saves build upon each other's packs.
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
        Self {
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

    pub(super) fn begin(&mut self, key: &str, tree: usize, mount: Option<usize>) {
        let name = name("main", key);
        let remote = &self.bench.remote;
        let mut condemned = self.run(Condemned::read(remote));
        condemned.read = self.now;
        let existing = self.run(refs::read_records(remote, &name));
        let mount = mount.and_then(|number| self.mounts.get(number).cloned());
        let (base, restored) =
            mount.unwrap_or_else(|| (refs::unite_records(existing.clone()).0, self.now));
        self.jobs.push(Job {
            name,
            tree,
            base,
            restored,
            condemned: Arc::new(condemned),
            existing,
            stored: None,
        });
    }

    /// Stores packs and the layer of a job, as `save` does.
    pub(super) fn store(&mut self, number: usize) {
        let job = &self.jobs[number];
        let target = StoreTarget {
            condemned: job.condemned.clone(),
            ..self.bench.target.clone()
        };
        // A machine keeps copies of the layers that it restored.
        let Some(base) = self.open(&job.base) else {
            return;
        };
        let root = File::open(&self.trees[job.tree]).unwrap();
        for _ in 0..2 {
            let baseline = Baseline::new(&base, &target).unwrap();
            let mut tree = scan_tree(root.as_fd(), &PlainFiles, &Everything, &Silent)
                .unwrap()
                .tree;
            if target.learn(&baseline.packs()).is_err() {
                return;
            }
            let packed = pack_files(
                root.as_fd(),
                &mut tree,
                &PlainFiles,
                &target,
                Default::default(),
                &Guard {
                    scanner: &Scanner::off(),
                    root: &self.trees[job.tree],
                    below: &base,
                },
                &Silent,
            )
            .unwrap();
            let own: BTreeSet<_> = baseline.packs().iter().map(|pack| pack.id).collect();
            let known = packed.known_packs.values().copied();
            let foreign: Vec<_> = known.filter(|pack| !own.contains(&pack.id)).collect();
            if !target.confirm(&foreign).unwrap().is_empty() {
                continue;
            }
            let delta = diff_tree(&tree, &baseline, &packed, true, MissingEntries::Record).unwrap();
            let built = build_layer(&tree, &delta, &packed, &baseline).unwrap();
            let layer = self.bench.put_layer(&built);
            let packs = packed.new_packs.iter().chain(packed.known_packs.values());
            let needs = Needs {
                packs: packs.copied().collect(),
                ..Needs::default()
            };
            self.jobs[number].stored = Some((layer, needs));
            return;
        }
        panic!("packs that were just written are not there");
    }

    /// Publishes a job's record, or has it end in vain.
    pub(super) fn publish(&mut self, number: usize) {
        let job = self.jobs.remove(number);
        let Some((layer, needs)) = job.stored else {
            return;
        };
        let named: HashSet<LayerId> = job
            .existing
            .iter()
            .flat_map(|record| record.layers.iter().map(|layer| layer.id))
            .collect();
        let supersedes = refs::superseded_saves(&job.existing);
        let (mut stack, _) = refs::unite_records(job.existing);
        refs::append_layers(&mut stack, &job.base);
        stack.retain(|present| present.id != layer.id());
        stack.push(info(&layer));
        let mut parts = Vec::new();
        // Sooner than a real save, so that few steps come to it.
        if stack.len() > 2 {
            let below = stack.len() - 1;
            let Some(opened) = self.open(&stack[..below]) else {
                return;
            };
            let squashed = self
                .bench
                .put_layer(&squash_layers(opened.layers(), true).unwrap());
            let contained = stack[..below]
                .iter()
                .flat_map(|part| part.contains.iter().copied().chain([part.id]));
            let squashed = LayerInfo {
                contains: contained.collect(),
                ..info(&squashed)
            };
            parts = stack.splice(..below, [squashed]).collect();
        }
        let is_old = self.now - job.restored > LEASE.as_micros() as u64 / 2;
        let needs = Needs::of(&stack, &parts, &job.base, &named, is_old, needs.packs);
        let remote = &self.bench.remote;
        let mut record = RefRecord::new(job.name, stack, Creator::default(), Platform::default());
        record.supersedes = supersedes;
        let published = gc::publish_confirmed(remote, &record, &job.condemned, &needs, self.now);
        match self.bench.runtime.block_on(published) {
            Ok(()) | Err(Error::BeingCollected { .. }) => {}
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

    /// The objects below a folder of the remote.
    pub(super) fn count(&self, folder: &str) -> usize {
        let listed = self.bench.runtime.block_on(self.bench.remote.list(folder));
        listed.unwrap().len()
    }

    /// Whatever a key names is there.
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
