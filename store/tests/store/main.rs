//! Tests of the whole store, without processes and mounts: trees saved as layers, stacked, squashed
//! and copied out; keys that racing jobs publish; damage.

// Marked as tests, so that their helpers may unwrap as tests do.
#[cfg(test)]
mod bent;
#[cfg(test)]
mod checking;
#[cfg(test)]
mod collecting;
#[cfg(test)]
mod copies_cut_short;
#[cfg(test)]
mod copying;
#[cfg(test)]
mod deduplication;
#[cfg(test)]
mod fidelity;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod workbench;
#[cfg(test)]
mod writers;
