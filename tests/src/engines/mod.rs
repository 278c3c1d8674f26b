//! Container engines that a test starts and that are removed with it.
//!
//! Each engine keeps its images, containers and sockets in a [`Sandbox`](crate::harness::Sandbox)
//! of its own, so your engines and images are never touched. Dropping an engine stops everything
//! that it started:
//!
//! - [`Podman`]: run by root, or rootless by a [`User`];
//! - [`Buildah`]: builds images from instruction files;
//! - [`Docker`]: a dockerd that belongs to the test;
//! - [`mod@bubblewrap`]: a command in a root directory, without an engine;
//! - [`User`]: an unprivileged user with access to `/dev/fuse` and user namespaces.
//!
//! A constructor returns `None` only if its program is not installed, and prints the name of the
//! missing program. There is no registry. The images are [`BUSYBOX`], a minimal shell, and
//! [`HOST`], which shows the programs of this machine when you run it with [`HOST_VOLUMES`].
//! Containers have no network.

mod bubblewrap;
mod buildah;
mod config;
mod container;
mod docker;
mod image;
mod podman;
mod user;

pub use bubblewrap::bubblewrap;
pub use buildah::Buildah;
pub use container::{Container, Engine};
pub use docker::Docker;
pub use image::{BUSYBOX, HOST, HOST_VOLUMES, Root};
pub use podman::Podman;
pub use user::User;

/// The `PATH` for commands with a cleared environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns whether all `programs` that `need` requires are installed, and prints a skip note if
/// not. `need` is for example `docker`.
fn installed(need: &str, programs: &[&str]) -> bool {
    let is_there = |program: &str| {
        PATH.split(':')
            .any(|dir| std::path::Path::new(dir).join(program).is_file())
    };
    match programs.iter().find(|program| !is_there(program)) {
        None => true,
        Some(program) => {
            cachefs_skip::skip(need, format_args!("{program} is not installed"));
            false
        }
    }
}

/// Returns whether the tests run as root, as engines require, and prints a skip note if not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        cachefs_skip::skip("root", "container engines are started as root");
    }
    root
}
