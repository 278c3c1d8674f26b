//! A saver's last look before it publishes.

use std::collections::BTreeSet;

use super::condemned::Condemned;
use crate::error::{Error, Result};
use crate::id::LayerId;
use crate::layer;
use crate::pack::{self, PackRef};
use crate::remote::{DynRemote, ObjectKey, RemoteErrorKind};
use crate::task::join_all;

/// What a ref that is about to be published leads to.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The layers of its stack.
    pub layers: Vec<LayerId>,
    /// Those of them that no ref was seen to name within the last half of the
    /// [`LEASE`](super::LEASE).
    pub doubtful: Vec<LayerId>,
    /// The packs that its own layer refers to, besides those of the stack below.
    pub packs: Vec<PackRef>,
}

/// Makes sure that all of it is there and will stay, given the list that the saver read when it
/// began. Asks the remote about what is doubtful, and about everything when that was long ago.
///
/// # Errors
///
/// [`Error::BeingCollected`] names what is not; the save can be tried again.
pub async fn confirm(
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
    let collected = |what: String| Err(Error::BeingCollected { what });
    if let Some(layer) = condemned.layer_about_to_go(needs.layers.iter().copied(), now) {
        return collected(format!("layer {layer}"));
    }
    let packs = needs.packs.iter().map(|pack| pack.id);
    if let Some(pack) = condemned.pack_about_to_go(packs, now) {
        return collected(format!("pack {pack}"));
    }
    let objects: BTreeSet<ObjectKey> = if is_long {
        let packs = needs.packs.iter().map(|pack| pack::object_key(&pack.id));
        let layers = needs.layers.iter().map(layer::object_key);
        layers.chain(packs).collect()
    } else {
        needs.doubtful.iter().map(layer::object_key).collect()
    };
    let heads = objects.into_iter().map(|object| {
        let remote = remote.clone();
        async move { (remote.head(&object).await, object) }
    });
    for (head, object) in join_all(heads).await {
        match head {
            Ok(_) => {}
            Err(error) if error.kind() == RemoteErrorKind::NotFound => {
                return collected(object.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
