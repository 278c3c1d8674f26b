//! The bytes of a trace.

use std::collections::BTreeSet;

use bytes::Bytes;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{MAX_BUNDLE, MAX_FRAMES, MAX_IDLE};
use crate::error::{Error, Result};
use crate::frame::{self, Codec, FrameLocation};
use crate::id::{FrameHash, PackId};

const MAGIC: [u8; 8] = *b"CFSTRAC1";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TraceHead {
    magic: [u8; 8],
    frames: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TraceRecord {
    hash: FrameHash,
    pack: PackId,
    offset: U32,
    stored: U32,
    raw: U32,
    codec: u8,
    idle: u8,
    bundled: u8,
    reserved: u8,
}

/// A frame of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceEntry {
    /// The frame.
    pub frame: FrameLocation,
    /// How many published runs in a row have not read it.
    pub idle: u8,
}

/// Frames in the order of their first reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// No frame twice.
    pub entries: Vec<TraceEntry>,
}

fn damaged_trace(detail: &str) -> Error {
    Error::damaged("a trace", detail)
}

impl Trace {
    /// Returns the trace after one more run: first the frames of that run in their order, then
    /// those of earlier runs.
    pub fn after(&self, run: &[FrameLocation]) -> Self {
        let mut seen = std::collections::HashSet::new();
        let mut entries: Vec<_> = run
            .iter()
            .filter(|frame| seen.insert(frame.hash))
            .map(|frame| TraceEntry {
                frame: *frame,
                idle: 0,
            })
            .collect();
        for entry in &self.entries {
            let idle = entry.idle + 1;
            if idle <= MAX_IDLE && seen.insert(entry.frame.hash) {
                let frame = entry.frame;
                entries.push(TraceEntry { frame, idle });
            }
        }
        entries.truncate(MAX_FRAMES);
        Self { entries }
    }

    /// Encodes the trace and the frames' stored bytes, as far as `stored` has them.
    pub fn encode(&self, mut stored: impl FnMut(&FrameLocation) -> Option<Vec<u8>>) -> Bytes {
        let head = TraceHead {
            magic: MAGIC,
            frames: U32::new(self.entries.len() as u32),
            reserved: U32::ZERO,
        };
        let mut out = head.as_bytes().to_vec();
        let mut bundle = Vec::new();
        for entry in &self.entries {
            let frame = &entry.frame;
            let has_room = bundle.len() as u64 + u64::from(frame.stored) <= MAX_BUNDLE;
            let bytes = if has_room { stored(frame) } else { None };
            let record = TraceRecord {
                hash: frame.hash,
                pack: frame.pack,
                offset: U32::new(frame.offset),
                stored: U32::new(frame.stored),
                raw: U32::new(frame.raw),
                codec: frame.codec as u8,
                idle: entry.idle,
                bundled: u8::from(bytes.is_some()),
                reserved: 0,
            };
            out.extend_from_slice(record.as_bytes());
            bundle.extend(bytes.into_iter().flatten());
        }
        out.append(&mut bundle);
        out.into()
    }

    /// Decodes a trace, and passes the stored bytes of each bundled frame to `bundled`. Frames
    /// whose bytes do not match their hash are skipped.
    pub fn decode(object: &Bytes, mut bundled: impl FnMut(&FrameLocation, Bytes)) -> Result<Self> {
        let (records, bundle) = frame_records(object)?;
        let mut at = object.len() - bundle.len();
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            let (stored, raw) = (record.stored.get(), record.raw.get());
            let codec = Codec::from_number(record.codec)
                .filter(|_| stored > 0 && raw > 0)
                .filter(|_| stored.max(raw) as usize <= frame::MAX_RAW)
                .ok_or_else(|| damaged_trace("it lists an invalid frame"))?;
            let frame = FrameLocation {
                pack: record.pack,
                offset: record.offset.get(),
                stored,
                raw,
                codec,
                hash: record.hash,
            };
            entries.push(TraceEntry {
                frame,
                idle: record.idle,
            });
            if record.bundled != 0 {
                let end = at + stored as usize;
                if end > object.len() {
                    return Err(damaged_trace("its frames are truncated"));
                }
                let bytes = object.slice(at..end);
                if FrameHash::of(&bytes) == frame.hash {
                    bundled(&frame, bytes);
                }
                at = end;
            }
        }
        Ok(Self { entries })
    }
}

