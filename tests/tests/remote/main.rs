//! Remotes against directories and S3 servers, well-behaved and not.

mod faults;
mod files;
mod suite;
