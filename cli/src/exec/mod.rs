//! Runs a command between a restore and a save.

mod child;
mod leftovers;

pub(crate) use child::{ChildEnd, Forwarding, run_child};
pub(crate) use leftovers::{Claim, Leftover};
