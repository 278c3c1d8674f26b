//! Verifies packs that a promotion brings into a scope.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::name::{Key, RefName};
use super::record::{LayerInfo, RefRecord};
use super::resolve::read_records;
use crate::check::verify_pack;
use crate::error::{Error, Result};
use crate::id::LayerId;
use crate::layer;
use crate::local::fetch_layer;
use crate::pack::PackRef;
use crate::parallel;
use crate::progress::Silent;
use crate::remote::DynRemote;
use crate::task::join_all;

/// Number of packs that are read concurrently.
const PACKS: usize = 4;
/// Number of layers that are fetched concurrently.
const LAYERS: usize = 2;

/// Verifies the packs that a stack would bring into a scope.
///
/// Savers of the scope will deduplicate against these packs. A pack that lists a chunk under the
/// wrong name would put its own bytes into their saves. So each pack that no layer of the scope
/// describes identically is read once, and every chunk in it is compared with its name.
///
/// `target` is the key in that scope, and `there` its records. Layers of the scope's other keys are
/// looked up under the keys that they were first saved under. A layer that is not found there
/// counts as new, which costs one read of its packs.
///
/// # Errors
/// [`Error::Damaged`] names the pack and its fault.
pub(super) async fn verify_new(
    remote: &DynRemote,
    target: &RefName,
    there: &[RefRecord],
    stack: &[LayerInfo],
) -> Result<()> {
    let mut vouched = layers_of(there);
    let is_new =
        |vouched: &HashMap<LayerId, LayerInfo>, layer: &LayerInfo| !vouched.contains_key(&layer.id);
    let keys: BTreeSet<&Key> = stack
        .iter()
        .filter(|layer| is_new(&vouched, layer) && layer.key != target.key)
        .map(|layer| &layer.key)
        .collect();
    let reads = keys.into_iter().map(|key| {
        let name = RefName {
            key: key.clone(),
            ..target.clone()
        };
        let remote = remote.clone();
        async move { read_records(&remote, &name).await }
    });
    for records in join_all(reads).await {
        vouched.extend(layers_of(&records?));
    }
    let (new, known): (Vec<&LayerInfo>, Vec<_>) =
        stack.iter().partition(|layer| is_new(&vouched, layer));
    if new.is_empty() {
        return Ok(());
    }
    let lengths = stack.iter().map(|layer| layer.length);
    if lengths.fold(0, u64::saturating_add) > layer::MAX {
        // As for every reader of the stack.
        return Err(Error::damaged("a stack", "its layers take more than 1 GiB"));
    }
    let of_key = there.iter().flat_map(|record| &record.layers);
    let known = described_packs(remote, known.into_iter().chain(of_key)).await?;
    let new = described_packs(remote, new).await?;
    let unknown: Vec<_> = new.difference(&known).copied().collect();
    let start = |pack: PackRef| {
        let remote = remote.clone();
        async move { verify_pack(&remote, &pack).await }
    };
    parallel::for_each(PACKS, unknown, &Silent, start, Ok).await
}

fn layers_of(records: &[RefRecord]) -> HashMap<LayerId, LayerInfo> {
    let layers = records.iter().flat_map(|record| &record.layers);
    layers.map(|layer| (layer.id, layer.clone())).collect()
}

/// The packs of layers, as these describe them.
async fn described_packs(
    remote: &DynRemote,
    layers: impl IntoIterator<Item = &LayerInfo>,
) -> Result<HashSet<PackRef>> {
    let mut seen = HashSet::new();
    let layers = layers.into_iter().filter(|layer| seen.insert(layer.id));
    // A layer may take 1 GiB, so we keep only its list of packs.
    let start = |layer: LayerInfo| {
        let remote = remote.clone();
        async move { fetch_layer(&remote, &layer).await?.packs() }
    };
    let mut packs = HashSet::new();
    parallel::for_each(LAYERS, layers.cloned(), &Silent, start, |of_layer| {
        packs.extend(of_layer);
        Ok(())
    })
    .await?;
    Ok(packs)
}
