//! A saver's last look before it publishes.

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

/// What a ref that is about to be published leads to.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The layers of its stack, and those that layers in it were squashed from just now: only
    /// through them do the packs of a squashed layer stay until its record is there.
    pub layers: Vec<LayerId>,
    /// Those of them that no ref was seen to name within the last half of the
    /// [`LEASE`](super::LEASE).
    pub doubtful: Vec<LayerId>,
    /// The packs that its own layer refers to, besides those of the stack below.
    pub packs: Vec<PackRef>,
    /// Whether packs may be gone although all layers are there: the path was compared with layers
    /// that are in the stack no more, because others squashed them.
    pub doubtful_packs: bool,
}

impl Needs {
    /// What a save needs whose path was compared with `base`.
    ///
    /// `stack` is what the record will name, `parts` what layers of it were just squashed from.
    /// `named` are the layers that the key's records named when the save began: those were there. The
    /// others in `base` are doubtful when `is_old`: it was restored more than half a lease ago.
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

/// Publishes a record, if what it leads to is there and will stay.
///
/// Looks before, looks once more when the record is visible, and takes the record back if something
/// is gone: this process may have been stopped for hours in between, and its clock with it.
///
/// # Errors
///
/// [`Error::BeingCollected`] names what is gone; nothing is published then.
pub async fn publish_confirmed(
    remote: &DynRemote,
    record: &RefRecord,
    condemned: &Condemned,
    needs: &Needs,
    now: u64,
) -> Result<()> {
    // Before the first look: this process may be stopped during that, too.
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

/// The look after the record is visible. The list comes first: what is neither on it nor gone
/// afterwards is removed by no run that began before the record was there.
async fn look_again(remote: &DynRemote, before: &Condemned, needs: &Needs, now: u64) -> Result<()> {
    let condemned = Condemned::read(remote).await?;
    refuse_condemned(&condemned, needs, now)?;
    let all = before.is_stale(now) || needs.doubtful_packs;
    let packs = needs.packs.iter().filter(|_| all);
    let packs = packs.map(|pack| pack::object_key(&pack.id));
    let layers = needs.layers.iter().map(layer::object_key);
    look_at(remote, layers.chain(packs).collect()).await
}

/// Makes sure that all of it is there and will stay, given the list that the saver read when it
/// began. Asks the remote about what is doubtful, and about everything when that was long ago.
///
/// # Errors
///
/// [`Error::BeingCollected`] names what is not; the save can be tried again.
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

/// Refuses when one of these objects is not there.
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
