//! Serving one FUSE descriptor.

use std::os::fd::OwnedFd;

use fuser::{Config, Session, SessionACL};
use tokio::runtime::Handle;

use super::SharedView;
use super::fs::ViewFs;

/// Threads that answer one mount. One file's reads go on while another thread decodes a frame;
/// more than two gain nothing, and each has a buffer.
const THREADS: usize = 2;

/// Serves a view on a descriptor of `/dev/fuse` until it is unmounted.
///
/// Returns as soon as the kernel has agreed on the protocol; `ended` is called when the mount is
/// gone.
pub(crate) fn serve(
    view: SharedView,
    fuse: OwnedFd,
    runtime: &Handle,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    let session = Session::from_fd(ViewFs::new(view, runtime.clone()), fuse, SessionACL::All, config)?;
    std::thread::Builder::new().name("view".to_owned()).spawn(move || {
        if let Err(error) = session.run() {
            tracing::warn!("a mount ended with an error: {error}");
        }
        ended();
    })?;
    Ok(())
}
