//! Files that a job has only renamed.

use std::collections::HashMap;

use crate::stack::Ino;

/// Leaves of the tree that have been moved, with the inode of the stack that each leads to. Only
/// files with several names are noted.
pub(super) type Moved = HashMap<usize, Ino>;
