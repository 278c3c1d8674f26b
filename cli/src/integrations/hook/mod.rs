//! Caches of containers whose runtime calls us: `cachefs oci-hook`, and its registration.
//!
//! A runtime runs its hooks with the container's [`ContainerState`] on their standard input. Before
//! the container's program starts, each cache is restored into the store and shown in the container
//! (stage `createRuntime`); after the container is gone, it is saved (`poststop`). Both happen in
//! the runtime's own namespaces: the network is the host's, whatever the container has, and the
//! container needs neither privileges nor the program.
//!
//! Which caches those are is said by [`annotations`] of the container, or by names from
//! `cachefs.toml`. [`spec`] writes the files that engines read: a hook for all containers with such
//! annotations, or a device for each cache.
//!
//! ```text
//! STORE/containers/ID/NAME/    where a cache is shown on the host while its container lives
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
