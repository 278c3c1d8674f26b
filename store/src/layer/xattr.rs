//! Extended attributes of one inode, as one blob that is compared and deduplicated whole.

use crate::error::{Error, Result};

/// An inode's attributes may take this many bytes encoded; more than Linux filesystems allow.
pub const MAX_XATTRS: usize = 128 << 10;

/// Extended attributes, encoded: sorted by name, each as `u16` name length, `u32` value length
/// (little-endian), name, value. No attributes is the empty blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Xattrs(Box<[u8]>);

impl Xattrs {
    /// Encodes attributes; their order does not matter.
    pub fn new(mut attributes: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Self> {
        attributes.sort();
        let mut blob = Vec::new();
        for (name, value) in &attributes {
            let length = u16::try_from(name.len()).map_err(|_| Self::too_large())?;
            blob.extend_from_slice(&length.to_le_bytes());
            blob.extend_from_slice(&(value.len() as u32).to_le_bytes());
            blob.extend_from_slice(name);
            blob.extend_from_slice(value);
        }
        if blob.len() > MAX_XATTRS {
            Err(Self::too_large())
        } else {
            Ok(Self(blob.into()))
        }
    }

    fn too_large() -> Error {
        Error::TooLarge {
            what: "the extended attributes of a file",
            limit: format!("{} KiB", MAX_XATTRS >> 10),
        }
    }

    /// Takes an encoded blob as it was stored.
    pub fn from_encoded(blob: &[u8]) -> Self {
        Self(blob.into())
    }

    /// The encoded blob.
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values; ends early where the blob is damaged.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (name_length, after) = rest.split_first_chunk::<2>()?;
            let (value_length, after) = after.split_first_chunk::<4>()?;
            let name_length = usize::from(u16::from_le_bytes(*name_length));
            let value_length = u32::from_le_bytes(*value_length) as usize;
            let (name, after) = after.split_at_checked(name_length)?;
            let (value, after) = after.split_at_checked(value_length)?;
            rest = after;
            Some((name, value))
        })
    }

    /// These attributes without those whose names `keep` does not want.
    pub fn retain(self, mut keep: impl FnMut(&[u8]) -> bool) -> Self {
        if self.iter().all(|(name, _)| keep(name)) {
            return self;
        }
        let mut blob = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            blob.extend_from_slice(&(name.len() as u16).to_le_bytes());
            blob.extend_from_slice(&(value.len() as u32).to_le_bytes());
            blob.extend_from_slice(name);
            blob.extend_from_slice(value);
        }
        Self(blob.into())
    }

    /// The value of one attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find_map(|(candidate, value)| (candidate == name).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter() {
        let a = (b"user.a".to_vec(), b"1".to_vec());
        let b = (b"user.b".to_vec(), Vec::new());
        let forward = Xattrs::new(vec![a.clone(), b.clone()]).unwrap();
        assert_eq!(forward, Xattrs::new(vec![b, a]).unwrap());
        assert_eq!(forward.get(b"user.a"), Some(&b"1"[..]));
        assert_eq!(forward.get(b"user.b"), Some(&b""[..]));
        assert_eq!(forward.get(b"user.c"), None);
    }

    #[test]
    fn too_many_are_refused_and_damage_ends_the_list() {
        assert!(Xattrs::new(vec![(b"user.a".to_vec(), vec![0; MAX_XATTRS])]).is_err());
        assert_eq!(
            Xattrs::from_encoded(&[9, 0, 255, 255, 255, 255, 1])
                .iter()
                .count(),
            0
        );
    }
}
