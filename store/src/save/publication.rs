//! A pure plan of the record that a save publishes.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use super::source::PreviousSave;
use crate::id::{LayerId, SaveId};
use crate::layer::TreeTotals;
use crate::refs::{self, LayerInfo, RefRecord};
use crate::stack::squash_plan;

/// All inputs of the plan.
pub(super) struct PublicationInputs<'a> {
    /// The records of the key when the save began, the expired ones too.
    pub(super) existing: &'a [RefRecord],
    /// Saves of the key whose records a power cut truncated.
    pub(super) torn: &'a [SaveId],
    /// Whether the save supersedes the key's current layers instead of uniting with them.
    pub(super) replaces: bool,
    /// Whether the remote lost a part of the key's stack.
    pub(super) lost: bool,
    /// The stack that the path was compared with.
    pub(super) base: &'a [LayerInfo],
    /// The last save of the same path under the same key.
    pub(super) previous: Option<&'a PreviousSave>,
    /// The layer with the path's changes; `None` when nothing changed.
    pub(super) layer: Option<&'a LayerInfo>,
    /// The time until the key expires.
    pub(super) ttl: Option<Duration>,
    /// The number of layers below the newest that a stack may have without being squashed.
    pub(super) squash_depth: usize,
    /// The time of the save, in microseconds since 1970.
    pub(super) now: u64,
}

/// The objects that a save publishes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Publication {
    /// The stack that the key will name, before anything is squashed.
    pub(super) stack: Vec<LayerInfo>,
    /// The layers of the stack to rewrite as one.
    pub(super) squash: Option<Range<usize>>,
    /// The saves that the new record takes the place of.
    pub(super) supersedes: Vec<SaveId>,
    /// The layers that the key's records named when the save began.
    pub(super) named: HashSet<LayerId>,
    /// Number of saves by other jobs that are taken in.
    pub(super) united: usize,
    /// When the new record expires, in microseconds since 1970.
    pub(super) expires: Option<u64>,
    /// Set when a record of the key says all of this already: when that one expires.
    pub(super) published: Option<Option<u64>>,
    /// Totals of the stack's tree, if the records contain them.
    pub(super) tree: Option<TreeTotals>,
}

/// Plans the publication of a save.
pub(super) fn plan_publication(inputs: &PublicationInputs<'_>) -> Publication {
    let existing = inputs.existing;
    // Expired and replaced records are superseded too, although their layers do not stay.
    let mut supersedes = refs::superseded_saves(existing);
    supersedes.extend(inputs.torn);
    let layers = existing.iter().flat_map(|record| &record.layers);
    let named = layers.map(|layer| layer.id).collect();

    let mut current = existing.to_vec();
    current.retain(|record| !record.is_expired(inputs.now));
    let (mut stack, contained) = refs::unite_records(current);
    if inputs.replaces {
        // Of the key's layers, only those that the path started from stay; `base` adds them below.
        stack.clear();
    }
    // The new layer contains the earlier changes of this path. The old layer on top of it would
    // bring back files that were changed since.
    if let Some(replaced) = inputs.previous.and_then(|previous| previous.layer) {
        stack.retain(|layer| layer.id != replaced);
    }
    refs::append_layers(&mut stack, inputs.base);
    if let Some(layer) = inputs.layer {
        // A layer of the same content may lie further down; on top is where it counts.
        stack.retain(|present| present.id != layer.id);
        stack.push(layer.clone());
    }

    let expires = inputs.ttl.map(|ttl| inputs.now.saturating_add(micros(ttl)));
    let published = match &contained[..] {
        // A lost key has a record that names the same stack, and cannot be restored.
        [record] if !inputs.lost => {
            let is_same = has_layers(record, &stack) && lasts(record, expires, inputs.ttl);
            is_same.then_some(record.expires)
        }
        // Several records must become one, even if they amount to the same stack.
        _ => None,
    };
    Publication {
        squash: plan_squash(&stack, inputs.squash_depth),
        supersedes,
        named,
        united: count_united(inputs, &contained),
        expires,
        published,
        tree: refs::tree_totals(&stack, &contained),
        stack,
    }
}

