//! Remotes against directories and S3 servers, both well-behaved and faulty.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clouds;
mod faults;
mod files;
mod roles;
mod suite;
