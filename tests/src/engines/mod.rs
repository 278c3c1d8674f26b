//! Container engines, started by a test and gone with it.
//!
//! Each engine keeps its images, containers and sockets in a [`Sandbox`](crate::harness::Sandbox)
//! of its own, so that nothing of the user's is touched, and dropping it ends what it started:
//!
//! - [`Podman`]: of root, or rootless of a [`User`];
//! - [`Buildah`], which builds images from files of instructions;
//! - [`Docker`]: a dockerd of the test's own;
//! - [`mod@bubblewrap`]: a command in a root directory, without an engine;
//! - [`User`]: somebody without privileges, who may use `/dev/fuse` and make user namespaces.
//!
//! A constructor returns `None`, with a line that says which program is missing, only when that
//! program is not installed. There is no registry: the images are [`BUSYBOX`], a shell and little
//! else, and [`HOST`], which shows the programs of this machine when it is run with
//! [`HOST_VOLUMES`]. Containers have no network.

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

/// Where programs are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether all programs that `need` takes, such as `docker`, are installed; skips the test if not.
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

/// Whether the tests run as root, without which there are no engines; skips the test if not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        cachefs_skip::skip("root", "container engines are started as root");
    }
    root
}
