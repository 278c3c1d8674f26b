//! Serving one FUSE descriptor.

use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use fuser::{Config, Filesystem, Session, SessionACL};
use tokio::runtime::Handle;

use super::hand_over;
use super::image_fs::ImageFs;
use super::tree_fs::TreeFs;
use super::{Form, SharedView};

/// Threads that answer one mount. One file's reads go on while another thread decodes a frame;
/// more than two gain nothing, and each has a buffer.
const THREADS: usize = 2;

/// Serves a view on a descriptor of `/dev/fuse` until it is unmounted.
///
/// Returns as soon as the kernel has agreed on the protocol; `ended` is called when the mount is
/// gone.
pub(crate) fn serve(
    view: SharedView,
    form: Form,
    fuse: OwnedFd,
    runtime: &Handle,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    match form {
        Form::Tree => run(open(TreeFs::new(view, runtime.clone()), fuse)?, ended),
        Form::Image => {
            let (sender, known) = mpsc::sync_channel(1);
            let filesystem = ImageFs::new(Arc::clone(&view), runtime.clone(), sender);
            let session = open(filesystem, fuse)?;
            let notifier = session.notifier();
            std::thread::Builder::new()
                .name("image".to_owned())
                .spawn(move || hand_over::run(&view, &known, &notifier))?;
            run(session, ended)
        }
    }
}

fn open<F: Filesystem>(filesystem: F, fuse: OwnedFd) -> std::io::Result<Session<F>> {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    Session::from_fd(filesystem, fuse, SessionACL::All, config)
}

fn run<F: Filesystem + Send + 'static>(
    session: Session<F>,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("view".to_owned())
        .spawn(move || {
            if let Err(error) = session.run() {
                tracing::warn!("a mount ended with an error: {error}");
            }
            ended();
        })?;
    Ok(())
}
