//! Passes all descriptors of the supervisor to another program.
//!
//! The supervisor executes the new program in its own process. Its descriptors stay open, and a
//! list of them, in an anonymous file, describes their use. The process id, the lock and the socket
//! stay the same; clients and readers only see a pause.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::estate::Estate;
use super::fd_table::{HeldDescriptor, Trust};
use crate::store_dir::StoreDir;
use crate::sys::lock::LockFile;
use crate::sys::socket::SocketFile;
use crate::sys::spawn::READY_FD;

/// Passes the number of the list's descriptor to the new program.
const HANDOVER_FD: &str = "CACHEFS_HANDOVER_FD";

/// The version of the list. Versions of the program that know this one can follow each other.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct HandoverList {
    version: u32,
    lock: RawFd,
    listener: RawFd,
    held: Vec<HandoverEntry>,
}

#[derive(Serialize, Deserialize)]
struct HandoverEntry {
    name: String,
    item: String,
    fd: RawFd,
}

/// Executes another program in the place of this one; returns only if that fails.
pub(super) fn exec_successor(estate: &Estate, exe: &Path) -> io::Error {
    let prepared = write_handover(estate);
    match prepared {
        Ok(list) => {
            let error = Command::new(exe)
                .args(std::env::args_os().skip(1))
                .env(HANDOVER_FD, list.as_raw_fd().to_string())
                // Its number may be another descriptor's by now.
                .env_remove(READY_FD)
                .exec();
            let _ = set_inheritance(estate, FdFlags::CLOEXEC);
            error
        }
        Err(error) => error,
    }
}

fn write_handover(estate: &Estate) -> io::Result<File> {
    let list = HandoverList {
        version: VERSION,
        lock: estate.lock.as_fd().as_raw_fd(),
        listener: estate.listener.as_raw_fd(),
        held: estate
            .held
            .iter()
            .map(|held| HandoverEntry {
                name: held.name.clone(),
                item: held.item.clone(),
                fd: held.fd.as_raw_fd(),
            })
            .collect(),
    };
    // Kept in memory only, because it contains the credentials of remotes.
    let mut file = File::from(memfd_create(c"cachefs-handover", MemfdFlags::empty())?);
    serde_json::to_writer(&mut file, &list)?;
    file.seek(SeekFrom::Start(0))?;
    set_inheritance(estate, FdFlags::empty())?;
    Ok(file)
}

fn set_inheritance(estate: &Estate, flags: FdFlags) -> io::Result<()> {
    fcntl_setfd(estate.lock.as_fd(), flags)?;
    fcntl_setfd(&estate.listener, flags)?;
    for held in &estate.held {
        fcntl_setfd(&held.fd, flags)?;
    }
    Ok(())
}

/// Reads the handover of the previous program in this process, if there was one.
///
/// # Errors
/// If this program does not understand the list.
pub(super) fn take_handover(store: &StoreDir) -> io::Result<Option<Estate>> {
    let Some(number) = std::env::var_os(HANDOVER_FD) else {
        return Ok(None);
    };
    let number = number.to_str().and_then(|text| text.parse().ok());
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(file) = number.and_then(inherited_descriptor) else {
        // The variable was passed on by accident.
        return Ok(None);
    };
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    let list: HandoverList = serde_json::from_str(&text)?;
    if list.version != VERSION {
        return Err(invalid("the previous version left an unknown list"));
    }
    let fd =
        |number| inherited_descriptor(number).ok_or_else(|| invalid("a descriptor is missing"));
    let held = list.held.into_iter().map(|entry| {
        Ok(HeldDescriptor {
            name: entry.name,
            item: entry.item,
            fd: fd(entry.fd)?,
            trust: Trust::default(),
        })
    });
    Ok(Some(Estate {
        held: held.collect::<io::Result<_>>()?,
        listener: fd(list.listener)?.into(),
        socket: SocketFile::of(&store.socket()).ok(),
        lock: LockFile::inherited(fd(list.lock)?, &store.lock()),
    }))
}

/// A descriptor that came through `exec`: it is open and not yet close-on-exec.
fn inherited_descriptor(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl looks at the number only, and fails where nothing is open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if number <= 2 || flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: the number is open, and once it is close-on-exec it is not taken again.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&fd, FdFlags::CLOEXEC).ok()?;
    Some(fd)
}
