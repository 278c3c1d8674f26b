//! Azurite, if installed, and a stub of credential endpoints; both listen on loopback.

mod azurite;
mod process;
mod stub;

pub use azurite::Azurite;
pub use stub::{Asked, Stub};

/// The container that exists when the emulator starts.
pub const BUCKET: &str = "cache";
