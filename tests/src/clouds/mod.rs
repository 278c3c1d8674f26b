//! Emulators of Google Cloud Storage and Azure, on the loopback interface, where they are
//! installed.

mod azurite;
mod fake_gcs;
mod process;

pub use azurite::Azurite;
pub use fake_gcs::FakeGcs;

/// The bucket or container that the emulators start with.
pub const BUCKET: &str = "cache";
