//! Chunks that a save stores, and chunks that it reuses.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use cachefs_store::id::RepoId;
use cachefs_store::index::Index;
use cachefs_store::local::LostPacks;
use cachefs_store::pack::object_key;
use cachefs_store::progress::Silent;
use cachefs_store::refs::{self, Creator, Platform, RefRecord};
use cachefs_store::save::store_target::StoreTarget;
use cachefs_store::save::target::Target;
use cachefs_tests::tree::{CompareOptions, TreeSpec, assert_same};

use super::workbench::{Workbench, domains, info, open_source, request, stack};

fn some_files(seed: u64) -> TreeSpec {
    let mut spec = TreeSpec::default();
    spec.dir("lib").dir("lib/deep").dir("empty");
    for number in 0..50 {
        spec.file(format!("lib/{number}"), 100 * number, seed + number);
    }
    spec.file("lib/deep/large", 3 << 20, seed + 100)
        .file("copy", 3 << 20, seed + 100);
    spec
}

#[test]
fn what_is_stored_is_not_stored_again() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    some_files(1).build(&source).unwrap();
    let first = bench.save(&source, &stack(&[]));
    assert!(!first.new_packs.is_empty());
    // The tree holds the same 3 MiB file twice, but we store its bytes once.
    assert!(first.new_raw < 4 << 20, "{}", first.new_raw);

    // Under another key, without a common base.
    let second = bench.save(&source, &stack(&[]));
    assert!(second.new_packs.is_empty());
    assert_eq!(second.new_raw, 0);
    assert_eq!(second.layer.id(), first.layer.id());

    // Moved files and new times change only metadata.
    fs::rename(source.join("lib"), source.join("moved")).unwrap();
    let third = bench.save(&source, &stack(&[&first.layer]));
    assert!(third.new_packs.is_empty());
    assert!(!third.is_unchanged());
    let (copied, _) = bench.copy(&stack(&[&first.layer, &third.layer]), "copied");
    assert_same(&source, &copied, &CompareOptions::default());
}

#[test]
fn another_machine_learns_what_the_layers_hold() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    some_files(1).build(&source).unwrap();
    let first = bench.save(&source, &stack(&[]));

    let index = Arc::new(Index::open(&bench.dir.path().join("other")).unwrap());
    let other = StoreTarget {
        index,
        ..bench.target.clone()
    };
    other.learn(&first.layer.packs().unwrap()).unwrap();
    let mut chunks = HashMap::new();
    for pack in &first.new_packs {
        let trailer = bench.target.trailer(pack).unwrap();
        chunks.extend(trailer.chunk_locations(&pack.id));
    }
    let ids: Vec<_> = chunks.keys().copied().collect();
    assert!(!ids.is_empty());
    for (id, found) in ids.iter().zip(other.lookup(&ids).unwrap()) {
        assert_eq!(found.unwrap().location, chunks[id]);
    }
    // Chunks of another repository are unknown.
    let elsewhere = StoreTarget {
        domains: domains(&bench.remote, &RepoId::random(), "s", &[]),
        ..other
    };
    assert!(elsewhere.lookup(&ids).unwrap().iter().all(Option::is_none));
}

#[test]
fn an_equal_tree_in_other_packs_is_no_change() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    some_files(1).build(&source).unwrap();
    let first = bench.save(&source, &stack(&[]));
    // A machine with an empty index stores everything once more, in new packs.
    let index = Arc::new(Index::open(&bench.dir.path().join("other")).unwrap());
    let bench = Workbench {
        target: StoreTarget {
            index,
            ..bench.target.clone()
        },
        ..bench
    };
    let second = bench.save(&source, &stack(&[]));
    assert!(!second.new_packs.is_empty());
    let second = bench.save(&source, &stack(&[&first.layer]));
    assert!(second.is_unchanged(), "{:?}", second.changes);
}

#[test]
fn packs_that_are_gone_are_noticed_and_stored_again() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    some_files(1).build(&source).unwrap();
    let first = bench.save(&source, &stack(&[]));
    let packs = first.layer.packs().unwrap();
    assert!(bench.target.confirm(&packs).unwrap().is_empty());

    let gone = bench
        .dir
        .path()
        .join("remote")
        .join(object_key(&packs[0].id).as_str());
    fs::remove_file(&gone).unwrap();
    assert_eq!(bench.target.confirm(&packs).unwrap(), [packs[0]]);
    let again = bench.save(&source, &stack(&[]));
    assert!(!again.new_packs.is_empty());
    let (copied, _) = bench.copy(&stack(&[&again.layer]), "copied");
    assert_same(&source, &copied, &CompareOptions::default());

    // A pack with the wrong length counts as missing too.
    let packs = again.layer.packs().unwrap();
    let cut = bench
        .dir
        .path()
        .join("remote")
        .join(object_key(&packs[0].id).as_str());
    fs::set_permissions(&cut, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&cut)
        .unwrap()
        .set_len(100)
        .unwrap();
    assert_eq!(bench.target.confirm(&packs).unwrap(), [packs[0]]);
}

