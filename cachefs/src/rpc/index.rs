//! The index behind the socket.

use cachefs_store::frame::{ChunkLocation, Codec, FrameLocation};
use cachefs_store::id::{ChunkId, DomainId, FrameHash, PackId, TrailerHash};
use cachefs_store::index::{ChunkIndex, Indexed};
use cachefs_store::pack::{PackRef, Trailer};
use cachefs_store::{Error as StoreError, Result as StoreResult};
use parking_lot::Mutex;

use super::client::{DaemonClient, RequestAttachment};
use super::request::{
    HasPackRequest, InsertRequest, LookupRequest, NamedPack, RemovePackRequest, Request,
};
use crate::error::{Result, describe_chain};
use crate::store_dir::StoreDir;

/// Length of one answer to a lookup.
const RECORD: usize = 112;

/// Reads chunk ids from a payload; `None` when its length is wrong.
pub(crate) fn decode_ids(payload: &[u8]) -> Option<Vec<ChunkId>> {
    let (ids, rest) = payload.as_chunks::<32>();
    rest.is_empty()
        .then(|| ids.iter().copied().map(ChunkId).collect())
}

/// Writes where chunks are: 112 bytes each, all zero for one that is unknown.
pub(crate) fn encode_indexed(found: &[Option<Indexed>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(found.len() * RECORD);
    for indexed in found {
        let end = out.len() + RECORD;
        if let Some(Indexed { location, pack }) = indexed {
            let frame = &location.frame;
            out.extend_from_slice(&[1, frame.codec as u8, 0, 0]);
            out.extend_from_slice(&pack.id.0);
            out.extend_from_slice(&frame.hash.0);
            let numbers = [
                pack.length,
                pack.trailer,
                frame.offset,
                frame.stored,
                frame.raw,
                location.offset,
                location.length,
            ];
            for number in numbers {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend(pack.hash.iter().flat_map(|hash| hash.0));
        }
        out.resize(end, 0);
    }
    out
}

fn decode_indexed(record: &[u8; RECORD]) -> Option<Indexed> {
    if record[0] != 1 {
        return None;
    }
    let number = |index: usize| {
        let at = 52 + index * 4;
        u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
    };
    let id = PackId(record[4..20].try_into().ok()?);
    let frame = FrameLocation {
        pack: id,
        offset: number(2),
        stored: number(3),
        raw: number(4),
        codec: Codec::from_number(record[1])?,
        hash: FrameHash(record[20..52].try_into().ok()?),
    };
    Some(Indexed {
        location: ChunkLocation {
            frame,
            offset: number(5),
            length: number(6),
        },
        pack: PackRef {
            id,
            length: number(0),
            trailer: number(1),
            hash: Some(TrailerHash(record[80..112].try_into().ok()?)),
        },
    })
}

/// The daemon's index, for saves in other processes. Each thread borrows a connection.
pub(crate) struct IndexOverSocket {
    store: StoreDir,
    idle: Mutex<Vec<DaemonClient>>,
}

impl IndexOverSocket {
    /// Connects once, so that the daemon runs before many threads need it at the same time.
    pub(crate) fn connect(store: StoreDir) -> Result<Self> {
        // No share lets its clients look up chunks of other repositories.
        let store = store.with_own_daemon();
        let first = DaemonClient::connect(&store)?;
        Ok(Self {
            store,
            idle: Mutex::new(vec![first]),
        })
    }

    fn call<R: Request>(&self, request: R, payload: &[u8]) -> StoreResult<(R::Reply, Vec<u8>)> {
        let run = || -> Result<_> {
            let idle = self.idle.lock().pop();
            let mut client = match idle {
                Some(client) => client,
                None => DaemonClient::connect(&self.store)?,
            };
            let answer = client.call_with(request, RequestAttachment::Payload(payload))?;
            self.idle.lock().push(client);
            Ok(answer)
        };
        run().map_err(|error| StoreError::Index(describe_chain(&error)))
    }
}

impl ChunkIndex for IndexOverSocket {
    fn lookup(
        &self,
        domains: &[DomainId],
        chunks: &[ChunkId],
    ) -> StoreResult<Vec<Option<Indexed>>> {
        let payload: Vec<u8> = chunks.iter().flat_map(|id| id.0).collect();
        let domains = domains.to_vec();
        let ((), found) = self.call(LookupRequest { domains }, &payload)?;
        let (records, rest) = found.as_chunks::<RECORD>();
        if records.len() != chunks.len() || !rest.is_empty() {
            let message = "the daemon sent an answer of the wrong length";
            return Err(StoreError::Index(message.to_owned()));
        }
        Ok(records.iter().map(decode_indexed).collect())
    }

    fn has_pack(&self, domains: &[DomainId], pack: &PackRef) -> StoreResult<bool> {
        let Some(hash) = pack.hash else {
            return Ok(false);
        };
        let request = HasPackRequest {
            domains: domains.to_vec(),
            pack: name_pack(pack, hash),
        };
        self.call(request, &[]).map(|(found, _)| found)
    }

    fn insert(&self, domain: &DomainId, pack: &PackRef, trailer: &Trailer) -> StoreResult<()> {
        let mut payload = Vec::with_capacity(trailer.encoded_len());
        trailer.encode(&mut payload);
        let hash = pack.hash.unwrap_or_else(|| TrailerHash::of(&payload));
        let request = InsertRequest {
            domain: *domain,
            pack: name_pack(pack, hash),
        };
        self.call(request, &payload).map(drop)
    }

    fn remove(&self, domains: &[DomainId], pack: &PackId) -> StoreResult<()> {
        let request = RemovePackRequest {
            domains: domains.to_vec(),
            pack: *pack,
        };
        self.call(request, &[]).map(drop)
    }
}

fn name_pack(pack: &PackRef, hash: TrailerHash) -> NamedPack {
    NamedPack {
        pack: pack.id,
        length: pack.length,
        trailer: pack.trailer,
        hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_round_trip() {
        let id = PackId::random();
        let frame = FrameLocation {
            pack: id,
            offset: 8,
            stored: 100,
            raw: 200,
            codec: Codec::Zstd,
            hash: FrameHash([7; 32]),
        };
        let indexed = Indexed {
            location: ChunkLocation {
                frame,
                offset: 3,
                length: 4,
            },
            pack: PackRef {
                id,
                length: 1000,
                trailer: 900,
                hash: Some(TrailerHash([8; 32])),
            },
        };
        let bytes = encode_indexed(&[None, Some(indexed)]);
        let (records, rest) = bytes.as_chunks::<RECORD>();
        assert!(rest.is_empty());
        let decoded: Vec<_> = records.iter().map(decode_indexed).collect();
        assert_eq!(decoded, [None, Some(indexed)]);
    }
}
