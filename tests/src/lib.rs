//! Test support for cachefs: servers and machinery that the end-to-end tests and benchmarks share.

pub mod s3;
