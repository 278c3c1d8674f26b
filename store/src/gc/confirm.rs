//! The last check of a saver before and after it publishes a record.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use super::condemned::Condemned;
use super::duration_micros;
use crate::error::{Error, Result};
use crate::id::{LayerId, SaveId};
use crate::layer;
use crate::pack::{self, PackRef};
use crate::refs::{self, LayerInfo, RefRecord};
use crate::remote::{DynRemote, ObjectKey, RemoteErrorKind};
use crate::task::join_all;

/// The objects that a record references, directly or through its layers.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The layers of the stack, and the parts from which this save squashed one of its layers.
    /// Until the record is visible, only those parts keep the packs of the squashed layer alive.
    pub layers: Vec<LayerId>,
    /// Layers that no record was seen to reference within the last half of the
    /// [`LEASE`](super::LEASE). Their existence must be checked.
    pub doubtful: Vec<LayerId>,
    /// Packs that the saver's own layer references, in addition to those of the stack below.
    pub packs: Vec<PackRef>,
    /// Whether packs may be gone although all layers exist: the path was compared with layers that
    /// other saves have squashed since, so they are no longer in the stack.
    pub doubtful_packs: bool,
}

impl Needs {
    /// Collects the needs of a save whose path was compared with `base`.
    ///
    /// `stack` is the stack of the new record, and `parts` are the layers that this save squashed.
    /// `named` are the layers that the key's records referenced when the save started, so they
    /// existed then. The other layers of `base` are doubtful if `is_old`, which means that the path
    /// was restored more than half a lease ago.
    pub fn of(
        stack: &[LayerInfo],
        parts: &[LayerInfo],
        base: &[LayerInfo],
        named: &HashSet<LayerId>,
        is_old: bool,
        packs: Vec<PackRef>,
    ) -> Self {
        let layers: Vec<_> = stack.iter().chain(parts).map(|layer| layer.id).collect();
        let unnamed = |id: &LayerId| is_old && !named.contains(id);
        let base = || base.iter().map(|layer| layer.id).filter(unnamed);
        Self {
            doubtful: base().filter(|id| layers.contains(id)).collect(),
            doubtful_packs: base().any(|id| !layers.contains(&id)),
            layers,
            packs,
        }
    }
}

/// Publishes a record if all objects that it references exist and will stay.
///
/// Checks before the write and once more after the record is visible. If an object is gone by then,
/// the record is taken back: the process, and its clock with it, may have been suspended for hours
/// in between.
///
/// # Errors
///
/// [`Error::BeingCollected`] names the missing object; nothing is published in that case.
pub async fn publish_confirmed(
    remote: &DynRemote,
    record: &RefRecord,
    condemned: &Condemned,
    needs: &Needs,
    now: u64,
) -> Result<()> {
    // Before the first check, because the process can be suspended during that check, too.
    let (started, wall) = (Instant::now(), SaveId::now().micros);
    confirm_needs(remote, condemned, needs, now).await?;
    refs::put_record(remote, record).await?;
    let elapsed = duration_micros(started.elapsed()).max(SaveId::now().micros.saturating_sub(wall));
    let confirmed = look_again(remote, condemned, needs, now.saturating_add(elapsed)).await;
    if let Err(error) = confirmed {
        if let Err(failed) = refs::take_back(remote, record).await {
            let name = record.name();
            tracing::warn!("cannot remove an unconfirmed save of {name}: {failed}");
        }
        return Err(error);
    }
    refs::put_head(remote, record).await;
    Ok(())
}

/// Checks again once the record is visible. The list is read first: an object that is neither on
/// the list nor missing afterwards cannot be removed by a run that started before the record was
/// visible.
async fn look_again(remote: &DynRemote, before: &Condemned, needs: &Needs, now: u64) -> Result<()> {
    let condemned = Condemned::read(remote).await?;
    refuse_condemned(&condemned, needs, now)?;
    let all = before.is_stale(now) || needs.doubtful_packs;
    let packs = needs.packs.iter().filter(|_| all);
    let packs = packs.map(|pack| pack::object_key(&pack.id));
    let layers = needs.layers.iter().map(layer::object_key);
    look_at(remote, layers.chain(packs).collect()).await
}

/// Checks that all needed objects exist and will stay, based on the list that the saver read when
/// it started. Sends requests for doubtful objects only, or for all of them if that list is old.
///
/// # Errors
///
/// [`Error::BeingCollected`] names the object that is missing or expires; the save can be retried.
pub async fn confirm_needs(
    remote: &DynRemote,
    condemned: &Condemned,
    needs: &Needs,
    now: u64,
) -> Result<()> {
    let again;
    let is_long = condemned.is_stale(now);
    let condemned = if is_long {
        again = Condemned::read(remote).await?;
        &again
    } else {
        condemned
    };
    refuse_condemned(condemned, needs, now)?;
    let layers = match is_long {
        true => &needs.layers,
        false => &needs.doubtful,
    };
    let packs = needs
        .packs
        .iter()
        .filter(|_| is_long || needs.doubtful_packs);
    let packs = packs.map(|pack| pack::object_key(&pack.id));
    look_at(
        remote,
        layers.iter().map(layer::object_key).chain(packs).collect(),
    )
    .await
}

fn refuse_condemned(condemned: &Condemned, needs: &Needs, now: u64) -> Result<()> {
    if let Some(layer) = condemned.layer_about_to_go(needs.layers.iter().copied(), now) {
        return being_collected(format!("layer {layer}"));
    }
    let packs = needs.packs.iter().map(|pack| pack.id);
    if let Some(pack) = condemned.pack_about_to_go(packs, now) {
        return being_collected(format!("pack {pack}"));
    }
    Ok(())
}

fn being_collected(what: String) -> Result<()> {
    Err(Error::BeingCollected { what })
}

/// Fails if one of these objects does not exist.
async fn look_at(remote: &DynRemote, objects: BTreeSet<ObjectKey>) -> Result<()> {
    let heads = objects.into_iter().map(|object| {
        let remote = remote.clone();
        async move { (remote.head(&object).await, object) }
    });
    for (head, object) in join_all(heads).await {
        match head {
            Ok(_) => {}
            Err(error) if error.kind() == RemoteErrorKind::NotFound => {
                return being_collected(object.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
