//! Tests of the end-to-end test support itself.

// Marked as tests, so that their helpers may unwrap as tests do.
#[cfg(test)]
mod machines;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod trees;
