//! A read-only FUSE filesystem with a few nodes, for tests that need a live server.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, ReplyStatfs, Request,
    Session, SessionACL,
};

const TTL: Duration = Duration::from_secs(3600);

enum Kind {
    Dir(&'static [(&'static str, u64)]),
    File(&'static [u8], u32),
}

/// The nodes, numbered from 1. `linked` has two names for one number.
fn node(number: u64) -> Option<Kind> {
    Some(match number {
        1 => Kind::Dir(&[
            ("file", 2),
            ("dir", 3),
            ("link-1", 6),
            ("link-2", 6),
            ("moved", 7),
        ]),
        2 => Kind::File(b"from the view", 1),
        3 => Kind::Dir(&[("inner", 4), ("sub", 5)]),
        4 => Kind::File(b"inner", 1),
        5 => Kind::Dir(&[]),
        6 => Kind::File(b"linked", 2),
        7 => Kind::Dir(&[("kept", 8)]),
        8 => Kind::File(b"kept", 1),
        _ => return None,
    })
}

/// How the filesystem behaves.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// Added to every inode number except the root's.
    pub(crate) inode_base: u64,
    /// Answer opens with `ENOSYS`, as the real view does.
    pub(crate) no_open: bool,
    /// While set, `statfs` hangs.
    pub(crate) hang: Arc<AtomicBool>,
}

struct TinyFs(Behaviour);

impl TinyFs {
    fn number(&self, ino: INodeNo) -> u64 {
        if ino.0 == 1 {
            1
        } else {
            ino.0.wrapping_sub(self.0.inode_base)
        }
    }

    fn ino(&self, number: u64) -> INodeNo {
        INodeNo(if number == 1 {
            1
        } else {
            number + self.0.inode_base
        })
    }

    fn attr(&self, number: u64) -> Option<FileAttr> {
        let (kind, size, nlink, perm) = match node(number)? {
            Kind::Dir(_) => (FileType::Directory, 0, 2, 0o755),
            Kind::File(bytes, nlink) => (FileType::RegularFile, bytes.len() as u64, nlink, 0o644),
        };
        Some(FileAttr {
            ino: self.ino(number),
            size,
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for TinyFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let child = match node(self.number(parent)) {
            Some(Kind::Dir(children)) => children.iter().find(|child| name == child.0),
            _ => None,
        };
        match child.and_then(|child| self.attr(child.1)) {
            Some(attr) => reply.entry(&TTL, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(self.number(ino)) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.0.no_open {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), fuser::FopenFlags::empty());
        }
    }

    fn opendir(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.open(request, ino, flags, reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match node(self.number(ino)) {
            Some(Kind::File(bytes, _)) => {
                let start = (offset as usize).min(bytes.len());
                let end = (start + size as usize).min(bytes.len());
                reply.data(&bytes[start..end]);
            }
            _ => reply.error(Errno::EISDIR),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(Kind::Dir(children)) = node(self.number(ino)) else {
            return reply.error(Errno::ENOTDIR);
        };
        for (index, (name, number)) in children.iter().enumerate().skip(offset as usize) {
            let kind = self.attr(*number).unwrap().kind;
            if reply.add(self.ino(*number), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        while self.0.hang.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        reply.statfs(0, 0, 0, 0, 0, 512, 255, 512);
    }
}

/// Serves the filesystem on a thread until it is unmounted.
pub(crate) fn serve(device: OwnedFd, behaviour: Behaviour) {
    std::thread::spawn(move || {
        Session::from_fd(
            TinyFs(behaviour),
            device,
            SessionACL::All,
            Config::default(),
        )
        .and_then(Session::run)
        .unwrap_or_else(|error| println!("the session ended: {error}"));
    });
}
