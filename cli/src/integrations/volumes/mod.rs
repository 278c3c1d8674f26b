//! Caches as volumes of containers: `cachefs volume-plugin`.
//!
//! [`server`] serves HTTP on the socket where a container engine looks for plugins; [`protocol`]
//! parses the engine's requests, and [`VolumeDriver`] executes them. The record of a volume is a
//! file in the store with its options and the containers that use it, so a restarted plugin
//! continues where the killed one stopped. The first container that mounts a volume triggers the
//! restore of its cache, and the last one that releases it triggers the save
//! ([`Cycle`](super::container_cache::Cycle)).
//!
//! ```text
//! STORE/volumes/NAME/volume.json    the record
//! STORE/volumes/NAME/data/          mount point of the cache, which the engine binds
//! ```

mod driver;
mod protocol;
mod record;
mod server;
mod socket;
mod sweep;
mod work;

pub(crate) use driver::VolumeDriver;
pub(crate) use server::{Manners, serve_plugin};
pub(crate) use socket::{Socket, default_socket};
