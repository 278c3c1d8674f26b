//! Serving one FUSE connection.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};

use cachefs_store::stack::Numbering;
use fuser::{Config, Filesystem, Session, SessionACL};
use tokio::runtime::Handle;

use super::failing_fs::NoFs;
use super::image_fs::ImageFs;
use super::page_cache_warmup;
use super::tree_fs::TreeFs;
use super::{SharedView, ViewForm};
use crate::erofs::Image;
use crate::sys::fuse_init::{Connection, FuseInit, resend_requests};

/// Threads that answer one mount. Reads continue while another thread decodes a frame; more than
/// two threads gained nothing, and each one has a buffer.
const THREADS: usize = 2;

/// Callback for the end of a mount.
type Ended = Box<dyn FnOnce() + Send>;

/// A connection on which the protocol is agreed, and nothing answered yet.
pub(crate) struct Ready {
    start: Box<dyn FnOnce(Ended) -> std::io::Result<()> + Send>,
}

impl Ready {
    /// Serves until the mount is gone, in threads of its own; `ended` is called then.
    pub(crate) fn start(self, ended: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        (self.start)(Box::new(ended))
    }
}

/// Agrees on the protocol of a connection that has just been mounted.
pub(crate) fn begin_session(
    view: SharedView,
    form: ViewForm,
    fuse: &OwnedFd,
    init: &FuseInit,
    runtime: &Handle,
) -> std::io::Result<Ready> {
    let start: Box<dyn FnOnce(Ended) -> _ + Send> = match form {
        ViewForm::Tree => {
            let filesystem = TreeFs::new(view, runtime.clone());
            let session = open_session(filesystem, fuse, init, Connection::New)?;
            Box::new(|ended| run_session(session, ended))
        }
        ViewForm::Image => {
            let (sender, known) = mpsc::sync_channel(1);
            let filesystem = ImageFs::new(Arc::clone(&view), runtime.clone(), Some(sender));
            let session = open_session(filesystem, fuse, init, Connection::New)?;
            let notifier = session.notifier();
            Box::new(move |ended| {
                std::thread::Builder::new()
                    .name("image".to_owned())
                    .spawn(move || page_cache_warmup::push_metadata(&view, &known, &notifier))?;
                run_session(session, ended)
            })
        }
    };
    Ok(Ready { start })
}

/// Continues a connection that the previous worker served. Requests that it left unanswered are
/// answered now.
///
/// # Errors
/// Also if the files of the mount are not where its kernel expects them.
pub(crate) fn go_on(
    view: SharedView,
    form: ViewForm,
    fuse: &OwnedFd,
    init: &FuseInit,
    runtime: &Handle,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let ended: Ended = Box::new(ended);
    match form {
        ViewForm::Tree => {
            let filesystem = TreeFs::new(view, runtime.clone());
            run_session(
                open_session(filesystem, fuse, init, Connection::GoesOn)?,
                ended,
            )?;
        }
        ViewForm::Image => {
            // Versions before dense numbers cut these attributes, and everything behind them was
            // elsewhere: a dead mount is better than the wrong bytes.
            let large_root = view.image.as_ref().is_some_and(Image::has_large_root);
            if view.numbering == Numbering::ByLayer && large_root {
                return Err(std::io::Error::other(
                    "an older version mounted it, and placed its files elsewhere",
                ));
            }
            let filesystem = ImageFs::new(view, runtime.clone(), None);
            run_session(
                open_session(filesystem, fuse, init, Connection::GoesOn)?,
                ended,
            )?;
        }
    }
    resend_requests(fuse.as_fd())
}

/// Continues a connection, and answers every request with EIO.
pub(crate) fn refuse_all(
    fuse: &OwnedFd,
    init: &FuseInit,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    run_session(
        open_session(NoFs, fuse, init, Connection::GoesOn)?,
        Box::new(ended),
    )?;
    resend_requests(fuse.as_fd())
}

fn open_session<F: Filesystem>(
    filesystem: F,
    fuse: &OwnedFd,
    init: &FuseInit,
    connection: Connection,
) -> std::io::Result<Session<F>> {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    init.open(filesystem, fuse.as_fd(), connection, config)
}

fn run_session<F: Filesystem + Send + 'static>(
    session: Session<F>,
    ended: Ended,
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
