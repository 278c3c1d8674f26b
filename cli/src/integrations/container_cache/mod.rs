//! Caches that follow the life of a container, shared by the volume plugin and the OCI hook.
//!
//! [`Defaults`] parses the options of a volume or the annotations of a container into
//! [`VolumeOptions`]. A [`Cycle`] restores the cache into its directory in the store before the
//! container starts, and saves it after the container exits.

mod bounds;
mod cycle;
mod name;
mod options;
mod place;

pub(crate) use cycle::Cycle;
#[cfg(feature = "volumes")]
pub(in crate::integrations) use cycle::{Refusal, clear_directory};
pub(crate) use name::check_name;
#[cfg(feature = "hook")]
pub(crate) use options::only_path;
pub(crate) use options::{Defaults, Purpose, VolumeOptions, WorkspaceArgs};
