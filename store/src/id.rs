//! Identifiers: hashes of immutable objects, random names, and their text forms.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The text was not the lowercase hexadecimal form of the identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected} hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    expected: usize,
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = || ParseIdError {
        text: text.to_owned(),
        expected: N * 2,
    };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16).ok_or_else(error)?;
        let low = char::from(pair[1]).to_digit(16).ok_or_else(error)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable,
            KnownLayout, Unaligned,
        )]
        #[repr(C)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0[..6], f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Names a chunk: the BLAKE3 hash of its raw bytes.
    ChunkId, 32
}

id! {
    /// Verifies a frame: the BLAKE3 hash of its stored (compressed) bytes, so that damage is
    /// found before a decoder sees it.
    FrameHash, 32
}

id! {
    /// Names a layer: the BLAKE3 hash of its head, which holds the hash of every page.
    LayerId, 32
}

id! {
    /// Names a stack of layers: the BLAKE3 hash of their names, the bottom one first.
    StackId, 32
}

id! {
    /// Names a pack: 128 random bits, never used twice.
    ///
    /// Random rather than derived from the content, so that a pack that collection has condemned
    /// can never come back to life under the same name.
    PackId, 16
}

id! {
    /// Binds a pack's trailer to the layers that refer to the pack: the BLAKE3 hash of all its bytes,
    /// from its offset to the end of the pack.
    TrailerHash, 32
}

id! {
    /// Names where a remote is: the hash of its server, bucket and prefix, or of its directory.
    PlaceId, 16
}

id! {
    /// Identifies a client of a remote: a hash of its credentials, or of the settings that lead to
    /// them.
    ClientId, 16
}

id! {
    /// Identifies a part of the local index whose savers trust the same packs: one scope of a
    /// repository in a remote, with one identity.
    DomainId, 16
}

id! {
    /// Names one cachefs repository in a remote: 128 random bits made when it is first written.
    RepoId, 16
}

impl StackId {
    /// Names the stack of these layers, the bottom one first.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a LayerId>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for layer in layers {
            hasher.update(&layer.0);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl ChunkId {
    /// Hashes raw chunk bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl FrameHash {
    /// Hashes stored frame bytes.
    pub fn of(stored: &[u8]) -> Self {
        Self(*blake3::hash(stored).as_bytes())
    }
}

impl LayerId {
    /// Hashes a layer's head.
    pub fn of(head: &[u8]) -> Self {
        Self(*blake3::hash(head).as_bytes())
    }
}

impl TrailerHash {
    /// Hashes the bytes of a trailer.
    pub fn of(trailer: &[u8]) -> Self {
        Self(*blake3::hash(trailer).as_bytes())
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("getrandom cannot fail with these arguments: {errno}"),
        }
    }
    bytes
}

impl PackId {
    /// Makes a new random name.
    pub fn random() -> Self {
        Self(random_bytes())
    }
}

impl RepoId {
    /// Makes a new random name.
    pub fn random() -> Self {
        Self(random_bytes())
    }
}

/// Names one save: when it was made and 64 random bits, so that names sort by time.
///
/// Written `r` followed by 16 hexadecimal digits of microseconds since 1970 and 16 random ones.
/// The time is the saver's clock; it orders saves of one key for users, and nothing rests on it
/// for safety.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaveId {
    /// Microseconds since 1970-01-01 UTC.
    pub micros: u64,
    /// Random bits that keep two saves of the same microsecond apart.
    pub nonce: u64,
}

impl SaveId {
    /// Makes a name for a save that is made now.
    pub fn now() -> Self {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            micros: since_epoch.as_micros() as u64,
            nonce: u64::from_le_bytes(random_bytes()),
        }
    }
}

impl fmt::Display for SaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:016x}{:016x}", self.micros, self.nonce)
    }
}

impl fmt::Debug for SaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SaveId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.strip_prefix('r').ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: 32,
        })?;
        let bytes: [u8; 16] = parse_hex(digits)?;
        let value = u128::from_be_bytes(bytes);
        Ok(Self {
            micros: (value >> 64) as u64,
            nonce: value as u64,
        })
    }
}

impl Serialize for SaveId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SaveId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_text() {
        let pack = PackId::random();
        assert_eq!(pack.to_string().parse(), Ok(pack));
        let save = SaveId::now();
        assert_eq!(save.to_string().parse(), Ok(save));
    }

    #[test]
    fn save_ids_sort_by_time() {
        let early = SaveId {
            micros: 1,
            nonce: u64::MAX,
        };
        let late = SaveId {
            micros: 2,
            nonce: 0,
        };
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn other_text_is_refused() {
        assert!("zz".parse::<PackId>().is_err());
        assert!("r12".parse::<SaveId>().is_err());
        assert!("0".repeat(63).parse::<ChunkId>().is_err());
    }
}
