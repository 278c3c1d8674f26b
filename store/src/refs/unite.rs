//! The union of several saves of one key.

use std::collections::{BTreeSet, HashSet};

use super::query::{KeyQuery, Resolved};
use super::record::{LayerInfo, RefRecord};
use crate::id::SaveId;
use crate::layer::TreeTotals;

/// Puts the layers of `later` on top of `stack`, except for those that it contains already.
///
/// The layers of a later save win path by path, and no addition of an earlier save is lost. A
/// squashed layer stands for its parts, on either side: on top of its own parts, or of changes that
/// another save put on them, it would bring back old contents.
pub fn append_layers(stack: &mut Vec<LayerInfo>, later: &[LayerInfo]) {
    for layer in later {
        let is_present =
            |present: &LayerInfo| present.id == layer.id || present.contains.contains(&layer.id);
        if stack.iter().any(is_present) {
            continue;
        }
        let is_part = |present: &LayerInfo| layer.contains.contains(&present.id);
        match stack.iter().position(is_part) {
            Some(first) => {
                stack.retain(|present| !is_part(present));
                stack.insert(first, layer.clone());
            }
            None => stack.push(layer.clone()),
        }
    }
}

/// Replaces layers of `stack` that other saves have squashed since by the squashed layer in `held`,
/// the current stack of the key, because the collector may delete the parts.
///
/// Returns the stack, and whether it is equivalent to `stack`: it is not if the squashed layer
/// contains layers that `stack` lacks. `None` if nothing was squashed.
pub fn follow_squashes(stack: &[LayerInfo], held: &[LayerInfo]) -> Option<(Vec<LayerInfo>, bool)> {
    let own: HashSet<_> = stack
        .iter()
        .flat_map(|layer| layer.contains.iter().chain([&layer.id]))
        .collect();
    let mut followed: Vec<LayerInfo> = Vec::new();
    let mut is_exact = true;
    for layer in stack {
        let squashed = held.iter().find(|held| held.contains.contains(&layer.id));
        if let Some(squashed) = squashed {
            is_exact &= squashed.contains.iter().all(|part| own.contains(part));
        }
        let layer = squashed.unwrap_or(layer);
        if followed.iter().all(|present| present.id != layer.id) {
            followed.push(layer.clone());
        }
    }
    let same =
        followed.len() == stack.len() && followed.iter().zip(stack).all(|(a, b)| a.id == b.id);
    (!same).then_some((followed, is_exact))
}

/// Builds the stack of the results for several keys, the bottom one first.
///
/// A key contains all layers that it was saved on top of, as they were then. If the stack also
/// names the key of such a layer, the current value of that layer's own key counts, and the old
/// layer drops out: a rebuilt base is not hidden by the one that the upper layers were saved with.
/// If its key is missing, the old layer stays.
pub fn build_stack(wanted: &[KeyQuery], found: &[Option<Resolved>]) -> Vec<LayerInfo> {
    let mut stack = Vec::new();
    let mut below: Vec<&str> = Vec::new();
    for (wanted, found) in wanted.iter().zip(found) {
        let Some(found) = found else { continue };
        let is_own = |layer: &&LayerInfo| {
            let role = layer.role.as_deref();
            role.is_none_or(|role| !below.contains(&role))
        };
        let own: Vec<_> = found.layers.iter().filter(is_own).cloned().collect();
        append_layers(&mut stack, &own);
        below.extend(wanted.role.as_deref());
    }
    stack
}

/// Totals of a stack's tree, if one of these records contains them; otherwise `None`.
pub fn tree_totals<'a>(
    stack: &[LayerInfo],
    records: impl IntoIterator<Item = &'a RefRecord>,
) -> Option<TreeTotals> {
    let is_of_stack = |record: &&RefRecord| {
        record.layers.len() == stack.len()
            && record.layers.iter().zip(stack).all(|(a, b)| a.id == b.id)
    };
    let counted = records
        .into_iter()
        .filter(is_of_stack)
        .find_map(|record| record.tree);
    counted.or_else(|| match stack {
        [] => Some(TreeTotals::default()),
        // It hides nothing and nothing hides it.
        [only] => Some(TreeTotals {
            files: only.summary.files,
            bytes: only.summary.bytes,
        }),
        _ => None,
    })
}

