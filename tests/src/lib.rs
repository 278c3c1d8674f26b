//! Support for the end-to-end tests of cachefs.
//!
//! The tests treat the `cachefs` binary as a black box: apart from the remotes that [`s3`] serves,
//! nothing here uses the product's own code, so that a fault in it cannot hide itself.
//!
//! - [`harness`] runs the binary in a sandbox that leaves nothing behind;
//! - [`tree`] makes, changes and compares directory trees with everything a filesystem can hold;
//! - [`tools`] prepares caches of real build tools, and builds that work only from such a cache;
//! - [`s3`] serves S3 on loopback, with faults on demand, and Google's dialect of it;
//! - [`engines`] runs containers, with podman, buildah, docker and bubblewrap, and as an ordinary user;
//! - [`clouds`] runs an emulator of Azure, and answers for those who give credentials;
//! - [`nobody`] is where every connection is refused.

pub mod clouds;
pub mod engines;
pub mod harness;
pub mod nobody;
pub mod s3;
pub mod tools;
pub mod tree;
