//! Remotes against directories and S3 servers, well-behaved and not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clouds;
mod faults;
mod files;
mod roles;
mod suite;
