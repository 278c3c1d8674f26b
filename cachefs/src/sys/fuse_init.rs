//! The start of a FUSE connection, kept so that another process can continue it.
//!
//! A server and the kernel agree on the protocol once, with the kernel's first message,
//! `FUSE_INIT`. fuser answers it when it opens a session, and would wait for it for ever on a
//! connection that has started already. So we keep the message and open every session the same way:
//! it reads the message from one end of a socket pair, and the connection replaces that end as soon
//! as the session has answered. For a new connection, the answer is passed to the kernel; for a
//! continued one, the kernel has it already.
//!
//! On request, the kernel resends messages that a dead server never answered ([`resend_requests`];
//! Linux 6.9). Source: `include/uapi/linux/fuse.h` and `fs/fuse/dev.c`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use fuser::{Config, Filesystem, Session, SessionACL};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};

/// The kernel refuses to fill smaller buffers.
const BUFFER: usize = 64 << 10;
/// Length of the header of a request, in bytes.
const HEADER: usize = 40;
const OPCODE_INIT: u32 = 26;
/// The flag of `FUSE_INIT` for a kernel that can resend requests.
const HAS_RESEND: u64 = 1 << 39;
/// The flag which says that there are 32 more.
const INIT_EXT: u32 = 1 << 30;
/// Code of the notification that asks for it.
const NOTIFY_RESEND: i32 = 7;

/// The kernel's first message on a connection, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuseInit(Vec<u8>);

/// Treatment of the server's answer to `FUSE_INIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The kernel waits for it.
    New,
    /// The kernel has it, from a server before this one.
    GoesOn,
}

impl FuseInit {
    /// Reads the first message of a connection that was just mounted.
    ///
    /// # Errors
    /// Those of the read; `InvalidData` for any other message.
    pub fn receive(fuse: BorrowedFd<'_>) -> io::Result<Self> {
        let mut message = vec![0; BUFFER];
        let length = loop {
            match rustix::io::read(fuse, &mut message) {
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                other => break other?,
            }
        };
        message.truncate(length);
        let init = Self(message);
        if length < HEADER + 16 || init.word(4) != Some(OPCODE_INIT) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the connection is already initialized",
            ));
        }
        Ok(init)
    }

    /// Whether the kernel can resend unanswered requests.
    pub fn resends(&self) -> bool {
        // After the header: major, minor, readahead, flags, more flags.
        let low = self.word(HEADER + 12).unwrap_or(0);
        let high = match low & INIT_EXT {
            0 => 0,
            _ => self.word(HEADER + 16).unwrap_or(0),
        };
        (u64::from(high) << 32) & HAS_RESEND != 0
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// Opens a session on a connection that began with this message.
    ///
    /// The caller keeps its descriptor; the session has one of its own.
    ///
    /// # Errors
    /// When the filesystem cannot agree with the kernel, or a system call fails.
    pub fn open<F: Filesystem>(
        &self,
        filesystem: F,
        fuse: BorrowedFd<'_>,
        connection: Connection,
        config: Config,
    ) -> io::Result<Session<F>> {
        let (theirs, ours) = socketpair(
            AddressFamily::UNIX,
            // One message stays one message, as on `/dev/fuse`.
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let mut ours = std::fs::File::from(ours);
        ours.write_all(&self.0)?;
        let session = Session::from_fd(filesystem, theirs, SessionACL::All, config)?;
        let mut answer = vec![0; BUFFER];
        let length = ours.read(&mut answer)?;
        replace_descriptor(session.as_fd(), fuse)?;
        if connection == Connection::New {
            rustix::io::write(fuse, &answer[..length])?;
        }
        Ok(session)
    }
}

/// Puts another open file behind a descriptor.
fn replace_descriptor(place: BorrowedFd<'_>, with: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open. The number of `place` stays open and with its owner, who only reads
    // and writes it.
    let done = unsafe { libc::dup3(with.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel for every request that it has sent on this connection and that was not answered.
///
/// # Errors
/// `EINVAL` on kernels before 6.9.
pub fn resend_requests(fuse: BorrowedFd<'_>) -> io::Result<()> {
    let mut notice = [0; 16];
    notice[..4].copy_from_slice(&16_u32.to_ne_bytes());
    notice[4..8].copy_from_slice(&NOTIFY_RESEND.to_ne_bytes());
    rustix::io::write(fuse, &notice)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(flags: u32, more: u32) -> FuseInit {
        let words = [104, OPCODE_INIT, 2, 0, 0, 0, 0, 0, 0, 0];
        let body = [7, 45, 1 << 20, flags, more];
        let mut bytes: Vec<u8> = words
            .iter()
            .chain(&body)
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        bytes.resize(104, 0);
        FuseInit(bytes)
    }

    #[test]
    fn a_kernel_says_whether_it_sends_anew() {
        assert!(init(INIT_EXT, 1 << 7).resends());
        // Without the flag the second word means nothing.
        assert!(!init(0, 1 << 7).resends());
        assert!(!init(INIT_EXT, 1 << 6).resends());
        assert!(!FuseInit(vec![0; 56]).resends());
    }

    #[test]
    fn another_message_is_no_beginning() {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::io::write(&ours, &init(0, 0).0).unwrap();
        assert_eq!(FuseInit::receive(theirs.as_fd()).unwrap(), init(0, 0));
        let mut lookup = init(0, 0).0;
        lookup[4..8].copy_from_slice(&1_u32.to_ne_bytes());
        rustix::io::write(&ours, &lookup).unwrap();
        let error = FuseInit::receive(theirs.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
