//! The whole product as its users meet it: the binary, real mounts, and remotes of both kinds.

// Told to be tests, so that the helpers among them may unwrap as tests do.
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod fidelity;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod output;
#[cfg(test)]
mod real_tools;
#[cfg(test)]
mod save;
#[cfg(test)]
mod support;
#[cfg(test)]
mod traces;
