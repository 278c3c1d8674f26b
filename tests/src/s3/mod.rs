//! S3 servers for tests and benchmarks, on loopback.
//!
//! [`S3Server`] runs inside this process on threads of its own and supports fault injection.
//! [`Moto`] is an independent implementation of S3, as a cross-check.

mod content;
mod fault;
mod google;
mod layer;
mod line;
mod moto;
mod policy;
mod server;
mod store;

pub use fault::{Counts, Fault, Faults, Rule};
pub use moto::Moto;
pub use policy::User;
pub use server::{S3Options, S3Server};

/// The access key that the servers accept.
pub const ACCESS_KEY: &str = "cachefs-test";
/// The secret key for [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "cachefs-test-secret";
/// The bearer token that servers with the Google dialect accept.
pub const TOKEN: &str = "cachefs-test-token";
/// The bucket that exists when a server starts.
pub const BUCKET: &str = "cache";
