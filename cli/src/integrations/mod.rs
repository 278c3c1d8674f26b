//! Services and hooks for other systems; each is a feature of this crate, on by default.

#[cfg(any(feature = "csi", feature = "volumes", feature = "serve"))]
pub(crate) mod client_limits;
#[cfg(any(feature = "volumes", feature = "hook"))]
pub(crate) mod container_cache;
#[cfg(feature = "csi")]
pub(crate) mod csi;
#[cfg(feature = "harness")]
pub(crate) mod harness;
#[cfg(feature = "hook")]
pub(crate) mod hook;
#[cfg(any(feature = "csi", feature = "volumes", feature = "serve"))]
pub(crate) mod listen;
#[cfg(feature = "serve")]
pub(crate) mod serve;
#[cfg(feature = "volumes")]
pub(crate) mod volumes;
