//! Inode numbers as programs see them.

use serde::{Deserialize, Serialize};

use super::{Ino, InodeRef, Stack};
use crate::id::StackId;

/// Numbering of inodes. A kernel identifies the files of a mount by their numbers, so the next
/// worker must number them in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbering {
    /// [`Ino::number`]: the layer is in bits 32 to 39. Only mounts that began before there was
    /// [`Self::Dense`] are numbered so, and their records do not say it.
    #[default]
    ByLayer,
    /// Without gaps: the inodes of the bottom layer, then those of the layer above it. Only the
    /// root has number 1; the others begin somewhere between 2^30 and 2^32 - 2^30.
    ///
    /// Programs without large file support get `EOVERFLOW` from `stat` for numbers above 2^32 - 1,
    /// and JavaScript rounds numbers above 2^53. These stay below 2^32 as long as the layers have
    /// at most 2^30 inodes together.
    ///
    /// Where the numbers begin depends on the layers, because `docker build` and others take files
    /// with several names for one file if their numbers are equal, whatever their devices are. So
    /// two caches in one directory, or a cache and the upper of its overlay, should not share any.
    Dense,
}

/// Translates between a stack's inodes and their numbers.
///
/// The numbers follow from the layers alone, so another process finds the same ones.
#[derive(Debug)]
pub struct Numbers {
    /// The number of the root of each layer, ascending; empty for [`Numbering::ByLayer`].
    first: Vec<u64>,
}

impl Numbers {
    /// The numbers of a stack.
    pub fn new(stack: &Stack, numbering: Numbering) -> Self {
        let first = match numbering {
            Numbering::ByLayer => Vec::new(),
            Numbering::Dense => {
                let layers = stack.layers().iter();
                let mut next =
                    first_number(&StackId::of(&layers.map(|it| it.id()).collect::<Vec<_>>()));
                let first = stack.layers().iter().map(|layer| {
                    let first = next;
                    next += u64::from(layer.inode_count());
                    first
                });
                first.collect()
            }
        };
        Self { first }
    }

    /// The number of an inode; at least 1.
    pub fn number(&self, ino: Ino) -> u64 {
        let place = ino.place();
        match self.first.get(place.layer) {
            Some(first) if ino != Ino::ROOT => first + u64::from(place.inode),
            _ => ino.number(),
        }
    }

    /// The inode with this number, which comes from a kernel. Numbers that no inode has give an
    /// inode that the stack does not have either.
    pub fn ino(&self, number: u64) -> Ino {
        if self.first.is_empty() || number == Ino::ROOT.number() {
            return Ino::from_number(number);
        }
        let layers = self.first.partition_point(|first| *first <= number);
        let place = layers.checked_sub(1).and_then(|layer| {
            let inode = u32::try_from(number - self.first[layer]).ok()?;
            Some(InodeRef { layer, inode })
        });
        place.map_or(Ino::from_number(u64::MAX), Ino::new)
    }
}

/// Where the numbers of a stack begin.
fn first_number(stack: &StackId) -> u64 {
    let [a, b, c, d, ..] = stack.0;
    (1 << 30) + u64::from(u32::from_le_bytes([a, b, c, d]) >> 1)
}
