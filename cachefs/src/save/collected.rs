//! Making sure, right before a save is published, that the collector leaves what it names.
//!
//! Why these looks are enough is told in `docs/gc.md`.

use std::collections::HashSet;

use cachefs_store::gc::{Condemned, LEASE};
use cachefs_store::id::LayerId;
use cachefs_store::layer;
use cachefs_store::pack::PackRef;
use cachefs_store::refs::LayerInfo;
use cachefs_store::remote::RemoteErrorKind;
use cachefs_store::save::{Packed, Target as _};
use tokio::task::JoinSet;

use super::Context;
use super::publish::now_micros;
use super::source::Source;
use crate::error::Result;

/// Refuses to publish a stack that may lack layers or packs.
///
/// `named` are the layers that the key's records named when the save began: those are there. What
/// else the path was restored with is looked for, unless that was just now. A save that took long
/// looks at everything again.
pub(super) fn confirm(
    context: &Context<'_>,
    source: &Source,
    named: &HashSet<LayerId>,
    stack: &[LayerInfo],
    packed: &Packed,
) -> Result<()> {
    let now = now_micros();
    let is_long = context.target.condemned.is_stale(now);
    let again;
    let condemned = if is_long {
        again = context.runtime.block_on(Condemned::read(&context.remote))?;
        &again
    } else {
        &*context.target.condemned
    };
    let ids = || stack.iter().map(|layer| layer.id);
    let packs = || packed.new_packs.iter().chain(packed.known_packs.values());
    if let Some(layer) = condemned.layer_about_to_go(ids(), now) {
        return Err(collected(format!("layer {layer}")));
    }
    if let Some(pack) = condemned.pack_about_to_go(packs().map(|pack| pack.id), now) {
        return Err(collected(format!("pack {pack}")));
    }
    let since = source.record.as_ref().map_or(now, |record| record.restored);
    let is_old = u128::from(now.saturating_sub(since)) > LEASE.as_micros() / 2;
    let doubtful: Vec<LayerId> = if is_long {
        ids().collect()
    } else if is_old {
        let base = source.base.iter().map(|layer| layer.id);
        base.filter(|layer| !named.contains(layer)).collect()
    } else {
        Vec::new()
    };
    if let Some(layer) = first_missing(context, doubtful)? {
        return Err(collected(format!("layer {layer}")));
    }
    if is_long {
        let packs: Vec<PackRef> = packs().copied().collect();
        if let Some(pack) = context.target.confirm(&packs)?.first() {
            return Err(collected(format!("pack {}", pack.id)));
        }
    }
    Ok(())
}

fn collected(what: String) -> crate::error::Error {
    cachefs_store::Error::BeingCollected { what }.into()
}

/// The first layer that the remote does not have. All are asked for at once.
fn first_missing(context: &Context<'_>, layers: Vec<LayerId>) -> Result<Option<LayerId>> {
    context.runtime.block_on(async {
        let mut heads = JoinSet::new();
        for id in layers {
            let remote = context.remote.clone();
            heads.spawn(async move { (id, remote.head(&layer::object_key(&id)).await) });
        }
        while let Some(joined) = heads.join_next().await {
            match joined.map_err(|_| cachefs_store::Error::Cancelled)? {
                (_, Ok(_)) => {}
                (id, Err(error)) if error.kind() == RemoteErrorKind::NotFound => {
                    return Ok(Some(id));
                }
                (_, Err(error)) => return Err(cachefs_store::Error::from(error).into()),
            }
        }
        Ok(None)
    })
}
