//! Azurite, where it is installed, and a stand-in for those who give credentials; on the loopback
//! interface.

mod azurite;
mod process;
mod stub;

pub use azurite::Azurite;
pub use stub::{Asked, Stub};

/// The container that the emulator starts with.
pub const BUCKET: &str = "cache";
