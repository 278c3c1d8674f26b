//! Running a command between a restore and a save.

mod child;
mod leftovers;

pub(crate) use child::{Ended, Forwarding, run};
pub(crate) use leftovers::Claim;
