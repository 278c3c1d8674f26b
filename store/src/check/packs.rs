//! Reading the trailer of every pack, and its frames on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::CheckReport;
use super::finding::{FindingKind, ObjectFault, sort_out};
use super::frames::{LayerNumbers, LayerSets, NeededPack, NeededPacks, digest_frame};
use crate::error::{Error, Result};
use crate::frame::{self, ChunkLocation, FrameLocation};
use crate::id::{ChunkId, PackId, TrailerHash};
use crate::pack::{self, PackRef, Trailer};
use crate::parallel;
use crate::progress::Progress;
use crate::remote::DynRemote;

/// The number of packs that are read at a time.
const PACKS: usize = 4;
/// Frames are fetched in ranges of about this many bytes.
const RANGE: u64 = 8 << 20;

/// The result for one pack.
#[derive(Default)]
struct PackOutcome {
    /// Faults, with the layers whose word is wrong.
    faults: Vec<(ObjectFault, LayerNumbers)>,
    /// Whether the data does not match the pack's own trailer.
    is_damaged: bool,
    frames: u64,
    bytes: u64,
}

/// The hashes that layers give for a trailer, each with the layers that do.
type Hashes<'a> = Vec<(Option<TrailerHash>, &'a LayerNumbers)>;

pub(super) async fn check_packs(
    remote: &DynRemote,
    needed: NeededPacks,
    read_data: bool,
    progress: &dyn Progress,
    report: &mut CheckReport,
) -> Result<()> {
    let NeededPacks {
        saves,
        layers,
        sets,
        packs,
    } = needed;
    let sets = Arc::new(sets);
    let length = |pack: &NeededPack| {
        let lengths = pack.descriptions.keys().map(|it| u64::from(it.0));
        lengths.max().filter(|_| read_data).unwrap_or(0)
    };
    let bytes = packs.values().map(length).sum();
    progress.total(packs.len() as u64, bytes);
    let start = |(id, needed): (PackId, NeededPack)| {
        let (remote, sets) = (remote.clone(), Arc::clone(&sets));
        async move {
            let mut outcome = check_pack(&remote, id, &needed, &sets, read_data).await?;
            if !outcome.faults.is_empty() {
                // It may have been damaged on the way only.
                outcome = check_pack(&remote, id, &needed, &sets, read_data).await?;
            }
            Ok((id, needed, outcome))
        }
    };
    parallel::for_each(PACKS, packs, progress, start, |(id, needed, outcome)| {
        progress.done(1, length(&needed));
        progress.transferred(outcome.bytes);
        report.packs += 1;
        report.frames += outcome.frames;
        report.bytes += outcome.bytes;
        if outcome.is_damaged {
            report.damaged_packs.insert(pack::object_key(&id));
        }
        for (fault, wrong) in outcome.faults {
            let affected = wrong.iter().flat_map(|layer| &layers[*layer as usize]);
            let affected = saves.named(&affected.copied().collect());
            let finding = fault.about(&pack::object_key(&id), affected);
            report.findings.push(finding);
        }
        Ok(())
    })
    .await
}

async fn check_pack(
    remote: &DynRemote,
    id: PackId,
    needed: &NeededPack,
    sets: &LayerSets,
    read_data: bool,
) -> Result<PackOutcome> {
    let mut outcome = PackOutcome::default();
    let object = pack::object_key(&id);
    let head = remote.head(&object).await.map_err(Error::from);
    let size = match sort_out(head)? {
        Ok(info) => info.size,
        Err(fault) => {
            let all = needed.descriptions.values().flatten().copied();
            outcome.faults.push((fault, all.collect()));
            return Ok(outcome);
        }
    };
    let mut places: BTreeMap<(u32, u32), Hashes<'_>> = BTreeMap::new();
    for ((length, trailer, hash), layers) in &needed.descriptions {
        let described = places.entry((*length, *trailer)).or_default();
        described.push((*hash, layers));
    }
    for ((length, trailer), described) in places {
        let place = PackRef {
            id,
            length,
            trailer,
            hash: None,
        };
        let all = || {
            described
                .iter()
                .flat_map(|(_, layers)| layers.iter().copied())
        };
        if let Some(fault) = is_impossible(&place, size) {
            outcome.faults.push((fault, all().collect()));
            continue;
        }
        let read = remote.get_range(&object, place.trailer_range()).await;
        let bytes = match sort_out(read.map_err(Error::from))? {
            Ok(bytes) => bytes,
            Err(fault) => {
                outcome.faults.push((fault, all().collect()));
                continue;
            }
        };
        outcome.bytes += bytes.len() as u64;
        let (mut right, mut trailer) = (LayerNumbers::new(), None);
        for (hash, layers) in &described {
            let pack = PackRef {
                hash: *hash,
                ..place
            };
            match sort_out(Trailer::of(&pack, &bytes))? {
                Ok(read) => {
                    right.extend(*layers);
                    trailer = Some(read);
                }
                Err(fault) => outcome.faults.push((fault, (*layers).clone())),
            }
        }
        let Some(trailer) = trailer else { continue };
        outcome
            .faults
            .extend(compare_trailer(&trailer, &id, needed, sets, &right));
        if read_data {
            let faults = read_frames(remote, &place, &trailer, &mut outcome).await?;
            let is_damaged = |fault: &ObjectFault| fault.kind == FindingKind::Damaged;
            outcome.is_damaged |= faults.iter().any(is_damaged);
            let faults = faults.into_iter().map(|fault| (fault, right.clone()));
            outcome.faults.extend(faults);
        }
    }
    Ok(outcome)
}

