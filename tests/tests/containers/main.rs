//! Every way into a container, with real engines.

// Told to be tests, so that the helpers among them may unwrap as tests do.
#[cfg(test)]
mod engines;
#[cfg(test)]
mod real_builds;
