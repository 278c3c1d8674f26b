//! Chooses packs to evict.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::SystemTime;

/// Size of one pack, and time of its last use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) bytes: u64,
    pub(super) used: SystemTime,
}

/// Names the packs to remove so that a tenth of the limit is free again, never `keep`.
///
/// More than the bare minimum, so that not every write evicts.
pub(super) fn choose_evictions<K: Copy + Ord + Hash>(
    packs: &HashMap<K, Usage>,
    limit: u64,
    keep: &K,
) -> Vec<K> {
    let mut total: u64 = packs.values().map(|usage| usage.bytes).sum();
    let mut oldest: Vec<_> = packs.iter().filter(|(pack, _)| *pack != keep).collect();
    oldest.sort_by_key(|(pack, usage)| (usage.used, **pack));
    let target = limit - limit / 10;
    let mut evicted = Vec::new();
    for (pack, usage) in oldest {
        if total <= target {
            break;
        }
        total -= usage.bytes;
        evicted.push(*pack);
    }
    evicted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PackId;
    use std::time::Duration;

    #[test]
    fn the_longest_unused_go_first() {
        let pack = |number: u8| PackId([number; 16]);
        let packs = (0..10)
            .map(|number| {
                let used = SystemTime::UNIX_EPOCH + Duration::from_secs(number.into());
                (pack(number), Usage { bytes: 100, used })
            })
            .collect();
        assert_eq!(choose_evictions(&packs, 900, &pack(0)), [pack(1), pack(2)]);
        assert!(choose_evictions(&packs, 2000, &pack(0)).is_empty());
    }
}