/// The number of frames that a trace says it has.
fn frame_count(head: &TraceHead) -> Result<usize> {
    if head.magic != MAGIC {
        return Err(damaged_trace("wrong magic number"));
    }
    let count = head.frames.get() as usize;
    if count > MAX_FRAMES {
        return Err(damaged_trace("it lists too many frames"));
    }
    Ok(count)
}

/// Splits an object into its list of frames and the bundled bytes.
fn frame_records(object: &[u8]) -> Result<(&[TraceRecord], &[u8])> {
    let (head, rest) = TraceHead::ref_from_prefix(object)
        .map_err(|_| damaged_trace("it is shorter than its header"))?;
    <[TraceRecord]>::ref_from_prefix_with_elems(rest, frame_count(head)?)
        .map_err(|_| damaged_trace("its list is truncated"))
}

/// Length of a trace's head.
pub(super) const HEAD: u64 = size_of::<TraceHead>() as u64;

/// Length of a trace's head and list, by its head.
pub(super) fn list_length(head: &[u8]) -> Result<u64> {
    let (head, _) = TraceHead::ref_from_prefix(head)
        .map_err(|_| damaged_trace("it is shorter than its header"))?;
    Ok(HEAD + (frame_count(head)? * size_of::<TraceRecord>()) as u64)
}

/// The packs that the frames of a trace's list are in.
pub(super) fn list_packs(list: &[u8]) -> Result<BTreeSet<PackId>> {
    let (records, _) = frame_records(list)?;
    Ok(records.iter().map(|record| record.pack).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u8, bytes: &[u8]) -> FrameLocation {
        FrameLocation {
            pack: PackId([number; 16]),
            offset: u32::from(number) * 100,
            stored: bytes.len() as u32,
            raw: bytes.len() as u32,
            codec: Codec::Raw,
            hash: FrameHash::of(bytes),
        }
    }

    fn entries(trace: &Trace) -> Vec<(u8, u8)> {
        let entries = trace.entries.iter();
        entries
            .map(|entry| (entry.frame.pack.0[0], entry.idle))
            .collect()
    }

    #[test]
    fn a_trace_and_its_frames_survive_encoding() {
        let trace = Trace::default().after(&[frame(2, b"two"), frame(1, b"one"), frame(2, b"two")]);
        assert_eq!(entries(&trace), [(2, 0), (1, 0)]);
        let object = trace.encode(|frame| (frame.pack.0[0] == 1).then(|| b"one".to_vec()));
        let mut bundled = Vec::new();
        let decoded = Trace::decode(&object, |frame, bytes| bundled.push((*frame, bytes))).unwrap();
        assert_eq!(decoded, trace);
        let length = list_length(&object[..HEAD as usize]).unwrap() as usize;
        let listed = list_packs(&object[..length]).unwrap();
        assert_eq!(Vec::from_iter(listed), [PackId([1; 16]), PackId([2; 16])]);
        assert_eq!(bundled, [(frame(1, b"one"), Bytes::from_static(b"one"))]);
    }

    #[test]
    fn what_no_run_reads_any_more_is_dropped_in_time() {
        let mut trace = Trace::default().after(&[frame(1, b"one"), frame(2, b"two")]);
        for run in 1..=MAX_IDLE {
            trace = trace.after(&[frame(2, b"two")]);
            assert_eq!(entries(&trace), [(2, 0), (1, run)]);
        }
        assert_eq!(entries(&trace.after(&[frame(2, b"two")])), [(2, 0)]);
    }

    #[test]
    fn damage_is_noticed() {
        let trace = Trace::default().after(&[frame(1, b"one")]);
        let object = trace.encode(|_| Some(b"one".to_vec()));
        for length in 0..object.len() {
            assert!(Trace::decode(&object.slice(..length), |_, _| ()).is_err());
        }
        let mut other = object.to_vec();
        *other.last_mut().unwrap() ^= 1;
        let decoded = Trace::decode(&other.into(), |_, _| panic!("it has another hash")).unwrap();
        assert_eq!(decoded, trace);
        assert!(Trace::decode(&Bytes::from_static(&[0; 64]), |_, _| ()).is_err());
    }
}
