//! The paths of a cache: from the user's patterns to directories.
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

mod cache_directory;
mod exclude;
mod glob_escape;
mod glob_walk;
mod include;
mod overlap;
mod path_set;
mod pattern;
mod real_path;
mod resolve_paths;

mod sight;
#[cfg(test)]
mod tests;

pub use cache_directory::CacheDirectory;
pub use glob_escape::{glob_of, has_special, literal_names};
pub use overlap::refuse_overlap;
pub use path_set::{OnDisk, PathSet, Whole};
pub use real_path::real_path;
pub use resolve_paths::{Places, working_directory};
