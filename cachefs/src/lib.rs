//! The cachefs daemon, its FUSE view of layers, and the mounts made from them.

pub mod sys;
