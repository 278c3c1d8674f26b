//! Chunks, packs, layers, refs, remotes and the local index of cachefs.

pub mod id;
pub mod remote;