/// Counts the saves that contain more than the base of the comparison.
fn count_united(inputs: &PublicationInputs<'_>, contained: &[RefRecord]) -> usize {
    if inputs.replaces {
        return 0;
    }
    let is_own = |record: &RefRecord| {
        let previous = inputs.previous;
        previous.is_some_and(|previous| previous.save == record.id)
    };
    let is_in_base = |layer: &LayerInfo| inputs.base.iter().any(|base| base.id == layer.id);
    contained
        .iter()
        .filter(|record| !is_own(record) && !record.layers.iter().all(is_in_base))
        .count()
}

/// The layers to squash, to keep the stack shallow.
///
/// The newest layer stays as it is, so that concurrent savers who squash the same stack create the
/// same layer, and a later save of this path can still replace its own.
fn plan_squash(stack: &[LayerInfo], squash_depth: usize) -> Option<Range<usize>> {
    let (_, below) = stack.split_last()?;
    let entries: Vec<_> = below.iter().map(|layer| layer.summary.entries).collect();
    squash_plan(&entries, squash_depth)
}

fn has_layers(record: &RefRecord, stack: &[LayerInfo]) -> bool {
    record.layers.len() == stack.len() && record.layers.iter().zip(stack).all(|(a, b)| a.id == b.id)
}

/// Whether a record lasts as long as one that is written now. A save that changes nothing postpones
/// the expiry, but not every time: a tenth of the time to live is not worth a record.
fn lasts(record: &RefRecord, expires: Option<u64>, ttl: Option<Duration>) -> bool {
    match (record.expires, expires, ttl) {
        (Some(old), Some(new), Some(ttl)) => new.abs_diff(old) <= micros(ttl / 10),
        (old, new, _) => old == new,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerSummary;
    use crate::refs::{Creator, Key, Platform, RefName, Scope};
    use crate::stack::SQUASH_DEPTH;

    const NOW: u64 = 1_800_000_000_000_000;
    const DAY: Duration = Duration::from_secs(24 * 3600);

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

    fn layers(numbers: &[u8]) -> Vec<LayerInfo> {
        numbers.iter().copied().map(layer).collect()
    }

    fn save(micros: u64) -> SaveId {
        SaveId { micros, nonce: 0 }
    }

    /// The record of a save at `micros`.
    fn record(micros: u64, numbers: &[u8]) -> RefRecord {
        let name = RefName::new(Scope::new("s").unwrap(), Key::new("k").unwrap());
        let mut record = RefRecord::new(
            name,
            layers(numbers),
            Creator::default(),
            Platform::default(),
        );
        record.id = save(micros);
        record
    }

    /// A save that adds to the key and changes nothing.
    fn inputs<'a>(existing: &'a [RefRecord], base: &'a [LayerInfo]) -> PublicationInputs<'a> {
        PublicationInputs {
            existing,
            torn: &[],
            replaces: false,
            lost: false,
            base,
            previous: None,
            layer: None,
            ttl: None,
            squash_depth: SQUASH_DEPTH,
            now: NOW,
        }
    }

    fn numbers(publication: &Publication) -> Vec<u8> {
        publication
            .stack
            .iter()
            .map(|layer| layer.id.0[0])
            .collect()
    }

    #[test]
    fn first_save_names_its_layer_alone() {
        let added = layer(1);
        let plan = plan_publication(&PublicationInputs {
            layer: Some(&added),
            ..inputs(&[], &[])
        });
        assert_eq!(numbers(&plan), [1]);
        assert_eq!((plan.united, plan.published), (0, None));
        assert_eq!(plan.supersedes, []);
    }

    #[test]
    fn saves_of_other_jobs_are_united_below_the_new_layer() {
        let existing = [record(2, &[1, 10]), record(3, &[1, 20])];
        let (base, added) = (layers(&[1]), layer(30));
        let plan = plan_publication(&PublicationInputs {
            layer: Some(&added),
            ..inputs(&existing, &base)
        });
        assert_eq!(numbers(&plan), [1, 10, 20, 30]);
        assert_eq!(plan.united, 2);
        assert_eq!(plan.supersedes, [save(2), save(3)]);
        assert_eq!(plan.named.len(), 3);
    }

    #[test]
    fn a_second_save_of_a_path_replaces_its_first() {
        let existing = [record(2, &[1, 10])];
        let (base, added) = (layers(&[1]), layer(11));
        let previous = PreviousSave {
            name: existing[0].name(),
            save: save(2),
            layer: Some(LayerId([10; 32])),
        };
        let plan = plan_publication(&PublicationInputs {
            layer: Some(&added),
            previous: Some(&previous),
            ..inputs(&existing, &base)
        });
        assert_eq!(numbers(&plan), [1, 11]);
        assert_eq!(plan.united, 0, "its own save is not another job's");
    }

    #[test]
    fn a_replacement_keeps_only_the_layers_that_the_path_started_from() {
        let existing = [record(2, &[1, 10]), record(3, &[20])];
        let (base, added) = (layers(&[1]), layer(30));
        let plan = plan_publication(&PublicationInputs {
            layer: Some(&added),
            replaces: true,
            torn: &[save(1)],
            ..inputs(&existing, &base)
        });
        assert_eq!(numbers(&plan), [1, 30]);
        assert_eq!(plan.united, 0);
        assert_eq!(plan.supersedes, [save(2), save(3), save(1)]);
    }

    #[test]
    fn a_layer_that_lies_further_down_moves_to_the_top() {
        let existing = [record(2, &[1, 10, 20])];
        let (base, added) = (layers(&[1]), layer(10));
        let plan = plan_publication(&PublicationInputs {
            layer: Some(&added),
            ..inputs(&existing, &base)
        });
        assert_eq!(numbers(&plan), [1, 20, 10]);
    }

    #[test]
    fn an_unchanged_path_is_published_already_only_by_one_readable_record() {
        let base = layers(&[1, 10]);
        let one = [record(2, &[1, 10])];
        assert_eq!(plan_publication(&inputs(&one, &base)).published, Some(None));
        // The record is there, but its data is not.
        let lost = plan_publication(&PublicationInputs {
            lost: true,
            replaces: true,
            ..inputs(&one, &base)
        });
        assert_eq!((numbers(&lost), lost.published), (vec![1, 10], None));
        // Two records become one.
        let two = [record(2, &[1, 10]), record(3, &[1])];
        assert_eq!(plan_publication(&inputs(&two, &base)).published, None);
    }

    #[test]
    fn an_expired_record_is_superseded_and_its_layers_go() {
        let mut old = record(2, &[10]);
        old.expires = Some(NOW - 1);
        let added = layer(20);
        let existing = [old];
        let plan = plan_publication(&PublicationInputs {
            layer: Some(&added),
            ..inputs(&existing, &[])
        });
        assert_eq!(numbers(&plan), [20]);
        assert_eq!(plan.supersedes, [save(2)]);
        assert!(plan.named.contains(&LayerId([10; 32])));
    }

    #[test]
    fn expiry_is_postponed_once_a_tenth_of_the_time_to_live_has_passed() {
        let base = layers(&[1]);
        let expires_after = |age: Duration| {
            let mut existing = record(2, &[1]);
            existing.expires = Some(NOW + micros(DAY) - micros(age));
            let existing = [existing];
            let plan = plan_publication(&PublicationInputs {
                ttl: Some(DAY),
                ..inputs(&existing, &base)
            });
            assert_eq!(plan.expires, Some(NOW + micros(DAY)));
            plan.published
        };
        let early = DAY / 20;
        let expires = NOW + micros(DAY) - micros(early);
        assert_eq!(expires_after(early), Some(Some(expires)));
        assert_eq!(expires_after(DAY / 5), None);
        // A key that shall expire and did not, and the other way round.
        let existing = [record(2, &[1])];
        let plan = plan_publication(&PublicationInputs {
            ttl: Some(DAY),
            ..inputs(&existing, &base)
        });
        assert_eq!(plan.published, None);
    }

    #[test]
    fn deep_stacks_are_squashed_below_the_newest_layer() {
        let base: Vec<_> = (1..=16).map(layer).collect();
        let added = layer(100);
        let shallow = plan_publication(&PublicationInputs {
            layer: Some(&added),
            ..inputs(&[], &base)
        });
        assert_eq!(shallow.squash, None);
        let base: Vec<_> = (1..=17).map(layer).collect();
        let deep = plan_publication(&PublicationInputs {
            layer: Some(&added),
            ..inputs(&[], &base)
        });
        assert_eq!(deep.squash, Some(0..17));
        assert_eq!(deep.stack.len(), 18, "the newest layer is not squashed");
    }
}
