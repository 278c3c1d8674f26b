//! Caches as volumes of containers: `cachefs volume-plugin`.
//!
//! [`server`] listens where a container engine looks for plugins and speaks HTTP; [`protocol`]
//! knows the engine's requests; [`VolumeDriver`] executes them. A `Volume` is a file in the store
//! that describes the volume and the containers that use it, so that a plugin which was killed goes
//! on where it was. The first container that mounts a volume has its cache restored, and when the
//! last one lets go it is saved, as its options say ([`Cycle`](super::container_cache::Cycle)).
//!
//! ```text
//! STORE/volumes/NAME/volume.json    the record
//! STORE/volumes/NAME/data/          where the cache is mounted; the engine binds it
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
