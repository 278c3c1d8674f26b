//! A view as a FUSE filesystem of its files: the form that every kernel and container takes.
//!
//! A layer never changes, so everything may be cached for good, and no open file needs a handle:
//! OPEN and OPENDIR are answered once with ENOSYS, and from then on the kernel opens files without
//! a message. Source of the choices: the measurements in `ARCHITECTURE.md`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use cachefs_store::stack::{Attr, Ino, Numbers};
use cachefs_store::{Error, layer};
use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, Filesystem, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use tokio::runtime::Handle;

use super::attr::{file_attr, file_type};
use super::shared_replies::{self, FOREVER, errno_of};
use super::{SharedView, file_read};
use crate::sys::crash_record;

pub(super) struct TreeFs {
    view: SharedView,
    runtime: Handle,
    numbers: Numbers,
    /// Whether any file has extended attributes.
    xattrs: bool,
}

impl TreeFs {
    pub(super) fn new(view: SharedView, runtime: Handle) -> Self {
        let xattrs = view.stack.has_xattrs();
        let numbers = Numbers::new(&view.stack, view.numbering);
        Self {
            view,
            runtime,
            numbers,
            xattrs,
        }
    }

    fn ino(&self, number: INodeNo) -> Ino {
        self.numbers.ino(number.0)
    }

    fn file_attr(&self, attr: &Attr) -> FileAttr {
        file_attr(attr, INodeNo(self.numbers.number(attr.ino)))
    }

    /// A file's attributes; none at all are an answer too. `ENOSYS` would spare later questions,
    /// but the kernel turns it into `EOPNOTSUPP`, which `getfattr` and `tar` report as a failure.
    fn xattr(&self, ino: INodeNo) -> Result<layer::Xattrs, Errno> {
        if !self.xattrs {
            return Ok(layer::Xattrs::default());
        }
        let xattrs = self.view.stack.xattrs(self.ino(ino));
        xattrs.map_err(|error| errno_of(&self.view, "reading attributes", &error))
    }
}

fn reply_bytes(bytes: &[u8], size: u32, reply: ReplyXattr) {
    match size {
        0 => reply.size(bytes.len() as u32),
        size if (size as usize) < bytes.len() => reply.error(Errno::ERANGE),
        _ => reply.data(bytes),
    }
}

impl Filesystem for TreeFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO;
        if self.xattrs {
            wanted |= InitFlags::FUSE_POSIX_ACL;
        }
        shared_replies::negotiate_protocol(config, wanted);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _at_work = crash_record::note_work(self.view.number);
        let stack = &self.view.stack;
        let found = stack
            .lookup(self.ino(parent), name.as_bytes())
            .and_then(|ino| ino.map(|ino| stack.attr(ino)).transpose());
        match found {
            Ok(Some(attr)) => reply.entry(&FOREVER, &self.file_attr(&attr), Generation(0)),
            // Inode 0 is an answer that the kernel may keep, other than ENOENT.
            Ok(None) => match stack.attr(Ino::ROOT) {
                Ok(root) => {
                    let mut none = self.file_attr(&root);
                    none.ino = INodeNo(0);
                    reply.entry(&FOREVER, &none, Generation(0));
                }
                Err(error) => reply.error(errno_of(&self.view, "lookup", &error)),
            },
            Err(error) => reply.error(errno_of(&self.view, "lookup", &error)),
        }
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {}

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let _at_work = crash_record::note_work(self.view.number);
        match self.view.stack.attr(self.ino(ino)) {
            Ok(attr) => reply.attr(&FOREVER, &self.file_attr(&attr)),
            Err(error) => reply.error(errno_of(&self.view, "getattr", &error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let _at_work = crash_record::note_work(self.view.number);
        match self.view.stack.symlink_target(self.ino(ino)) {
            Ok(target) => reply.data(target),
            Err(error) => reply.error(errno_of(&self.view, "readlink", &error)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _at_work = crash_record::note_work(self.view.number);
        match file_read::ReadPlan::of_file(&self.view, self.ino(ino), offset, size) {
            Ok(plan) => {
                shared_replies::answer_read(&self.view, &self.runtime, request, plan, reply)
            }
            Err(error) => reply.error(errno_of(&self.view, "read", &error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _at_work = crash_record::note_work(self.view.number);
        let stack = &self.view.stack;
        for (number, name) in [(1, "."), (2, "..")] {
            if offset < number && reply.add(ino, number, fuser::FileType::Directory, name) {
                return reply.ok();
            }
        }
        let listed = stack.list(
            self.ino(ino),
            offset.saturating_sub(2),
            |next, name, child| {
                let kind = file_type(stack.attr(child)?.mode);
                Ok(!reply.add(
                    INodeNo(self.numbers.number(child)),
                    next + 2,
                    kind,
                    OsStr::from_bytes(name),
                ))
            },
        );
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno_of(&self.view, "readdir", &error)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _at_work = crash_record::note_work(self.view.number);
        let stack = &self.view.stack;
        let own = match stack.attr(self.ino(ino)) {
            Ok(attr) => self.file_attr(&attr),
            Err(error) => return reply.error(errno_of(&self.view, "readdir", &error)),
        };
        for (number, name) in [(1, "."), (2, "..")] {
            if offset < number && reply.add(ino, number, name, &FOREVER, &own, Generation(0)) {
                return reply.ok();
            }
        }
        let listed = stack.list(
            self.ino(ino),
            offset.saturating_sub(2),
            |next, name, child| {
                let attr = self.file_attr(&stack.attr(child)?);
                Ok(!reply.add(
                    attr.ino,
                    next + 2,
                    OsStr::from_bytes(name),
                    &FOREVER,
                    &attr,
                    Generation(0),
                ))
            },
        );
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno_of(&self.view, "readdir", &error)),
        }
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _at_work = crash_record::note_work(self.view.number);
        match self.xattr(ino) {
            Ok(xattrs) => match xattrs.get(name.as_bytes()) {
                Some(value) => reply_bytes(value, size, reply),
                None => reply.error(Errno::ENODATA),
            },
            Err(errno) => reply.error(errno),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let _at_work = crash_record::note_work(self.view.number);
        match self.xattr(ino) {
            Ok(xattrs) => {
                let mut names = Vec::new();
                for (name, _) in xattrs.iter() {
                    names.extend_from_slice(name);
                    names.push(0);
                }
                reply_bytes(&names, size, reply);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks the mode bits itself (default_permissions).
        reply.error(Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let _at_work = crash_record::note_work(self.view.number);
        let stack = &self.view.stack;
        let ino = self.ino(ino);
        let seek = || -> Result<Option<u64>, Error> {
            let size = stack.attr(ino)?.size;
            let Some(offset) = u64::try_from(offset).ok().filter(|&offset| offset < size) else {
                return Ok(None);
            };
            let wants_data = whence == libc::SEEK_DATA;
            for piece in stack.pieces(ino, offset..size)? {
                let piece = piece?;
                if piece.location.is_some() == wants_data {
                    return Ok(Some(piece.start.max(offset)));
                }
            }
            // Every file ends with a hole of no length.
            Ok((!wants_data).then_some(size))
        };
        match seek() {
            Ok(Some(offset)) => reply.offset(offset as i64),
            Ok(None) => reply.error(Errno::ENXIO),
            Err(error) => reply.error(errno_of(&self.view, "lseek", &error)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        shared_replies::answer_statfs(&self.view, reply);
    }
}