/// Why a pack that has `size` bytes cannot be as it is described, if that is so.
fn is_impossible(described: &PackRef, size: u64) -> Option<ObjectFault> {
    let length = u64::from(described.length);
    if described.trailer_range().is_empty() || length > pack::MAX as u64 {
        return Some(ObjectFault::damaged(
            "a layer states an invalid length for it",
        ));
    }
    let detail = format!("it has {size} bytes instead of {length}");
    (size != length).then(|| ObjectFault::damaged(detail))
}

/// Reads a whole pack, and compares each chunk with the name that the trailer has for it.
///
/// # Errors
/// [`Error::Damaged`] with the first thing that is wrong.
pub(crate) async fn verify_pack(remote: &DynRemote, pack: &PackRef) -> Result<()> {
    let first = |fault: Option<ObjectFault>| match fault {
        None => Ok(()),
        Some(fault) => Err(Error::damaged(format!("pack {}", pack.id), fault.detail)),
    };
    let size = remote.head(&pack::object_key(&pack.id)).await?.size;
    first(is_impossible(pack, size))?;
    let (_, trailer) = pack::read_trailer(remote.clone(), *pack).await?;
    let faults = read_frames(remote, pack, &trailer, &mut PackOutcome::default()).await?;
    first(faults.into_iter().next())
}

/// Compares the frames that `layers` look for with those that the pack lists. Frames that only other
/// layers look for are not their fault.
fn compare_trailer(
    trailer: &Trailer,
    id: &PackId,
    needed: &NeededPack,
    sets: &LayerSets,
    layers: &LayerNumbers,
) -> Option<(ObjectFault, LayerNumbers)> {
    let held: BTreeSet<_> = trailer
        .frame_locations(id)
        .map(|frame| digest_frame(&frame))
        .collect();
    let (mut lacking, mut wrong) = (0, LayerNumbers::new());
    let missing = needed
        .frames
        .iter()
        .filter(|(frame, _)| !held.contains(frame));
    for (_, set) in missing {
        let looking = sets.get(*set).intersection(layers);
        let looking: Vec<u32> = looking.copied().collect();
        lacking += u64::from(!looking.is_empty());
        wrong.extend(looking);
    }
    let detail = format!("layers need {lacking} frames that its trailer does not list");
    (lacking > 0).then(|| (ObjectFault::damaged(detail), wrong))
}

/// Reads all frames, and returns their faults.
async fn read_frames(
    remote: &DynRemote,
    pack: &PackRef,
    trailer: &Trailer,
    outcome: &mut PackOutcome,
) -> Result<Vec<ObjectFault>> {
    let object = pack::object_key(&pack.id);
    let mut faults = Vec::new();
    let mut chunks = trailer.chunk_locations(&pack.id).peekable();
    let mut frames = trailer.frame_locations(&pack.id).peekable();
    while let Some(first) = frames.next() {
        let mut range = first.range();
        let mut batch = vec![first];
        while let Some(next) = frames.next_if(|next| {
            next.range().start == range.end && next.range().end - range.start <= RANGE
        }) {
            range.end = next.range().end;
            batch.push(next);
        }
        let batch: Vec<_> = batch
            .into_iter()
            .map(|frame| {
                let mut held = Vec::new();
                while let Some(chunk) = chunks.next_if(|(_, at)| at.frame == frame) {
                    held.push(chunk);
                }
                (frame, held)
            })
            .collect();
        let bytes = match sort_out(
            remote
                .get_range(&object, range.clone())
                .await
                .map_err(Error::from),
        )? {
            Ok(bytes) => bytes,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        outcome.bytes += bytes.len() as u64;
        outcome.frames += batch.len() as u64;
        faults.extend(
            parallel::run_blocking(move || Ok(verify_frames(&bytes, &range, &batch))).await?,
        );
    }
    Ok(faults)
}

/// Decodes frames and hashes the chunks in them.
fn verify_frames(
    bytes: &[u8],
    range: &Range<u64>,
    batch: &[(FrameLocation, Vec<(ChunkId, ChunkLocation)>)],
) -> Vec<ObjectFault> {
    let mut faults = Vec::new();
    for (frame, chunks) in batch {
        let start = (frame.range().start - range.start) as usize;
        let stored = bytes
            .get(start..start + frame.stored as usize)
            .unwrap_or_default();
        match frame::decode_frame(stored, &frame.hash, frame.codec, frame.raw) {
            Err(error) => {
                faults.push(ObjectFault::damaged(format!(
                    "at offset {}: {error}",
                    frame.offset
                )));
            }
            Ok(raw) => {
                let is_chunk = |(id, at): &&(ChunkId, ChunkLocation)| {
                    let bytes = raw.get(at.offset as usize..(at.offset + at.length) as usize);
                    bytes.is_some_and(|bytes| ChunkId::of(bytes) == *id)
                };
                let wrong = chunks.len() - chunks.iter().filter(is_chunk).count();
                if wrong > 0 {
                    let at = frame.offset;
                    let detail = format!("at offset {at}: {wrong} chunks differ from the trailer");
                    faults.push(ObjectFault::damaged(detail));
                }
            }
        }
    }
    faults
}
