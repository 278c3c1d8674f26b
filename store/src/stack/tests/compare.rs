//! The comparison of stacks must agree with a comparison of flat maps of their entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{build, entries};
use crate::layer::Layer;
use crate::remote::FileRemote;
use crate::stack::{EntryChange, Stack, StackWalk, compare_stacks};

/// The kind and owner of every entry, including the root.
fn listed(stack: &Stack) -> BTreeMap<Vec<u8>, (u32, u32)> {
    StackWalk::new(stack)
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path, (entry.attr.kind(), entry.attr.uid)))
        .collect()
}

fn differences(before: &Stack, after: &Stack) -> Vec<(Vec<u8>, EntryChange)> {
    // Trees without files need no chunk hashes, so the comparison makes no remote requests.
    let remote: crate::remote::DynRemote = Arc::new(FileRemote::new("/nowhere"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let found = runtime
        .block_on(compare_stacks(&remote, before, after))
        .unwrap();
    for difference in &found {
        assert_eq!(
            difference.before.is_none(),
            difference.change == EntryChange::Added
        );
        assert_eq!(
            difference.after.is_none(),
            difference.change == EntryChange::Removed
        );
    }
    let found = found.into_iter();
    found.map(|it| (it.path, it.change)).collect()
}

fn expected(before: &Stack, after: &Stack) -> Vec<(Vec<u8>, EntryChange)> {
    let (before, after) = (listed(before), listed(after));
    let mut paths: Vec<_> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut found = Vec::new();
    for path in paths {
        match (before.get(path), after.get(path)) {
            (Some(_), None) => found.push((path.clone(), EntryChange::Removed)),
            (None, Some(_)) => found.push((path.clone(), EntryChange::Added)),
            (Some((old, _)), Some((new, _))) if old != new => {
                found.push((path.clone(), EntryChange::Removed));
                found.push((path.clone(), EntryChange::Added));
            }
            (Some(old), Some(new)) if old != new => {
                found.push((path.clone(), EntryChange::Attributes));
            }
            _ => {}
        }
    }
    found
}

fn sorted(mut found: Vec<(Vec<u8>, EntryChange)>) -> Vec<(Vec<u8>, EntryChange)> {
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..Default::default() })]

    #[test]
    fn differences_are_those_of_all_entries(
        shared in vec(entries(), 0..3),
        before in vec(entries(), 0..3),
        after in vec(entries(), 0..3),
    ) {
        let layers = |start: usize, specs: &[_]| -> Vec<Arc<Layer>> {
            specs.iter().enumerate().map(|(n, spec)| build(start + n, spec)).collect()
        };
        let stack = |own: Vec<Arc<Layer>>| {
            Stack::new([layers(1, &shared), own].concat()).unwrap()
        };
        // Both sides number their layers the same way, so that some layers are equal.
        let (before, after) = (stack(layers(10, &before)), stack(layers(10, &after)));
        let (found, expected) = (differences(&before, &after), expected(&before, &after));
        prop_assert_eq!(sorted(found), sorted(expected));
        prop_assert!(differences(&after, &after).is_empty());
    }
}
