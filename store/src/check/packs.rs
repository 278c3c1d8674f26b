//! Reading the trailer of every pack, and its frames on demand.

use std::ops::Range;
use std::sync::Arc;

use super::CheckReport;
use super::finding::{Fault, FindingKind, KeyNumbers, sort_out};
use super::frames::{NeededPack, NeededPacks, digest};
use crate::error::{Error, Result};
use crate::frame::{self, ChunkLocation, FrameLocation};
use crate::id::{ChunkId, PackId};
use crate::pack::{self, PackRef, Trailer};
use crate::parallel;
use crate::remote::DynRemote;
use crate::save::Progress;

/// So many packs are read at a time.
const PACKS: usize = 4;
/// Frames are fetched in ranges of about this many bytes.
const RANGE: u64 = 8 << 20;

/// What was found out about the data of a pack.
#[derive(Default)]
struct Outcome {
    faults: Vec<Fault>,
    frames: u64,
    bytes: u64,
}

pub(super) async fn check(
    remote: &DynRemote,
    needed: NeededPacks,
    read_data: bool,
    progress: &dyn Progress,
    report: &mut CheckReport,
) -> Result<()> {
    let NeededPacks {
        keys,
        packs,
        layers,
    } = needed;
    let length = |pack: &NeededPack| match read_data {
        true => pack
            .descriptions
            .keys()
            .map(|(length, ..)| u64::from(*length))
            .max(),
        false => None,
    };
    let bytes = packs.values().filter_map(length).sum();
    progress.total(packs.len() as u64, bytes);
    let layers = Arc::new(layers);
    let start = |(id, needed): (PackId, NeededPack)| {
        let (remote, layers) = (remote.clone(), Arc::clone(&layers));
        let length = length(&needed).unwrap_or(0);
        async move {
            let checked = check_pack(&remote, id, &needed, &layers, read_data).await?;
            Ok((id, length, checked))
        }
    };
    parallel::for_each(PACKS, packs, progress, start, |(id, length, checked)| {
        progress.done(1, length);
        progress.transferred(checked.bytes);
        report.packs += 1;
        report.frames += checked.frames;
        report.bytes += checked.bytes;
        let object = pack::object_key(&id);
        let findings = checked
            .faults
            .into_iter()
            .map(|(fault, needing)| fault.about(&object, keys.named(&needing)));
        report.findings.extend(findings);
        if checked.is_damaged {
            report.damaged_packs.insert(object);
        }
        Ok(())
    })
    .await
}

/// What was found out about a pack and the layers that refer to it.
#[derive(Default)]
struct Checked {
    /// What is wrong, and the keys that it is wrong for.
    faults: Vec<(Fault, KeyNumbers)>,
    /// Whether the data is not what the pack's own trailer says.
    is_damaged: bool,
    frames: u64,
    bytes: u64,
}

impl Checked {
    fn add(&mut self, fault: Fault, keys: &KeyNumbers) {
        match self.faults.iter_mut().find(|(known, _)| *known == fault) {
            Some((_, known)) => known.extend(keys),
            None => self.faults.push((fault, keys.clone())),
        }
    }
}

async fn check_pack(
    remote: &DynRemote,
    id: PackId,
    needed: &NeededPack,
    layers: &[KeyNumbers],
    read_data: bool,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut is_read = false;
    for ((length, trailer, hash), keys) in &needed.descriptions {
        let described = PackRef {
            id,
            length: *length,
            trailer: *trailer,
            hash: *hash,
        };
        let trailer = match sort_out(read_trailer(remote, &described).await)? {
            Ok(trailer) => trailer,
            Err(fault) => {
                checked.add(fault, keys);
                continue;
            }
        };
        checked.bytes += trailer.encoded_len() as u64;
        // The pack has one trailer: descriptions that fit it differ in what they leave unsaid.
        if std::mem::replace(&mut is_read, true) {
            continue;
        }
        let held = trailer.frame_locations(&id).map(|frame| digest(&frame));
        let (lacking, wrong) = needed.lacking(&held.collect());
        if lacking > 0 {
            let detail = format!("layers look for {lacking} frames that its trailer does not list");
            let keys = wrong.iter().flat_map(|layer| &layers[*layer as usize]);
            checked.add(Fault::damaged(detail), &keys.copied().collect());
        }
        if read_data {
            let mut outcome = Outcome::default();
            read_frames(remote, &described, &trailer, &mut outcome).await?;
            checked.frames += outcome.frames;
            checked.bytes += outcome.bytes;
            let damaged = |fault: &Fault| fault.kind == FindingKind::Damaged;
            checked.is_damaged |= outcome.faults.iter().any(damaged);
            for fault in outcome.faults {
                checked.add(fault, &needed.keys());
            }
        }
    }
    Ok(checked)
}

/// Reads a whole pack, and compares each chunk with the name that the trailer has for it.
///
/// # Errors
/// [`Error::Damaged`] with the first thing that is wrong.
pub(crate) async fn verify_pack(remote: &DynRemote, pack: &PackRef) -> Result<()> {
    let trailer = read_trailer(remote, pack).await?;
    let mut outcome = Outcome::default();
    read_frames(remote, pack, &trailer, &mut outcome).await?;
    match outcome.faults.into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(Error::damaged(format!("pack {}", pack.id), fault.detail)),
    }
}

async fn read_trailer(remote: &DynRemote, pack: &PackRef) -> Result<Trailer> {
    let damaged = |detail: String| Error::damaged(format!("pack {}", pack.id), detail);
    let range = pack.trailer_range();
    if range.is_empty() || u64::from(pack.length) > pack::MAX as u64 {
        return Err(damaged("a layer gives it an impossible length".to_owned()));
    }
    let object = pack::object_key(&pack.id);
    let size = remote.head(&object).await?.size;
    if size != u64::from(pack.length) {
        return Err(damaged(format!(
            "it has {size} bytes instead of {}",
            pack.length
        )));
    }
    Trailer::of(pack, &remote.get_range(&object, range).await?)
}

async fn read_frames(
    remote: &DynRemote,
    pack: &PackRef,
    trailer: &Trailer,
    outcome: &mut Outcome,
) -> Result<()> {
    let object = pack::object_key(&pack.id);
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
                outcome.faults.push(fault);
                continue;
            }
        };
        outcome.bytes += bytes.len() as u64;
        outcome.frames += batch.len() as u64;
        let faults = parallel::compute(move || Ok(verify(&bytes, &range, &batch))).await?;
        outcome.faults.extend(faults);
    }
    Ok(())
}

/// Decodes frames and hashes the chunks in them.
fn verify(
    bytes: &[u8],
    range: &Range<u64>,
    batch: &[(FrameLocation, Vec<(ChunkId, ChunkLocation)>)],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (frame, chunks) in batch {
        let start = (frame.range().start - range.start) as usize;
        let stored = bytes
            .get(start..start + frame.stored as usize)
            .unwrap_or_default();
        match frame::decode(stored, &frame.hash, frame.codec, frame.raw) {
            Err(error) => {
                faults.push(Fault::damaged(format!(
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
                    let detail =
                        format!("at offset {at}: {wrong} chunks are not what the trailer says");
                    faults.push(Fault::damaged(detail));
                }
            }
        }
    }
    faults
}
