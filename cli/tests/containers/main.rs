//! Every way to use a cache in a container, with real engines.

// Marked as tests, so that their helpers may unwrap as tests do.
#[cfg(test)]
mod attach;
#[cfg(test)]
mod builders;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod host;
#[cfg(test)]
mod inside;
#[cfg(test)]
mod real_builds;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod support;
#[cfg(test)]
mod users;
#[cfg(test)]
mod volumes;
