//! Support for the end-to-end tests of cachefs.
//!
//! The tests treat the `cachefs` binary as a black box. Apart from the remotes that [`s3`] serves,
//! nothing here uses the product's own code, so a bug there cannot hide itself.
//!
//! - [`harness`] runs the binary in a sandbox and cleans up afterwards;
//! - [`tree`] creates, changes and compares directory trees with every filesystem feature;
//! - [`tools`] fills caches of real build tools, and runs builds that work only with such a cache;
//! - [`s3`] serves S3 and the Google Cloud Storage dialect on loopback, with fault injection;
//! - [`engines`] runs containers with podman, buildah, docker and bubblewrap, and as an ordinary
//!   user;
//! - [`clouds`] runs an Azure emulator and stubs credential endpoints;
//! - [`nobody`] reserves an address that refuses every connection.

pub mod clouds;
pub mod engines;
pub mod harness;
pub mod nobody;
pub mod s3;
pub mod tools;
pub mod tree;