/// The saves that a new save supersedes when it contains all of these records: the records, and
/// those that they supersede but that were not deleted yet.
pub fn superseded_saves(records: &[RefRecord]) -> Vec<SaveId> {
    let ids = records.iter().map(|record| record.id);
    let older = records
        .iter()
        .flat_map(|record| record.supersedes.iter().copied());
    let saves: BTreeSet<_> = ids.chain(older).collect();
    saves.into_iter().collect()
}

/// Unites records: those that others supersede drop out, the rest are stacked by time.
pub fn unite_records(mut records: Vec<RefRecord>) -> (Vec<LayerInfo>, Vec<RefRecord>) {
    let superseded: HashSet<_> = records
        .iter()
        .flat_map(|record| record.supersedes.iter().copied())
        .collect();
    records.retain(|record| !superseded.contains(&record.id));
    records.sort_by_key(|record| record.id);
    let mut stack = Vec::new();
    for record in &records {
        append_layers(&mut stack, &record.layers);
    }
    (stack, records)
}

#[cfg(test)]
mod tests {
    use super::super::{Creator, Key, Platform, RefName, Scope};
    use super::*;
    use crate::id::{LayerId, SaveId};
    use crate::layer::LayerSummary;

    fn layer(number: u8) -> LayerInfo {
        LayerInfo {
            id: LayerId([number; 32]),
            length: 1,
            summary: LayerSummary::default(),
            new_bytes: 1,
            contains: Vec::new(),
            created: 1,
            key: Key::new("k").unwrap(),
            role: None,
            creator: Creator::default(),
        }
    }

    fn record(time: u64, layers: &[u8], supersedes: &[u64]) -> RefRecord {
        let name = RefName::new(Scope::new("s").unwrap(), Key::new("k").unwrap());
        let layers = layers.iter().copied().map(layer).collect();
        let mut record = RefRecord::new(name, layers, Creator::default(), Platform::default());
        record.id = SaveId {
            micros: time,
            nonce: 0,
        };
        record.supersedes = supersedes
            .iter()
            .map(|&micros| SaveId { micros, nonce: 0 })
            .collect();
        record
    }

    fn layers(stack: &[LayerInfo]) -> Vec<u8> {
        stack.iter().map(|layer| layer.id.0[0]).collect()
    }

