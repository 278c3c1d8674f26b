//! The store as a whole: trees saved as layers, stacked, squashed and written out again; keys
//! published by jobs that race; damage found. Without processes and mounts.

// Told to be tests, so that the helpers among them may unwrap as tests do.
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
