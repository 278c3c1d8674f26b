//! Collection while jobs save: every order of steps that chance makes, in a time of our own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cachefs_store::gc::{self, Condemned, GcOptions, Inventory, LEASE, MIN_GRACE, Needs, Plan};
use cachefs_store::id::LayerId;
use cachefs_store::layer::Layer;
use cachefs_store::refs::{
    self, Creator, Key, LayerInfo, Platform, Promotion, Record, RefName, Scope,
};
use cachefs_store::save::{
    Baseline, Deletions, Everything, Guard, PlainFiles, Silent, StoreTarget, Target as _,
    build_layer, diff, pack_files, scan,
};
use cachefs_store::secrets::Scanner;
use cachefs_store::stack::Stack;
use cachefs_store::{Error, layer, pack};
use cachefs_tests::tree::TreeSpec;
use proptest::prelude::*;

use super::workbench::{Workbench, info};

/// Some time in 2027, in microseconds.
const START: u64 = 1_800_000_000_000_000;
const MINUTE: u64 = 60_000_000;

fn name(scope: &str, key: &str) -> RefName {
    RefName::new(Scope::new(scope).unwrap(), Key::new(key).unwrap())
}

/// A repository with jobs and collectors at work, each stopped between any two of its steps.
struct World {
    bench: Workbench,
    trees: Vec<PathBuf>,
    now: u64,
    jobs: Vec<Job>,
    collector: Option<(Inventory, Plan)>,
    /// Stacks that were restored and are mounted somewhere, with the time.
    mounts: Vec<(Vec<LayerInfo>, u64)>,
}

/// A save under way.
struct Job {
    name: RefName,
    tree: usize,
    base: Vec<LayerInfo>,
    restored: u64,
    condemned: Arc<Condemned>,
    existing: Vec<Record>,
    stored: Option<(Arc<Layer>, Needs)>,
}

