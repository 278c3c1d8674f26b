//! Garbage collection while jobs save: random interleavings of their steps, on a simulated clock.

mod world;

use std::fs::{self};
use std::time::Duration;

use cachefs_store::Error;
use cachefs_store::gc::{self, Condemned, GcOptions, MIN_GRACE, Needs};
use cachefs_store::id::{LayerId, SaveId};
use cachefs_store::progress::Silent;
use cachefs_store::refs::{self, Creator, Key, LayerInfo, Platform, Promotion, RefRecord, Scope};
use cachefs_store::remote::{DynRemote, RemoteErrorKind};
use proptest::prelude::*;

use super::bent::{Answer, Ask, Bent};
use world::{MINUTE, World, name};

/// A step of a job or a collector, or the passing of time.
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
    // From then on, savers use the new pack.
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
fn a_save_that_squashes_does_not_build_upon_layers_that_are_about_to_go() {
    let mut world = World::new();
    for tree in 0..2 {
        world.save("a", tree);
    }
    world.restore("a");
    world.delete("a");
    world.collect(MIN_GRACE);
    world.now += 121 * MINUTE;
    // The collector has scanned and is about to remove the layers together with their packs.
    world.look();
    world.begin("b", 2, Some(0));
    world.store(0);
    world.publish(0);
    world.sweep();
    world.assert_whole();
    assert_eq!(world.count("refs/"), 0);
}

#[test]
fn a_record_of_a_saver_that_slept_is_taken_back() {
    let mut world = World::new();
    world.save("a", 0);
    let remote = world.bench.remote.clone();
    let mut late = world.run(refs::read_records(&remote, &name("main", "a")))[0].clone();
    late.key = Key::new("b").unwrap();
    late.supersedes.clear();
    let condemned = world.run(Condemned::read(&remote));
    world.delete("a");
    world.collect(Duration::ZERO);
    // Its clocks did not advance, so it sees no reason to check again before it publishes.
    let needs = Needs {
        layers: late.layers.iter().map(|layer| layer.id).collect(),
        ..Needs::default()
    };
    let now = condemned.read;
    let published = gc::publish_confirmed(&remote, &late, &condemned, &needs, now);
    let error = world.bench.runtime.block_on(published).unwrap_err();
    assert!(matches!(error, Error::BeingCollected { .. }), "{error}");
    assert_eq!(world.count("refs/"), 0);
}

/// Writes a file where a record of a key in a pull request's scope would be.
fn foreign_record(world: &World, bytes: &[u8]) {
    let dir = world.bench.dir.path().join("remote/refs/pr~2F66/x");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("~r000643f2c0a1b2c3d4e5f60718293a4b"), bytes).unwrap();
}

#[test]
fn a_record_that_is_not_understood_stops_no_run_and_keeps_what_it_may_name() {
    for bytes in [
        &b"zzz"[..],
        b"",
        b"{}",
        br#"{"format": 9}"#,
        br#"{"format": 1, "requires": ["x"]}"#,
        b"\xff\0",
    ] {
        let mut world = World::new();
        world.save("a", 0);
        world.delete("a");
        foreign_record(&world, bytes);
        let report = world.collect(Duration::ZERO);
        assert_eq!(report.unreadable.len(), 1);
        assert_eq!((world.count("packs/"), world.count("refs/")), (0, 1));
    }
    let mut world = World::new();
    world.save("a", 0);
    world.save("b", 2);
    let remote = world.bench.remote.clone();
    let kept = world.run(refs::read_records(&remote, &name("main", "a")));
    for key in ["a", "b"] {
        world.delete(key);
    }
    let newer = format!(r#"{{"format": 2, "stack": "{}"}}"#, kept[0].layers[0].id);
    foreign_record(&world, newer.as_bytes());
    world.collect(Duration::ZERO);
    assert_eq!((world.count("layers/"), world.count("packs/")), (1, 1));
    assert!(world.open(&kept[0].layers).is_some());
    // It can still expire: its name contains the time.
    let options = GcOptions {
        older_than: Some(Duration::from_secs(1)),
        ..world.options(Duration::ZERO)
    };
    world.run(gc::collect_garbage(&remote, &options, &Silent));
    assert_eq!(world.count("refs/") + world.count("packs/"), 0);
}

#[test]
fn a_layer_that_is_not_understood_stops_no_run_and_keeps_packs_only_while_it_is_in_use() {
    let mut world = World::new();
    world.save("a", 0);
    world.delete("a");
    let newer = "ab".repeat(32);
    let folder = world.bench.dir.path().join("remote/layers/ab");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&newer), b"CFSLAYR9 and more").unwrap();
    // This may be a save in progress or garbage: it gets a grace period like any other object.
    let report = world.collect(MIN_GRACE);
    assert_eq!(
        (report.plan.condemned.layers, report.unreadable_layers.len()),
        (2, 0)
    );
    foreign_record(
        &world,
        format!(r#"{{"format": 9, "x": "{newer}"}}"#).as_bytes(),
    );
    world.save("b", 2);
    world.delete("b");
    world.now += 121 * MINUTE;
    let report = world.collect(MIN_GRACE);
    assert_eq!(report.unreadable_layers.len(), 1);
    // The layer may need any pack, including condemned ones whose grace period has passed: a saver
    // may have read the list before it was condemned, and published since.
    assert_eq!(
        (report.plan.condemned.packs, report.plan.waiting.packs),
        (0, 1)
    );
    assert_eq!(world.count("packs/"), 2);
    fs::remove_file(folder.join(&newer)).unwrap();
    world.collect(MIN_GRACE);
    world.now += 121 * MINUTE;
    world.collect(MIN_GRACE);
    assert_eq!(world.count("packs/"), 0);
}

