//! Copy mode in situations that a generated tree does not bring about.
