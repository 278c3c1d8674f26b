//! Generated trees round-trip unchanged, whatever happens to their layers in between.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cachefs_store::stack::{Stack, squash_layers};
use cachefs_tests::tree::arbitrary::{TreeOptions, trees};
use cachefs_tests::tree::mutate::mutations;
use cachefs_tests::tree::{CompareOptions, TreeMutation, TreeSpec, assert_same};
use proptest::collection::vec;
use proptest::prelude::*;

use super::workbench::{Workbench, stack};

fn same(source: &Path, copied: &Path, skipped: &[PathBuf]) {
    let options = CompareOptions {
        check_allocation: true,
        ignore: skipped.to_vec(),
        ..Default::default()
    };
    assert_same(source, copied, &options);
}

fn apply(mutations: &[TreeMutation], tree: &Path) {
    for mutation in mutations {
        mutation.apply(tree).unwrap();
    }
}

fn round_trip(spec: &TreeSpec, changes: &[Vec<TreeMutation>]) {
    let bench = Workbench::new();
    let source = bench.directory("source");
    spec.build(&source).unwrap();

    let first = bench.save(&source, &stack(&[]));
    let mut layers = vec![first.layer.clone()];
    let again = bench.save(&source, &stack(&[&first.layer]));
    assert!(again.is_unchanged(), "saved again: {:?}", again.changes);
    assert_eq!(again.touched, 0);
    assert!(again.new_packs.is_empty());
    let (copied, report) = bench.copy(&stack(&[&first.layer]), "first");
    assert!(report.issues.is_empty(), "{:?}", report.issues);
    same(&source, &copied, &first.skipped);
    // Copied over an older copy, everything is replaced.
    let handle = bench.runtime.handle();
    let reader = bench.reader();
    let options = Default::default();
    let over = cachefs_store::copy::copy_out(
        &stack(&[&first.layer]),
        &reader,
        handle,
        &copied,
        &options,
        &cachefs_store::progress::Silent,
    );
    assert!(over.unwrap().issues.is_empty());
    same(&source, &copied, &first.skipped);

    let mut skipped = first.skipped;
    for (number, mutations) in changes.iter().enumerate() {
        apply(mutations, &source);
        // Change something in every round, so that each one has a layer.
        fs::write(source.join(format!("round-{number}")), "x").unwrap();
        let base = Stack::new(layers.clone()).unwrap();
        let saved = bench.save(&source, &base);
        layers.push(saved.layer.clone());
        skipped = saved.skipped;
        let (copied, report) =
            bench.copy(&Stack::new(layers.clone()).unwrap(), &format!("v{number}"));
        assert!(report.issues.is_empty(), "{:?}", report.issues);
        same(&source, &copied, &skipped);
        let again = bench.save(&source, &Stack::new(layers.clone()).unwrap());
        assert!(again.is_unchanged(), "saved again: {:?}", again.changes);
    }

    let all = bench.put_layer(&squash_layers(&layers, true).unwrap());
    same(
        &source,
        &bench.copy(&stack(&[&all]), "squashed").0,
        &skipped,
    );
    assert_eq!(all.summary().whiteouts, 0);
    let again = bench.save(&source, &stack(&[&all]));
    assert!(again.is_unchanged(), "after squashing: {:?}", again.changes);

    let upper = bench.put_layer(&squash_layers(&layers[1..], false).unwrap());
    same(
        &source,
        &bench
            .copy(&stack(&[&layers[0], &upper]), "upper squashed")
            .0,
        &skipped,
    );
    let middle: Vec<_> = layers[..layers.len() - 1].to_vec();
    let middle = bench.put_layer(&squash_layers(&middle, true).unwrap());
    let top = &layers[layers.len() - 1];
    same(
        &source,
        &bench.copy(&stack(&[&middle, top]), "lower squashed").0,
        &skipped,
    );

    numbers_stay(&layers);
}

/// Inode numbers depend only on the layers.
fn numbers_stay(layers: &[Arc<cachefs_store::layer::Layer>]) {
    let numbers = |reversed: bool| {
        let reopened = layers.iter().map(|layer| {
            let layer = cachefs_store::layer::Layer::open(layer.id(), layer.object().clone());
            Arc::new(layer.unwrap())
        });
        let stack = Stack::new(reopened.collect()).unwrap();
        let mut paths: Vec<_> = cachefs_store::stack::StackWalk::new(&stack)
            .map(|entry| entry.map(|entry| entry.path))
            .collect::<Result<_, _>>()
            .unwrap();
        if reversed {
            paths.reverse();
        }
        let fresh = Stack::new(stack.layers().to_vec()).unwrap();
        let mut found: Vec<_> = paths
            .into_iter()
            .map(|path| (fresh.find(&path).unwrap(), path))
            .collect();
        found.sort_by(|a, b| a.1.cmp(&b.1));
        found
    };
    assert_eq!(numbers(false), numbers(true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..Default::default() })]

    #[test]
    fn trees_come_back_through_any_stack_of_layers(
        spec in trees(TreeOptions::default()),
        changes in vec(vec(mutations(), 1..8), 2..4),
    ) {
        round_trip(&spec, &changes);
    }
}
