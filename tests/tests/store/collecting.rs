//! Collection while jobs save: every order of steps that chance makes, in a time of our own.

mod world;

use std::fs::{self};
use std::time::Duration;

use cachefs_store::Error;
use cachefs_store::gc::{self, Condemned, GcOptions, MIN_GRACE};
use cachefs_store::refs::{self, Creator, Key, LayerInfo, Promotion, Scope};
use cachefs_store::save::Silent;
use proptest::prelude::*;

use world::{MINUTE, World, name};

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
