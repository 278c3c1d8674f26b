//! Whether the remote still has the packs that a stack needs.
//!
//! A record never names a pack that was not stored before, but something outside of cachefs may
//! delete packs: most often a lifecycle rule of the bucket, which deletes objects by age. Reads of
//! such a stack would fail with an I/O error in the middle of a build. This check detects the loss
//! before a restore, with few requests:
//!
//! - in a remote on a local disk, all packs are checked, which takes some microseconds each;
//! - in a bucket only packs that a reader missed before, and, if the bottom layer is older than
//!   [`RULE_PERIOD`], one pack of it. Rules that delete by age take the oldest objects first. All
//!   packs are checked only if one of these is missing.
//!
//! A pack that a reader found damaged is read and verified: see [`LostPacks`].

use std::collections::HashSet;
use std::sync::Arc;

use super::packs::verify_pack;
use crate::error::Result;
use crate::id::{PackId, SaveId};
use crate::layer::Layer;
use crate::local::LostPacks;
use crate::pack::{self, PackRef};
use crate::parallel;
use crate::progress::Silent;
use crate::refs::LayerInfo;
use crate::remote::{DynRemote, RemoteErrorKind};

/// Lifecycle rules of S3, Google Cloud Storage and Azure count in days.
const RULE_PERIOD: u64 = 24 * 3600 * 1_000_000;
/// The number of packs that are asked for at a time.
const REQUESTS: usize = 16;

/// The number of packs that are read and verified at a time.
const READS: usize = 2;

/// Packs that a stack needs and the remote does not have intact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// The packs that are missing, sorted.
    pub packs: Vec<PackId>,
    /// The packs that are there and damaged, sorted.
    pub damaged: Vec<PackId>,
    /// The number of packs that the stack needs.
    pub needed: usize,
}

impl Missing {
    /// Whether nothing is known to be missing or damaged.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.damaged.is_empty()
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (packs, trouble) = match self.packs.is_empty() {
            true => (&self.damaged, "has damaged data in"),
            false => (&self.packs, "no longer has"),
        };
        write!(
            f,
            "the remote {trouble} {} of the {} packs that it needs",
            packs.len(),
            self.needed
        )?;
        match packs.first() {
            Some(pack) => write!(f, ", such as {}", pack::object_key(pack)),
            None => Ok(()),
        }
    }
}

/// Finds packs of a stack that the remote no longer has, or has damaged. `infos` describe `layers`, in
/// order.
///
/// An outage is not a loss: packs whose state cannot be determined count as intact.
///
/// # Errors
///
/// When a layer's list of packs is damaged.
pub async fn find_missing(
    remote: &DynRemote,
    infos: &[LayerInfo],
    layers: &[Arc<Layer>],
    lost: &LostPacks,
) -> Result<Missing> {
    let mut packs = Vec::new();
    let mut suspects = HashSet::new();
    let mut first = None;
    let any_damaged = lost.has_damaged();
    // If layers disagree, one is wrong. We use the smallest length: a pack that is shorter is
    // incomplete for all of them.
    for layer in layers {
        let own = layer.packs()?;
        first = first.or(own.first().map(|pack| pack.id));
        suspects.extend(
            own.iter()
                .filter(|pack| any_damaged && lost.may_be_damaged(pack)),
        );
        packs.extend(own.into_iter().map(|pack| (pack.id, pack.length)));
    }
    packs.sort_unstable();
    packs.dedup_by_key(|(id, _)| *id);
    let needed = packs.len();
    let mut missing = Missing {
        packs: Vec::new(),
        damaged: damaged(remote, suspects, lost).await?,
        needed,
    };
    if remote.local_dir().is_none() {
        let noted = lost.read();
        let is_suspect =
            |(id, _): &(PackId, u32)| noted.contains(id) || (first == Some(*id) && is_old(infos));
        let suspects: Vec<_> = packs.iter().copied().filter(is_suspect).collect();
        let gone = find_absent_packs(remote, suspects.clone()).await?;
        for (back, _) in suspects.iter().filter(|(id, _)| !gone.contains(id)) {
            lost.remove(back);
        }
        if gone.is_empty() {
            return Ok(missing);
        }
    }
    missing.packs = find_absent_packs(remote, packs)
        .await?
        .into_iter()
        .collect();
    missing.packs.sort_unstable();
    Ok(missing)
}

/// Whether [`find_missing`] would ask the remote about this stack at all, unless it needs none of the
/// packs that were lost. For callers that would have to open the layers first.
pub fn may_be_missing(remote: &DynRemote, infos: &[LayerInfo], lost: &LostPacks) -> bool {
    remote.local_dir().is_some() || is_old(infos) || !lost.read().is_empty() || lost.has_damaged()
}

/// Whether rules that delete by age can have come to the bottom layer.
fn is_old(infos: &[LayerInfo]) -> bool {
    let now = SaveId::now().micros;
    let bottom = infos.first();
    bottom.is_some_and(|info| now.saturating_sub(info.created) > RULE_PERIOD)
}

/// The packs for which the remote answers that they are not there, or that they are shorter than
/// their length in bytes, which goes with each.
async fn find_absent_packs(
    remote: &DynRemote,
    packs: Vec<(PackId, u32)>,
) -> Result<HashSet<PackId>> {
    let mut absent = HashSet::new();
    let start = |(id, length): (PackId, u32)| {
        let remote = remote.clone();
        async move {
            let head = remote.head(&pack::object_key(&id)).await;
            let is_absent = match head {
                // A power cut leaves an empty or a short pack.
                Ok(info) => info.size < u64::from(length),
                Err(error) => error.kind() == RemoteErrorKind::NotFound,
            };
            Ok((id, is_absent))
        }
    };
    parallel::for_each(REQUESTS, packs, &Silent, start, |(id, is_absent)| {
        if is_absent {
            absent.insert(id);
        }
        Ok(())
    })
    .await?;
    Ok(absent)
}

/// The packs that do not match their trailers.
async fn damaged(
    remote: &DynRemote,
    suspects: HashSet<PackRef>,
    lost: &LostPacks,
) -> Result<Vec<PackId>> {
    let mut damaged = Vec::new();
    let start = |pack: PackRef| {
        let (remote, lost) = (remote.clone(), lost.clone());
        async move { Ok((pack.id, is_damaged(&remote, &pack, &lost).await)) }
    };
    parallel::for_each(READS, suspects, &Silent, start, |(id, is_damaged)| {
        if is_damaged {
            damaged.push(id);
        }
        Ok(())
    })
    .await?;
    damaged.sort_unstable();
    damaged.dedup();
    Ok(damaged)
}

/// Reads a pack that is on record as damaged, and returns whether it is. An outage does not count
/// as damage.
pub(crate) async fn is_damaged(remote: &DynRemote, pack: &PackRef, lost: &LostPacks) -> bool {
    match verify_pack(remote, pack).await {
        Ok(()) => {
            lost.note_intact(pack);
            false
        }
        Err(error) => error.is_damaged(),
    }
}
