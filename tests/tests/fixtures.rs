//! The support of the end-to-end tests, tested without the product: against plain directories.

// Told to be tests, so that the helpers among them may unwrap as tests do.
#[cfg(test)]
mod fixtures {
    mod harness;
    mod tools;
    mod trees;
}