    #[test]
    fn siblings_share_their_base_and_the_later_lies_on_top() {
        let (stack, records) =
            unite_records(vec![record(3, &[1, 20], &[]), record(2, &[1, 10], &[])]);
        assert_eq!(layers(&stack), [1, 10, 20]);
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn a_stack_follows_its_layers_into_what_they_were_squashed_into() {
        let squashed = |number: u8, parts: &[u8]| LayerInfo {
            contains: parts.iter().map(|part| LayerId([*part; 32])).collect(),
            ..layer(number)
        };
        let stack = [layer(1), layer(2), layer(3)];
        assert_eq!(follow_squashes(&stack, &stack), None);
        let (followed, exact) = follow_squashes(&stack, &[layer(1), squashed(9, &[2, 3])]).unwrap();
        assert_eq!((layers(&followed), exact), (vec![1, 9], true));
        // With a layer of somebody else's.
        let (followed, exact) = follow_squashes(&stack, &[squashed(9, &[1, 2, 3, 4])]).unwrap();
        assert_eq!((layers(&followed), exact), (vec![9], false));
        // Squashed twice.
        let stack = [squashed(9, &[1, 2]), layer(3)];
        let held = [squashed(8, &[1, 2, 9, 3]), layer(5)];
        let (followed, exact) = follow_squashes(&stack, &held).unwrap();
        assert_eq!((layers(&followed), exact), (vec![8], true));
    }

    #[test]
    fn a_squashed_layer_stands_for_its_parts() {
        let mut squashed = record(3, &[9, 20], &[]);
        squashed.layers[0].contains = vec![LayerId([1; 32]), LayerId([2; 32])];
        let plain = record(2, &[1, 2, 10], &[]);
        let (stack, _) = unite_records(vec![squashed.clone(), plain.clone()]);
        assert_eq!(layers(&stack), [9, 10, 20]);
        squashed.id.micros = 1;
        let (stack, _) = unite_records(vec![squashed, plain]);
        assert_eq!(layers(&stack), [9, 20, 10]);
    }

    /// A result of a lookup with these layers and roles.
    fn found(layers: &[(u8, Option<&str>)]) -> Option<Resolved> {
        let with_role = |&(number, role): &(u8, Option<&str>)| LayerInfo {
            role: role.map(str::to_owned),
            ..layer(number)
        };
        let record = record(1, &[], &[]);
        Some(Resolved {
            name: record.name(),
            kind: super::super::MatchKind::Exact,
            layers: layers.iter().map(with_role).collect(),
            records: Vec::new(),
        })
    }

    fn wanted(role: Option<&str>) -> KeyQuery {
        KeyQuery {
            scopes: Vec::new(),
            key: Key::new("k").unwrap(),
            prefixes: Vec::new(),
            role: role.map(str::to_owned),
            chosen: None,
        }
    }

    #[test]
    fn a_new_base_takes_the_place_of_the_old_one() {
        let (base, deps, top) = (Some("base"), Some("deps"), None);
        let asked = [wanted(base), wanted(deps), wanted(top)];
        let found_deps = found(&[(1, base), (2, deps), (3, deps)]);
        let found_top = found(&[(1, base), (2, deps), (4, top)]);
        let all = [found(&[(9, base)]), found_deps.clone(), found_top.clone()];
        assert_eq!(layers(&build_stack(&asked, &all)), [9, 2, 3, 4]);
        // Without a base of its own, the one that the others were made with is there.
        let all = [None, found_deps.clone(), found_top.clone()];
        assert_eq!(layers(&build_stack(&asked, &all)), [1, 2, 3, 4]);
        let all = [found(&[(9, base)]), None, found_top.clone()];
        assert_eq!(layers(&build_stack(&asked, &all)), [9, 2, 4]);
        // A key that is restored alone has the value that was saved.
        assert_eq!(layers(&build_stack(&asked[2..], &[found_top])), [1, 2, 4]);
    }

    #[test]
    fn superseded_saves_drop_out() {
        let (stack, records) =
            unite_records(vec![record(2, &[1, 10], &[]), record(3, &[1, 20], &[2])]);
        assert_eq!(layers(&stack), [1, 20]);
        assert_eq!(records.len(), 1);
    }
    #[test]
    fn the_size_of_a_tree_is_never_the_sum_of_its_layers() {
        let tree = |files| {
            Some(TreeTotals {
                files,
                bytes: files,
            })
        };
        let mut counted = record(1, &[1, 2], &[]);
        counted.tree = tree(7);
        let (stack, _) = unite_records(vec![counted.clone()]);
        assert_eq!(tree_totals(&stack, [&counted]), tree(7));
        // Its totals do not include the layers that it is stacked on or united with.
        let (more, records) = unite_records(vec![counted.clone(), record(2, &[1, 3], &[])]);
        assert_eq!(tree_totals(&more, &records), None);
        let (old, records) = unite_records(vec![record(1, &[1, 2], &[])]);
        assert_eq!(tree_totals(&old, &records), None);
        let mut single = record(1, &[1], &[]);
        single.layers[0].summary.files = 3;
        single.layers[0].summary.bytes = 3;
        assert_eq!(tree_totals(&single.layers, [&single]), tree(3));
        assert_eq!(tree_totals(&[], []), tree(0));
    }
}