impl World {
    fn new() -> Self {
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

    fn run<T>(&self, work: impl Future<Output = cachefs_store::Result<T>>) -> T {
        self.bench.runtime.block_on(work).unwrap()
    }

    fn begin(&mut self, key: &str, tree: usize, mount: Option<usize>) {
        let name = name("main", key);
        let remote = &self.bench.remote;
        let mut condemned = self.run(Condemned::read(remote));
        condemned.read = self.now;
        let existing = self.run(refs::read_records(remote, &name));
        let mount = mount.and_then(|number| self.mounts.get(number).cloned());
        let (base, restored) = mount.unwrap_or_else(|| (refs::unite(existing.clone()).0, self.now));
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
    fn store(&mut self, number: usize) {
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
            let mut tree = scan(root.as_fd(), &PlainFiles, &Everything, &Silent)
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
            let delta = diff(&tree, &baseline, &packed, true, Deletions::Record).unwrap();
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
    fn publish(&mut self, number: usize) {
        let job = self.jobs.remove(number);
        let Some((layer, mut needs)) = job.stored else {
            return;
        };
        let named: BTreeSet<LayerId> = job
            .existing
            .iter()
            .flat_map(|record| record.layers.iter().map(|layer| layer.id))
            .collect();
        let supersedes = refs::contained(&job.existing);
        let (mut stack, _) = refs::unite(job.existing);
        refs::append(&mut stack, &job.base);
        stack.retain(|present| present.id != layer.id());
        stack.push(info(&layer));
        needs.layers = stack.iter().map(|layer| layer.id).collect();
        let is_old = self.now - job.restored > LEASE.as_micros() as u64 / 2;
        let base = job.base.iter().map(|layer| layer.id);
        needs.doubtful = base
            .filter(|layer| is_old && !named.contains(layer))
            .collect();
        let remote = &self.bench.remote;
        let confirmed = gc::confirm(remote, &job.condemned, &needs, self.now);
        match self.bench.runtime.block_on(confirmed) {
            Ok(()) => {}
            Err(Error::BeingCollected { .. }) => return,
            Err(error) => panic!("{error}"),
        }
        let mut record = Record::new(job.name, stack, Creator::default(), Platform::default());
        record.supersedes = supersedes;
        self.run(refs::publish(remote, &record));
    }

    fn restore(&mut self, key: &str) {
        let records = self.run(refs::read_records(&self.bench.remote, &name("main", key)));
        if !records.is_empty() {
            self.mounts.push((refs::unite(records).0, self.now));
        }
    }

    fn delete(&mut self, key: &str) {
        self.run(refs::delete(&self.bench.remote, &name("main", key)));
    }

    fn options(&self, grace: Duration) -> GcOptions {
        GcOptions {
            grace,
            older_than: None,
            dry_run: false,
            now: self.now,
        }
    }

    fn look(&mut self) {
        let inventory = self.run(Inventory::take(&self.bench.remote, &Silent));
        let plan = gc::plan(&inventory, &self.options(MIN_GRACE));
        self.collector = Some((inventory, plan));
    }

    fn sweep(&mut self) {
        if let Some((inventory, plan)) = self.collector.take() {
            let before = &inventory.condemned;
            self.run(gc::execute(&self.bench.remote, before, &plan, &Silent));
        }
    }

    fn collect(&self, grace: Duration) -> gc::Report {
        self.run(gc::collect(
            &self.bench.remote,
            &self.options(grace),
            &Silent,
        ))
    }

    fn open(&self, layers: &[LayerInfo]) -> Option<Stack> {
        let read = |info: &LayerInfo| {
            let key = layer::object_key(&info.id);
            let object = self
                .bench
                .runtime
                .block_on(self.bench.remote.get(&key))
                .ok()?;
            Some(Arc::new(Layer::open(info.id, object).unwrap()))
        };
        let opened = layers.iter().map(read).collect::<Option<Vec<_>>>()?;
        Some(Stack::new(opened).unwrap())
    }

    /// The objects below a folder of the remote.
    fn count(&self, folder: &str) -> usize {
        let listed = self.bench.runtime.block_on(self.bench.remote.list(folder));
        listed.unwrap().len()
    }

    /// Whatever a key names is there.
    fn assert_whole(&self) {
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

/// A step of someone, as the world runs.
#[derive(Debug, Clone)]
enum Step {
    Begin {
        key: usize,
        tree: usize,
        mount: Option<usize>,
    },
    Store(usize),
    Publish(usize),
    Restore(usize),
    Delete(usize),
    Look,
    Sweep,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mount = prop::option::of(0..3_usize);
    let begin = (0..3_usize, 0..4_usize, mount).prop_map(|(key, tree, mount)| Step::Begin {
        key,
        tree,
        mount,
    });
    let step = prop_oneof![
        4 => begin,
        4 => (0..3_usize).prop_map(Step::Store),
        4 => (0..3_usize).prop_map(Step::Publish),
        1 => (0..3_usize).prop_map(Step::Restore),
        2 => (0..3_usize).prop_map(Step::Delete),
        3 => Just(Step::Look),
        4 => Just(Step::Sweep),
        3 => (1..70_u64).prop_map(Step::Wait),
        1 => (100..200_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 20..90)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_key_ever_lacks_what_it_names(steps in steps()) {
        let mut world = World::new();
        let keys = ["a", "b", "c"];
        for step in steps {
            match step {
                Step::Begin { key, tree, mount } => world.begin(keys[key], tree, mount),
                Step::Store(job) if job < world.jobs.len() => world.store(job),
                Step::Publish(job) if job < world.jobs.len() => world.publish(job),
                Step::Restore(key) => world.restore(keys[key]),
                Step::Delete(key) => world.delete(keys[key]),
                Step::Look => world.look(),
                Step::Sweep => world.sweep(),
                Step::Wait(minutes) => world.now += minutes * MINUTE,
                Step::Store(_) | Step::Publish(_) => {}
            }
            world.assert_whole();
        }
    }
}

impl World {
    fn save(&mut self, key: &str, tree: usize) {
        self.begin(key, tree, None);
        let job = self.jobs.len() - 1;
        self.store(job);
        self.publish(job);
    }
}

#[test]
fn what_no_key_needs_goes_after_its_grace_and_no_sooner() {
    let mut world = World::new();
    world.save("a", 0);
    world.save("b", 2);
    assert_eq!((world.count("layers/"), world.count("packs/")), (2, 2));
    world.delete("a");
    let report = world.collect(MIN_GRACE);
    assert_eq!(
        (report.plan.condemned.layers, report.plan.condemned.packs),
        (1, 1)
    );
    world.now += 119 * MINUTE;
    world.collect(MIN_GRACE);
    assert_eq!((world.count("layers/"), world.count("packs/")), (2, 2));
    world.now += 2 * MINUTE;
    world.collect(MIN_GRACE);
    assert_eq!((world.count("layers/"), world.count("packs/")), (1, 1));
    assert_eq!(world.count("gc/"), 0);
    world.assert_whole();
}

#[test]
fn a_save_stores_again_what_is_condemned() {
    let mut world = World::new();
    world.save("a", 0);
    world.delete("a");
    world.collect(MIN_GRACE);
    world.save("b", 0);
    assert_eq!(world.count("packs/"), 2);
    // From then on the new pack is the one that is known.
    world.save("c", 0);
    assert_eq!(world.count("packs/"), 2);
    world.now += 121 * MINUTE;
    world.collect(MIN_GRACE);
    assert_eq!(world.count("packs/"), 1);
    world.assert_whole();
}

#[test]
fn a_save_that_began_before_keeps_what_it_uses() {
    let mut world = World::new();
    world.save("a", 0);
    world.begin("b", 0, None);
    world.store(0);
    world.delete("a");
    world.collect(MIN_GRACE);
    world.now += 20 * MINUTE;
    world.publish(0);
    world.now += 121 * MINUTE;
    let report = world.collect(MIN_GRACE);
    assert!(report.plan.pardoned > 0);
    assert_eq!(world.count("refs/main/b/"), 2);
    world.assert_whole();
}

#[test]
fn a_save_that_took_too_long_is_refused() {
    let mut world = World::new();
    world.save("a", 0);
    world.begin("b", 0, None);
    world.store(0);
    world.delete("a");
    world.collect(MIN_GRACE);
    world.now += 121 * MINUTE;
    world.collect(MIN_GRACE);
    assert_eq!(world.count("packs/"), 0);
    world.publish(0);
    assert_eq!(world.count("refs/"), 0);
}

#[test]
fn a_mount_of_a_deleted_key_is_saved_while_its_layers_are_there() {
    let mut world = World::new();
    world.save("a", 0);
    world.restore("a");
    world.delete("a");
    world.collect(MIN_GRACE);
    world.now += 40 * MINUTE;
    world.begin("b", 1, Some(0));
    world.store(0);
    world.publish(0);
    assert_eq!(world.count("refs/main/b/"), 2);
    world.now += 121 * MINUTE;
    world.collect(MIN_GRACE);
    world.assert_whole();
}

#[test]
fn nothing_goes_while_a_record_is_not_understood() {
    let mut world = World::new();
    world.save("a", 0);
    world.delete("a");
    let dir = world.bench.dir.path().join("remote/refs/main/k");
    fs::create_dir_all(&dir).unwrap();
    let record = dir.join("~r000643f2c0a1b2c3d4e5f60718293a4b");
    fs::write(&record, r#"{"format": 9}"#).unwrap();
    let options = world.options(Duration::ZERO);
    let outcome = gc::collect(&world.bench.remote, &options, &Silent);
    let error = world.bench.runtime.block_on(outcome).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert_eq!(world.count("packs/"), 1);
}

#[test]
fn expired_and_old_keys_are_dropped() {
    let mut world = World::new();
    world.save("a", 0);
    let remote = world.bench.remote.clone();
    let kept = world.run(refs::read_records(&remote, &name("main", "a")));
    let mut expiring = kept[0].clone();
    expiring.key = Key::new("b").unwrap();
    expiring.expires = Some(world.now + MINUTE);
    world.run(refs::publish(&remote, &expiring));
    assert!(world.collect(MIN_GRACE).plan.dropped.is_empty());
    world.now += 2 * MINUTE;
    let report = world.collect(MIN_GRACE);
    assert_eq!(report.plan.dropped.len(), 1);
    assert_eq!(report.plan.dropped[0].name.key.as_str(), "b");
    assert_eq!(
        (world.count("refs/main/a/"), world.count("refs/main/b/")),
        (2, 0)
    );

    let options = GcOptions {
        older_than: Some(Duration::from_secs(1)),
        now: kept[0].id.micros + 2_000_000,
        ..world.options(Duration::ZERO)
    };
    world.run(gc::collect(&remote, &options, &Silent));
    assert_eq!(
        world.count("refs/") + world.count("layers/") + world.count("packs/"),
        0
    );
}

#[test]
fn traces_go_with_the_packs_that_they_name() {
    use cachefs_store::id::StackId;
    use cachefs_store::trace::{self, Trace};

    let mut world = World::new();
    world.save("a", 0);
    world.save("b", 2);
    let remote = world.bench.remote.clone();
    let publish = |key: &str, below: &[LayerInfo]| {
        let records = world.run(refs::read_records(&remote, &name("main", key)));
        let layers = refs::unite(records).0;
        let stack = world.open(&layers).unwrap();
        let trace = Trace::default().after(&[stack.layers()[0].frame(0).unwrap()]);
        let ids = below.iter().chain(&layers).map(|layer| &layer.id);
        let id = StackId::of(ids);
        world.run(trace::publish(&remote, &id, &trace, |_| None));
        layers
    };
    let a = publish("a", &[]);
    publish("b", &[]);
    // A stack of two keys has no record of its own.
    publish("b", &a);
    world.collect(Duration::ZERO);
    assert_eq!(world.count("traces/"), 3);
    world.delete("a");
    world.collect(Duration::ZERO);
    assert_eq!(world.count("traces/"), 2);
    world.delete("b");
    world.collect(Duration::ZERO);
    assert_eq!(world.count("traces/") + world.count("packs/"), 0);
}

#[test]
fn promoting_unites_and_does_nothing_twice() {
    let mut world = World::new();
    world.save("k", 0);
    let (remote, creator) = (world.bench.remote.clone(), Creator::default());
    let main = Scope::new("branch/main").unwrap();
    let from = name("main", "k");
    let promote = |world: &World, dry_run| {
        let none = Condemned::default();
        world.run(refs::promote(
            &remote, &from, &main, &creator, &none, dry_run,
        ))
    };
    let packs = world.count("packs/");
    assert!(matches!(promote(&world, true), Promotion::Promoted(_)));
    assert_eq!(world.count("refs/branch~2Fmain/"), 0);
    assert!(matches!(promote(&world, false), Promotion::Promoted(layers) if layers.len() == 1));
    assert_eq!(promote(&world, false), Promotion::AlreadyThere);
    world.save("k", 1);
    assert!(matches!(promote(&world, false), Promotion::Promoted(layers) if layers.len() == 2));
    assert_eq!(promote(&world, false), Promotion::AlreadyThere);
    assert_eq!(world.count("refs/branch~2Fmain/k/~r"), 1);
    assert!(world.count("packs/") <= packs + 1);
    world.delete("k");
    assert_eq!(promote(&world, false), Promotion::Absent);
    world.collect(Duration::ZERO);
    world.assert_whole();
}
