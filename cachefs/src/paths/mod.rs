//! The paths of a cache: what the user wrote, and the directories that it means.
//!
//! A cache has one path or several, patterns, and exclusions:
//!
//! | written | means |
//! | --- | --- |
//! | `target`, `~/.m2`, `/var/cache/x` | this directory |
//! | `app/[slug]`, when it exists | the directory of that very name |
//! | `packages/*/node_modules`, `**/build` | every directory that matches, and nothing inside of those |
//! | `!**/*.log`, `!~/.m2/repository/com/acme`, `!tmp/` | not this, nor what is in it |
//!
//! One plain path is a cache by itself: its ref is the key alone, wherever the path may be.
//! Otherwise each directory is a cache of its own under the key, named by its [`CachePart`](cachefs_store::refs::CachePart).

mod exclude;
mod include;
mod literal;
mod overlap;
mod places;
mod real;
mod set;
mod walk;

#[cfg(test)]
mod tests;

pub use literal::{glob_of, has_special, literal_names};
pub use overlap::refuse_overlap;
pub use places::{Places, working_directory};
pub use real::real_path;
pub use set::{CacheDirectory, OnDisk, PathSet, Whole};
