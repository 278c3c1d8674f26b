//! Caches of containers through runtime hooks: `cachefs oci-hook`, and the files that configure it.
//!
//! A runtime runs its hooks with the container's [`ContainerState`] on standard input. Before the
//! container's program starts, we restore each cache into the store and mount it into the container
//! (stage `createRuntime`); after the container exits, we save it (`poststop`). Both run in the
//! runtime's own namespaces: the network is the host's, whatever the container has, and the
//! container needs neither privileges nor this program.
//!
//! The caches come from [`annotations`] of the container, or by name from `cachefs.toml`. [`spec`]
//! writes the files that engines read: a hook for all containers with such annotations, or a device
//! for each cache.
//!
//! ```text
//! STORE/containers/ID/NAME/    mount point of a cache on the host while its container lives
//! ```

mod annotations;
mod run;
mod runtime_config;
mod spec;
mod state;

pub(crate) use run::{Hooked, run_stage};
pub(crate) use runtime_config::Called;
pub(crate) use spec::{device_file, hook_file};
pub(crate) use state::ContainerState;
