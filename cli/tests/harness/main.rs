//! The support of the end-to-end tests, tested itself.

// Marked as tests, so that the helpers among them may unwrap as tests do.
#[cfg(test)]
mod machines;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod trees;