/// Anyone may describe a pack wrongly in their own layer, so a note that it is damaged must not
/// stop others from using it.
#[test]
fn a_pack_that_is_noted_as_damaged_is_stored_again_only_if_it_is() {
    let bench = Workbench::new();
    let source = bench.directory("source");
    some_files(1).build(&source).unwrap();
    let first = bench.save(&source, &stack(&[]));
    let packs = first.layer.packs().unwrap();
    let notes = LostPacks::new(bench.dir.path().join("store"));
    notes.add_damaged(&packs[0].id);
    assert_eq!(bench.target.confirm(&packs).unwrap(), []);

    let path = bench.dir.path().join("remote");
    let path = path.join(object_key(&packs[0].id).as_str());
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    // It passed before, and we do not check it again until a reader finds the damage.
    assert_eq!(bench.target.confirm(&packs).unwrap(), []);
    notes.add_damaged(&packs[0].id);
    assert_eq!(bench.target.confirm(&packs).unwrap(), [packs[0]]);
    let again = bench.save(&source, &stack(&[]));
    assert!(!again.new_packs.is_empty());
}

/// Two jobs start from the same cache; the later save goes on top, path by path.
#[test]
fn siblings_unite() {
    let bench = Workbench::new();
    let base = bench.directory("base");
    some_files(1).build(&base).unwrap();
    let first = bench.save(&base, &stack(&[]));
    let on = stack(&[&first.layer]);
    let (left, _) = bench.copy(&on, "left");
    let (right, _) = bench.copy(&on, "right");

    fs::write(left.join("only-left"), "l").unwrap();
    fs::write(left.join("both"), "l").unwrap();
    fs::remove_file(left.join("lib/1")).unwrap();
    fs::write(left.join("lib/deep/new-left"), "l").unwrap();
    fs::write(right.join("only-right"), "r").unwrap();
    fs::write(right.join("both"), "r").unwrap();
    fs::remove_dir_all(right.join("empty")).unwrap();
    fs::remove_file(right.join("lib/2")).unwrap();
    fs::write(right.join("lib/deep/new-right"), "r").unwrap();
    let left = bench.save(&left, &on);
    let right = bench.save(&right, &on);

    let (united, report) = bench.copy(&stack(&[&first.layer, &left.layer, &right.layer]), "united");
    assert!(report.issues.is_empty());
    let read = |name: &str| fs::read_to_string(united.join(name)).ok();
    assert_eq!(read("only-left").as_deref(), Some("l"));
    assert_eq!(read("only-right").as_deref(), Some("r"));
    assert_eq!(read("both").as_deref(), Some("r"));
    assert_eq!(read("lib/deep/new-left").as_deref(), Some("l"));
    assert_eq!(read("lib/deep/new-right").as_deref(), Some("r"));
    assert!(!united.join("lib/1").exists() && !united.join("lib/2").exists());
    assert!(!united.join("empty").exists() && united.join("lib/3").exists());
}

/// A tree that was not restored from the base removes nothing.
#[test]
fn without_a_common_start_nothing_counts_as_removed() {
    let bench = Workbench::new();
    let (one, two) = (bench.directory("one"), bench.directory("two"));
    fs::write(one.join("a"), "a").unwrap();
    fs::write(two.join("b"), "b").unwrap();
    let first = bench.save(&one, &stack(&[]));
    let request = request("shared");
    let layers = vec![info(&first.layer)];
    let (creator, platform) = (Creator::default(), Platform::default());
    let record = RefRecord::new(request.name.clone(), layers, creator, platform);
    let published = refs::publish_record(&bench.remote, &record);
    bench.runtime.block_on(published).unwrap();
    let second = bench.save_source(request, open_source(&two), &Silent);
    assert_eq!(second.changes.2, 0);
    let (both, _) = bench.copy(&stack(&[&first.layer, &second.layer]), "both");
    assert!(both.join("a").exists() && both.join("b").exists());
}
