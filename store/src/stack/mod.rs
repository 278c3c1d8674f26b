//! Stacks: layers on top of each other, seen as one tree.
//!
//! Nothing is merged when a stack is opened. A directory that several layers have is merged when
//! it is first listed; everything else is a search in sorted tables. So opening costs the same
//! for any number of files.
//!
//! Inode numbers are a pure function of the stack: the number of the layer (from the bottom) and
//! the inode in it, of the topmost layer that has the entry. A process that takes over a mount
//! finds the same files under the same numbers, without any transfer of state. Programs see other
//! numbers, which are smaller: see [`Numbers`].

mod compare;
mod directory;
mod inode_numbers;
mod merge;
mod owner;
mod privileges;
mod squash;
#[cfg(test)]
mod tests;
mod totals;
mod tree;
mod walk;

pub use compare::{EntryChange, EntryDifference, compare_stacks};
pub use inode_numbers::{Numbering, Numbers};
pub use owner::{NotAnOwner, Owner};
pub use squash::{SQUASH_DEPTH, squash_layers, squash_plan};
pub use tree::{Attr, Stack};
pub use walk::{StackWalk, WalkEntry};

/// No stack is deeper: bounds the work of a lookup. Saves squash long before.
pub const MAX_DEPTH: usize = 255;

/// An inode number in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);

    pub(crate) fn new(place: InodeRef) -> Self {
        if place.inode == crate::layer::ROOT {
            return Self::ROOT;
        }
        Self(((place.layer as u64) << 32 | u64::from(place.inode)) + 1)
    }

    /// Decodes a number that the kernel sent, as [`Ino`] encoded it.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number; at least 1 and below 2^40.
    pub fn number(self) -> u64 {
        self.0
    }

    fn place(self) -> InodeRef {
        let number = self.0.wrapping_sub(1);
        InodeRef {
            layer: (number >> 32) as usize,
            inode: number as u32,
        }
    }
}

/// An inode of one layer of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct InodeRef {
    /// Number of the layer, from 0 at the bottom.
    pub(crate) layer: usize,
    /// Inode in that layer.
    pub(crate) inode: u32,
}
