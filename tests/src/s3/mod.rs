//! S3 servers for tests and benchmarks, on the loopback interface.
//!
//! [`S3Server`] runs inside this process, on threads of its own, and can be told to misbehave;
//! [`Moto`] is another implementation of S3 as a second opinion.

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

/// The access key that the servers know.
pub const ACCESS_KEY: &str = "cachefs-test";
/// The secret that goes with it.
pub const SECRET_KEY: &str = "cachefs-test-secret";
/// The access token that servers know which speak Google's dialect.
pub const TOKEN: &str = "cachefs-test-token";
/// The bucket that the servers start with.
pub const BUCKET: &str = "cache";