#[test]
fn a_record_that_is_published_during_a_run_keeps_the_packs_of_a_layer_that_is_not_understood() {
    let mut world = World::new();
    world.save("a", 0);
    world.delete("a");
    let newer = "ab".repeat(32);
    let remote = world.bench.dir.path().join("remote");
    fs::create_dir_all(remote.join("layers/ab")).unwrap();
    fs::write(remote.join("layers/ab").join(&newer), b"CFSLAYR9 and more").unwrap();
    let bent = Bent::new(world.bench.remote.clone());
    bent.rule(move |ask, key| {
        if ask == Ask::Get && key.starts_with("layers/") {
            let refs = remote.join("refs/pr~2F66/x");
            fs::create_dir_all(&refs).unwrap();
            let text = format!(r#"{{"format": 9, "x": "{newer}"}}"#);
            fs::write(refs.join("~r000643f2c0a1b2c3d4e5f60718293a4b"), text).unwrap();
        }
        Answer::Honest
    });
    let bent: DynRemote = bent;
    let report = world.run(gc::collect_garbage(
        &bent,
        &world.options(MIN_GRACE),
        &Silent,
    ));
    assert_eq!(report.unreadable_layers.len(), 1);
    assert_eq!(
        (report.plan.condemned.packs, report.plan.kept.packs),
        (0, 1)
    );
}

#[test]
fn a_record_of_another_tenant_does_not_make_a_newer_layer_count_as_truncated() {
    let mut world = World::new();
    world.save("a", 0);
    let newer = LayerId([0xab; 32]);
    let folder = world.bench.dir.path().join("remote/layers/ab");
    fs::create_dir_all(&folder).unwrap();
    let mut object = b"CFSLAYR9".to_vec();
    object.resize(4096, 0);
    fs::write(folder.join(newer.to_string()), object).unwrap();
    foreign_record(
        &world,
        format!(r#"{{"format": 9, "x": "{newer}"}}"#).as_bytes(),
    );
    let remote = world.bench.remote.clone();
    let records = world.run(refs::read_records(&remote, &name("main", "a")));
    let lie = LayerInfo {
        id: newer,
        length: 1 << 20,
        ..records[0].layers[0].clone()
    };
    let (creator, platform) = (Creator::default(), Platform::default());
    let record = RefRecord::new(name("pr/7", "x"), vec![lie], creator, platform);
    world.run(refs::publish_record(&remote, &record));
    world.delete("a");
    let report = world.collect(MIN_GRACE);
    assert_eq!((report.missing, report.unreadable_layers.len()), (0, 1));
    assert_eq!(report.plan.condemned.packs, 0);
}

#[test]
fn a_saver_that_was_stopped_during_its_first_look_is_refused_as_well() {
    let mut world = World::new();
    world.save("a", 0);
    let remote = world.bench.remote.clone();
    let record = world.run(refs::read_records(&remote, &name("main", "a")))[0].clone();
    let layer = record.layers[0].id;
    // Condemned, but just long enough for a saver that is not suspended.
    let until = world.now + gc::LEASE.as_micros() as u64 + 20_000;
    let list = format!(r#"{{"format":1,"batches":[{{"until":{until},"layers":["{layer}"]}}]}}"#);
    world.bench.directory("remote/gc");
    fs::write(
        world.bench.dir.path().join("remote/gc/condemned.json"),
        list,
    )
    .unwrap();
    let bent = Bent::new(remote.clone());
    bent.rule(|ask, key| {
        if ask == Ask::Head && key.starts_with("layers/") {
            std::thread::sleep(Duration::from_millis(50));
        }
        match ask {
            // The error must be the cause of the failed save, not the failed rollback.
            Ask::Delete => Answer::Failed(RemoteErrorKind::Unavailable),
            _ => Answer::Honest,
        }
    });
    let bent: DynRemote = bent;
    let needs = Needs {
        layers: vec![layer],
        doubtful: vec![layer],
        ..Needs::default()
    };
    let mut again = record.clone();
    again.id = SaveId::now();
    // An old list, so that the saver checks everything again.
    let condemned = Condemned::default();
    let publish = gc::publish_confirmed(&bent, &again, &condemned, &needs, world.now);
    let refused = world.bench.runtime.block_on(publish).unwrap_err();
    assert!(matches!(refused, Error::BeingCollected { .. }), "{refused}");
}

#[test]
fn a_torn_list_is_gone_after_a_run_that_condemns_nothing() {
    let mut world = World::new();
    world.save("a", 0);
    world.bench.directory("remote/gc");
    fs::write(world.bench.dir.path().join("remote/gc/condemned.json"), b"").unwrap();
    world.collect(MIN_GRACE);
    assert_eq!(world.count("gc/"), 0);
}

#[test]
fn the_grace_counts_from_the_list_and_a_run_that_takes_too_long_is_given_up() {
    let mut world = World::new();
    world.save("a", 0);
    world.delete("a");
    world.look();
    world.now += 59 * MINUTE;
    world.sweep();
    let list = world.run(Condemned::read(&world.bench.remote));
    let until = world.now + MIN_GRACE.as_micros() as u64;
    assert!(list.layers.values().all(|at| *at == until), "{list:?}");
    world.save("b", 2);
    world.delete("b");
    world.look();
    world.now += 61 * MINUTE;
    world.sweep();
    let unchanged = world.run(Condemned::read(&world.bench.remote));
    assert_eq!(unchanged.layers, list.layers);
}

#[test]
fn a_collector_leaves_alone_what_another_one_put_on_the_list() {
    let mut world = World::new();
    world.save("a", 0);
    world.look();
    let first = world.collector.take();
    world.delete("a");
    world.collect(MIN_GRACE);
    let list = world.run(Condemned::read(&world.bench.remote));
    assert_eq!(list.layers.len(), 1);
    world.collector = first;
    world.sweep();
    let after = world.run(Condemned::read(&world.bench.remote));
    assert_eq!((after.layers, after.packs), (list.layers, list.packs));
}

#[test]
fn a_saver_whose_clock_is_ahead_is_dropped_with_its_age() {
    let mut world = World::new();
    world.save("a", 0);
    let remote = world.bench.remote.clone();
    let mut ahead = world.run(refs::read_records(&remote, &name("main", "a")))[0].clone();
    ahead.key = Key::new("b").unwrap();
    let written = ahead.id.micros;
    ahead.id.micros += 365 * 24 * 60 * MINUTE;
    world.run(refs::publish_record(&remote, &ahead));
    let listed = world.run(refs::list_keys(&remote, &Scope::new("main").unwrap(), ""));
    assert!(
        listed.iter().all(|key| key.newest < written + MINUTE),
        "{listed:?}"
    );
    let options = GcOptions {
        older_than: Some(Duration::from_secs(3600)),
        now: written + 61 * MINUTE,
        ..world.options(MIN_GRACE)
    };
    let report = world.run(gc::collect_garbage(&remote, &options, &Silent));
    assert_eq!(report.plan.dropped.len(), 2);
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
    world.run(refs::publish_record(&remote, &expiring));
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
    world.run(gc::collect_garbage(&remote, &options, &Silent));
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
        let layers = refs::unite_records(records).0;
        let stack = world.open(&layers).unwrap();
        let trace = Trace::default().after(&[stack.layers()[0].frame(0).unwrap()]);
        let ids = below.iter().chain(&layers).map(|layer| &layer.id);
        let id = StackId::of(ids);
        world.run(trace::publish_trace(&remote, &id, &trace, |_| None));
        layers
    };
    let a = publish("a", &[]);
    publish("b", &[]);
    // A stack built from two keys has no record of its own.
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
        world.run(refs::promote_key(
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
