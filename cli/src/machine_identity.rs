//! The identity of this process and its machine, as recorded in refs.

use cachefs_store::refs::{Creator, Platform};
use cachefs_store::stack::Owner;

use crate::ci::{self, BuildFact, Ci};

/// This process, as the creator of a save.
pub(crate) fn current_creator() -> Creator {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let job = Ci::new(&ci::process_environment()).get(BuildFact::Job);
    Creator {
        host,
        version: cachefs::VERSION.to_owned(),
        job,
    }
    .printable()
}

/// The user who runs this command through `sudo`. New parent directories belong to that user, not
/// to root.
pub(crate) fn sudo_caller() -> Option<Owner> {
    let id = |name| std::env::var(name).ok()?.parse().ok();
    let (uid, gid) = (id("SUDO_UID")?, id("SUDO_GID")?);
    rustix::process::geteuid()
        .is_root()
        .then_some(Owner { uid, gid })
}

/// Whether this process is part of a CI job.
pub(crate) fn is_ci() -> bool {
    let environment = ci::process_environment();
    let is_set = |ci: &String| !matches!(&**ci, "" | "0" | "false");
    environment.get("CI").is_some_and(is_set) || Ci::new(&environment).system().is_some()
}

/// The platform of this machine, which cached files may depend on.
pub(crate) fn current_platform() -> Platform {
    let musl = std::fs::read_dir("/lib").is_ok_and(|lib| {
        lib.flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("ld-musl-"))
    });
    Platform {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        libc: Some(if musl { "musl" } else { "gnu" }.to_owned()),
    }
}
